// out[rows, outputs] = x[rows, inputs] * weight^T (+ bias) with quantized weights and inputs: exact sums of products of
// bytes, scaled, the ranges added as the canonical tree (see bytes.h for the layouts, linear.cpp for the tree).
//
// Eight bits: the sum of a range, as a float, times (the input's scale times the weight's). Four bits: a group of 64 inputs
// has scales of its own; the groups of a range are added by fma in order, from 0.
//
// The unsigned weights are 128 (8) too large; sums begin at minus as many times the sum of the row's inputs.
//
// Bytes: the weight once from memory and once per BYTE_ROWS rows from the caches, 1 (4 bits: 17/32) a weight; the inputs
// from the nearest cache. Operations: 2 * rows * outputs * inputs. Few rows are bound by memory bandwidth, many by vpdpbusd.
#include "bytes.h"

namespace baton {
namespace BATON_TIER {

static constexpr int LEVELS = 3;
static constexpr int AHEAD = 4 * 1024;  // bytes that a weight which comes from memory is asked for before its use

// staged (see bytes.h) from x, a row's range or group by its own scale: largest magnitude / 127. Magnitudes below 2^-100
// count as 0, so that the reciprocal is finite; an infinity or NaN makes the scale NaN. Bytes: x read twice, once from
// memory, a quarter of it written.
void quantize_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const int32_t* borders, int32_t ranges,
                     int32_t groups, int32_t rows) noexcept {
  const Staged to(staged, rows, borders, ranges, groups != 0);
  const int row_tiles = (rows + 15) / 16;
  const int end = smaller(rows, end_of(share, row_tiles) * 16);
  for (int row = first_of(share, row_tiles) * 16; row < end; row++) {
    const float* from = x + row * x_stride;
    int64_t tile = 0;
    int64_t unit = 0;
    for (int range = 0; range < ranges; range++) {
      for (int k = borders[range]; k < borders[range + 1]; unit++) {
        const int unit_end = groups != 0 ? smaller(k + TILE_INPUTS, borders[range + 1]) : borders[range + 1];
        Lanes largest = zero();
        Lanes faults = zero();  // NaN as soon as an input is not finite
        for (int c = k; c < unit_end; c += LANES) {
          const Lanes value = load(from + c, unit_end - c);
          const Lanes magnitude = if_less(value, zero(), sub(zero(), value), value);
          largest = if_less(largest, magnitude, magnitude, largest);
          faults = fma(value, zero(), faults);
        }
        const float most = max(largest);
        const bool usable = sum(faults) == 0.0f;
        const Lanes inverse = all(usable && most >= 0x1p-100f ? 127.0f / most : 0.0f);
        Sums total = all_sums(0);
        int8_t* bytes = nullptr;
        for (int c = k, lane = 0; c < unit_end || lane != 0; c += LANES) {
          if (lane == 0) {
            bytes = to.tile(row, tile++);
          }
          const Lanes value = c < unit_end && usable ? load(from + c, unit_end - c) : zero();
          const Sums rounded = to_int(mul(value, inverse));
          total = add(total, rounded);
          store_bytes(bytes + lane, rounded);
          lane = (lane + LANES) % TILE_INPUTS;
        }
        to.scales[to.at(row, unit)] = !usable ? __builtin_nanf("") : most >= 0x1p-100f ? most / 127.0f : 0.0f;
        to.sums[to.at(row, unit)] = sum(total);
        k = unit_end;
      }
      if (groups == 0 && borders[range] == borders[range + 1]) {
        to.scales[to.at(row, unit)] = 0.0f;
        to.sums[to.at(row, unit)] = 0;
        unit++;
      }
    }
  }
}

struct QuantizedProduct {
  float* out;
  int64_t out_stride;
  Staged x;
  int32_t rows;
  const uint8_t* weight;
  const float* scales;  // of eight-bit weights, by output
  const int32_t* borders;
  int32_t ranges;
  int32_t outputs;
  const float* bias;
};

// Joins the sums of a range with those that wait, as a binary counter; stores them when the range is the last.
template <int R>
static inline void join(const QuantizedProduct& p, int pair, int row, int range, Lanes (&sums)[R][2],
                        float (&waiting)[LEVELS][R][2][LANES]) {
  int level = 0;
  for (; range >> level & 1; level++) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < 2; g++) {
        sums[r][g] = add(load(waiting[level][r][g]), sums[r][g]);
      }
    }
  }
  if (range + 1 < p.ranges) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < 2; g++) {
        store(waiting[level][r][g], sums[r][g]);
      }
    }
    return;
  }
  for (int g = 0; g < 2; g++) {
    const int first = pair * PAIR_OUTPUTS + g * LANES;
    const int n = smaller(LANES, p.outputs - first);
    if (n <= 0) {
      return;
    }
    for (int r = 0; r < R; r++) {
      Lanes result = sums[r][g];
      if (p.bias != nullptr) {
        result = add(result, load(p.bias + first, n));
      }
      store(p.out + (row + r) * p.out_stride + first, result, n);
    }
  }
}

static inline void ask_ahead(const uint8_t* weight, int bytes) {
  for (int line = 0; line < bytes; line += 64) {
    __builtin_prefetch(weight + AHEAD + line, 0, 3);
  }
}

template <int R, bool FAR>
static inline void rows_8(const QuantizedProduct& p, int pair, int row) {
  float waiting[LEVELS][R][2][LANES];
  const uint8_t* weight = p.weight + pair * p.x.tiles * PAIR_BYTES_8;
  const int64_t x_stride = static_cast<int64_t>(p.x.stride) * TILE_INPUTS;
  const int8_t* x = p.x.tile(row, 0);
  const Lanes scales[2] = {load(p.scales + pair * PAIR_OUTPUTS), load(p.scales + pair * PAIR_OUTPUTS + LANES)};
  for (int range = 0; range < p.ranges; range++) {
    const int64_t at = p.x.at(row, range);
    Sums sums[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      sums[r][0] = sums[r][1] = all_sums(-128 * p.x.sums[at + r]);
    }
    const int tiles = byte_tiles(p.borders[range + 1] - p.borders[range]);
    for (int t = 0; t < tiles; t++, weight += PAIR_BYTES_8, x += x_stride) {
      if (FAR) {
        ask_ahead(weight, PAIR_BYTES_8);
      }
      multiply_8<R>(weight, x, sums);
    }
    Lanes results[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int g = 0; g < 2; g++) {
        results[r][g] = mul(to_float(sums[r][g]), mul(all(p.x.scales[at + r]), scales[g]));
      }
    }
    join<R>(p, pair, row, range, results, waiting);
  }
}

template <int R, bool FAR>
static inline void rows_4(const QuantizedProduct& p, int pair, int row) {
  float waiting[LEVELS][R][2][LANES];
  const uint8_t* weight = p.weight + pair * p.x.tiles * PAIR_BYTES_4;
  const int64_t x_stride = static_cast<int64_t>(p.x.stride) * TILE_INPUTS;
  const int8_t* x = p.x.tile(row, 0);
  int64_t at = p.x.at(row, 0);
  for (int range = 0; range < p.ranges; range++) {
    Lanes results[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      results[r][0] = results[r][1] = zero();
    }
    const int tiles = byte_tiles(p.borders[range + 1] - p.borders[range]);
    for (int t = 0; t < tiles; t++, weight += PAIR_BYTES_4, x += x_stride, at += p.x.stride) {
      if (FAR) {
        ask_ahead(weight, PAIR_BYTES_4);
      }
      Sums sums[R][2];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        sums[r][0] = sums[r][1] = all_sums(-8 * p.x.sums[at + r]);
      }
      multiply_4<R>(weight, x, sums);
      const uint16_t* stored = reinterpret_cast<const uint16_t*>(weight + PAIR_BYTES_4 - 64);
      const Lanes scales[2] = {load(stored), load(stored + LANES)};
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int g = 0; g < 2; g++) {
          results[r][g] = fma(to_float(sums[r][g]), mul(all(p.x.scales[at + r]), scales[g]), results[r][g]);
        }
      }
    }
    join<R>(p, pair, row, range, results, waiting);
  }
}

template <int R, bool FOUR, bool FAR>
static inline void some_rows(const QuantizedProduct& p, int pair, int row, int n) {
  if (n >= R) {
    if constexpr (FOUR) {
      rows_4<R, FAR>(p, pair, row);
    } else {
      rows_8<R, FAR>(p, pair, row);
    }
  } else if constexpr (R > 1) {
    some_rows<R - 1, FOUR, FAR>(p, pair, row, n);
  }
}

// A unit of a share is a pair of tiles, 32 outputs.
template <int R, bool FOUR>
static void quantized(const QuantizedProduct& p, Share share) {
  static_assert(16 % R == 0, "rows that share a weight lie in one row tile");
  const int pairs = (p.outputs + PAIR_OUTPUTS - 1) / PAIR_OUTPUTS;
  for (int pair = first_of(share, pairs); pair < end_of(share, pairs); pair++) {
    some_rows<R, FOUR, true>(p, pair, 0, smaller(R, p.rows));
    for (int row = R; row < p.rows; row += R) {
      some_rows<R, FOUR, false>(p, pair, row, p.rows - row);
    }
  }
}

void linear_int8(Share share, float* out, int64_t out_stride, const uint8_t* staged, int32_t rows, const uint8_t* weight,
                 const float* scales, const int32_t* borders, int32_t ranges, int32_t outputs, const float* bias) noexcept {
  const Staged x(staged, rows, borders, ranges, false);
  quantized<BYTE_ROWS_8, false>({out, out_stride, x, rows, weight, scales, borders, ranges, outputs, bias}, share);
}

void linear_int4(Share share, float* out, int64_t out_stride, const uint8_t* staged, int32_t rows, const uint8_t* weight,
                 const int32_t* borders, int32_t ranges, int32_t outputs, const float* bias) noexcept {
  const Staged x(staged, rows, borders, ranges, true);
  quantized<BYTE_ROWS_4, true>({out, out_stride, x, rows, weight, nullptr, borders, ranges, outputs, bias}, share);
}

}  // namespace BATON_TIER
}  // namespace baton

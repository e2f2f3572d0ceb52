// out[rows, outputs] = x[rows, inputs] * weight^T with quantized weights and inputs, for several weights at once: exact sums
// of products of bytes over a range, times (the input's scale times the weight's), the ranges added as the canonical tree
// (see bytes.h for the layouts, linear.cpp for the tree, products.h for what becomes of the sums).
//
// The unsigned weights are 128 (or, in four bits, levels are 8) too large; sums begin at minus as many times the sum of
// the row's inputs.
//
// Bytes: the weight once from memory and once per BYTE_ROWS rows from the caches, 1 (4 bits: 17/32) a weight; the inputs
// from the nearest cache. Operations: 2 * rows * outputs * inputs. Few rows are bound by memory bandwidth, many by vpdpbusd.
#include "bytes.h"
#include "norm.h"
#include "products.h"

namespace baton {
namespace BATON_TIER {

static constexpr int LEVELS = 3;

// Pairs of tiles that one row takes side by side: memory gives more in several streams (measured here: of what it gives at
// best, one stream 83 %, four 92 to 95 %, eight no more), and how far ahead of its use each is asked for, in bytes.
static constexpr int ONE_PAIRS = 4;
static constexpr int AHEAD_8 = 1024;
static constexpr int AHEAD_4 = 1536;
static constexpr int32_t INFINITE = 0x7f800000;

// The float of these bits.
static inline float from_bits(int32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// One row's inputs, normed on the way if there is a norm.
template <bool NORMED>
struct Row {
  const float* x;
  const float* norm;
  Lanes scale;

  Lanes load_from(int k, int n) const {
    const Lanes v = load(x + k, n);
    return NORMED ? mul(mul(v, scale), load(norm + k, n)) : v;
  }
};

template <bool NORMED>
static void quantize_row(const Staged& to, const Row<NORMED>& from, const int32_t* borders, bool groups, int row) {
  for (int range = 0; range < to.ranges; range++) {
    const int end = borders[range + 1];
    Sums most[4] = {all_sums(0), all_sums(0), all_sums(0), all_sums(0)};
    int k = borders[range];
    for (; k + 4 * LANES <= end; k += 4 * LANES) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        most[i] = larger(most[i], magnitude_bits(from.load_from(k + i * LANES, LANES)));
      }
    }
    for (; k < end; k += LANES) {
      most[0] = larger(most[0], magnitude_bits(from.load_from(k, end - k)));
    }
    const int32_t bits = largest(larger(larger(most[0], most[1]), larger(most[2], most[3])));
    const bool usable = bits < INFINITE;
    const float magnitude = from_bits(bits);
    const Lanes inverse = all(usable && magnitude >= 0x1p-100f ? 127.0f / magnitude : 0.0f);
    Sums total = all_sums(0);
    k = borders[range];
    for (int t = 0; t < to.first[range + 1] - to.first[range]; t++) {
      int8_t* bytes = to.tile(row, range, t);
      Sums rounded[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++, k += LANES) {
        const Lanes value = k < end && usable ? from.load_from(k, end - k) : zero();
        rounded[i] = to_int(mul(value, inverse));
        store_bytes(bytes + i * LANES, rounded[i]);
      }
      const Sums low = add(rounded[0], rounded[1]);
      const Sums high = add(rounded[2], rounded[3]);
      total = add(total, add(low, high));
      if (groups) {
        int32_t* sums = to.group_sums + to.groups_at(row, to.first[range] + t);
        sums[0] = -8 * sum(low);
        sums[1] = -8 * sum(high);
      }
    }
    const int64_t at = to.at(row, range);
    to.scales[at] = !usable ? __builtin_nanf("") : magnitude >= 0x1p-100f ? magnitude / 127.0f : 0.0f;
    to.sums[at] = -128 * sum(total);
  }
}

// staged (see bytes.h) from x, normed if there is a norm, a row's range by its own scale: largest magnitude / 127.
// Magnitudes below 2^-100 count as 0, so that the reciprocal is finite; an infinity or NaN makes the scale NaN. A unit is a
// row. Bytes: x read twice, with a norm three times, once from memory, a quarter of it written.
void quantize_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,
                     const int32_t* borders, int32_t ranges, int32_t groups, int32_t rows) noexcept {
  const Staged to(staged, rows, borders, ranges);
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    const float* from = x + row * x_stride;
    if (norm == nullptr) {
      quantize_row<false>(to, {from, nullptr, zero()}, borders, groups != 0, row);
    } else {
      quantize_row<true>(to, {from, norm, norm_scale(from, borders[ranges], epsilon)}, borders, groups != 0, row);
    }
  }
}

template <bool FOUR>
static inline void ask_ahead(const uint8_t* weight) {
  for (int line = 0; line < (FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8); line += 64) {
    __builtin_prefetch(weight + (FOUR ? AHEAD_4 : AHEAD_8) + line, 0, 3);
  }
}

// Joins the sums of a range with those that wait, as a binary counter; finishes them when the range is the last.
template <int R>
static inline void join(const Product& p, int ranges, int pair, int row, int range, Lanes (&sums)[R][2],
                        float (&waiting)[LEVELS][R][2][LANES]) {
  int level = 0;
  for (; range >> level & 1; level++) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < 2; g++) {
        sums[r][g] = add(load(waiting[level][r][g]), sums[r][g]);
      }
    }
  }
  for (int r = 0; r < R; r++) {
    if (range + 1 == ranges) {
      finish(p, pair, row + r, sums[r][0], sums[r][1]);
      continue;
    }
    for (int g = 0; g < 2; g++) {
      store(waiting[level][r][g], sums[r][g]);
    }
  }
}

// R rows by P pairs of tiles side by side, all of the depth.
template <int R, int P, bool FOUR, bool FAR>
static inline void some_rows(const Product& p, const Staged& x, const float* scales, int pair, int row) {
  constexpr int BYTES = FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8;
  float waiting[P][LEVELS][R][2][LANES];
  const int64_t weight_stride = static_cast<int64_t>(x.tiles) * BYTES;
  const uint8_t* weight = p.weight + pair * weight_stride;
  const int64_t x_stride = static_cast<int64_t>(x.stride) * TILE_INPUTS;
  for (int range = 0; range < x.ranges; range++) {
    const int64_t at = x.at(row, range);
    Sums sums[P][R][2];
#pragma GCC unroll 4
    for (int q = 0; q < P; q++) {
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        sums[q][r][0] = sums[q][r][1] = all_sums(FOUR ? 0 : x.sums[at + r]);
      }
    }
    const int tiles = x.first[range + 1] - x.first[range];
    const int32_t* group_sums = x.group_sums + x.groups_at(row, x.first[range]);
    for (int from = 0; from < tiles; from += PART_TILES) {
      const int8_t* inputs = x.tile(row, range, from);
      const int end = smaller(tiles, from + PART_TILES);
      for (int t = from; t < end; t++, weight += BYTES, inputs += x_stride, group_sums += 2 * x.stride) {
#pragma GCC unroll 4
        for (int q = 0; q < P; q++) {
          const uint8_t* own = weight + q * weight_stride;
          if (FAR) {
            ask_ahead<FOUR>(own);
          }
          if constexpr (FOUR) {
            multiply_4<R>(own, inputs, group_sums, sums[q]);
          } else {
            multiply_8<R>(own, inputs, sums[q]);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < P; q++) {
      Lanes results[R][2];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) {
          const Lanes scale = load(scales + (pair + q) * PAIR_OUTPUTS + g * LANES);
          results[r][g] = mul(to_float(sums[q][r][g]), mul(all(x.scales[at + r]), scale));
        }
      }
      join<R>(p, x.ranges, pair + q, row, range, results, waiting[q]);
    }
  }
}

template <int R, bool FOUR, bool FAR>
static inline void rows_block(const Product& p, const Staged& x, const float* scales, int pair, int row, int n) {
  if (n >= R) {
    some_rows<R, 1, FOUR, FAR>(p, x, scales, pair, row);
  } else if constexpr (R > 1) {
    rows_block<R - 1, FOUR, FAR>(p, x, scales, pair, row, n);
  }
}

// A unit of a share is a pair of tiles.
template <int R, bool FOUR>
static void quantized(const int64_t* products, int count, const Staged& x, Share share) {
  static_assert(16 % R == 0, "rows that share a weight lie in one row tile");
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  each_product(list, count, first_of(share, pairs), end_of(share, pairs), [&](const Product& p, int pair, int end) {
    const float* scales = reinterpret_cast<const float*>(p.weight + static_cast<int64_t>(pairs_of(p)) * x.tiles *
                                                                        (FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8));
    if (x.rows == 1) {
      for (; pair + ONE_PAIRS <= end; pair += ONE_PAIRS) {
        some_rows<1, ONE_PAIRS, FOUR, true>(p, x, scales, pair, 0);
      }
    }
    for (; pair < end; pair++) {
      rows_block<R, FOUR, true>(p, x, scales, pair, 0, smaller(R, x.rows));
      for (int row = R; row < x.rows; row += R) {
        rows_block<R, FOUR, false>(p, x, scales, pair, row, x.rows - row);
      }
    }
  });
}

void linear_int8(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  quantized<BYTE_ROWS_8, false>(products, count, Staged(staged, rows, borders, ranges), share);
}

void linear_int4(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  quantized<BYTE_ROWS_4, true>(products, count, Staged(staged, rows, borders, ranges), share);
}

}  // namespace BATON_TIER
}  // namespace baton

// Weights to eight and four bits, from a checkpoint's rows, in the order of bytes.h; once, at load. Sixteen outputs are the
// lanes of a vector, so that the choice of factors takes the same steps in every tier.
//
// Group g of sixteen outputs goes to half (first + g * step) % 2 of pair (first + g * step) / 2, as in pack_tiles.
#include "bytes.h"
#include "checkpoint.h"
#include "transpose.h"

namespace baton {
namespace BATON_TIER {

static constexpr float LEAST = 0x1p-100f;  // smaller magnitudes count as 0
static constexpr int MOST_FACTOR = 15;     // times a level of -8 it is still a byte
static constexpr int NEAR[] = {0, 1, -1};  // factors that are tried, from the nearest

// One tile as floats, inputs by outputs, zeros where there are none.
struct Tile {
  float at[TILE_INPUTS][LANES];
};

template <class T>
static inline void read_tile(Tile& tile, const T* rows, int64_t stride, int outputs, int inputs) {
  for (int k = 0; k < TILE_INPUTS; k += LANES) {
    read_transposed(&tile.at[k], rows + k, stride, outputs, larger(0, smaller(LANES, inputs - k)));
  }
}

static inline Lanes magnitude(Lanes v) { return if_less(v, zero(), sub(zero(), v), v); }

// The largest magnitudes of sixteen whole rows.
template <class T>
static inline Lanes largest_of(const T* rows, int64_t stride, int outputs, int columns) {
  Tile tile;
  Lanes largest = zero();
  for (int k = 0; k < columns; k += TILE_INPUTS) {
    read_tile(tile, rows + k, stride, outputs, columns - k);
    for (int i = 0; i < TILE_INPUTS; i++) {
      const Lanes value = magnitude(load(tile.at[i]));
      largest = if_less(largest, value, value, largest);
    }
  }
  return largest;
}

// packed and, at `scales`, one for each output: the largest magnitude of the model's whole row, of `columns`, / 127. `in`
// points to the first column of the row, the slice begins at `column`. Bytes: the rows read twice, the second time from a
// cache, one byte a weight written.
void pack_int8(Share share, uint8_t* packed, float* scales, const void* in, int32_t in_dtype, int64_t in_stride,
               int32_t columns, int32_t column, const int32_t* borders, int32_t ranges, int32_t outputs, int32_t first,
               int32_t step) noexcept {
  const int64_t tiles = byte_tiles_of_all(borders, ranges);
  const int groups = (outputs + LANES - 1) / LANES;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int n = smaller(LANES, outputs - group * LANES);
      const int place = first + group * step;
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      const Lanes largest = largest_of(rows, in_stride, n, columns);
      const Lanes none = all(LEAST);
      store(scales + place * LANES, if_less(largest, none, zero(), div(largest, all(127.0f))));
      const Lanes inverse = if_less(largest, none, zero(), div(all(127.0f), largest));
      uint8_t* to = packed + (place / 2 * tiles * 2 + place % 2) * 1024;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += TILE_INPUTS, to += PAIR_BYTES_8) {
          Tile tile;
          read_tile(tile, rows + column + k, in_stride, n, borders[range + 1] - k);
          for (int quad = 0; quad < 16; quad++) {
            Sums line = all_sums(0);
            for (int i = 3; i >= 0; i--) {
              const Sums rounded = to_int(mul(load(tile.at[quad * 4 + i]), inverse));
              line = shift_or(line, 8, add(rounded, all_sums(128)));
            }
            store(reinterpret_cast<int32_t*>(to + quad * 64), line);
          }
        }
      }
    }
  });
}

static inline Sums level(Lanes value, Lanes inverse) { return clamp(to_int(mul(value, inverse)), -8, 7); }

// What a group's levels are multiplied by, before the output's scale, and the reciprocal of both together.
struct Factor {
  Lanes factor;
  Lanes inverse;
};

// Of three factors around the largest magnitude's share of the row's, the one of least squared error. Its sign makes the
// element of largest magnitude negative, where levels are longer by one.
static inline Factor choose_factor(const float (*group)[LANES], Lanes inverse, Lanes scale) {
  Lanes extreme = zero();
  for (int i = 0; i < GROUP_INPUTS; i++) {
    const Lanes value = load(group[i]);
    extreme = if_less(magnitude(extreme), magnitude(value), value, extreme);
  }
  const Sums near = to_int(mul(mul(magnitude(extreme), inverse), all(0.125f)));
  Factor best = {};
  Lanes least_error = zero();
  for (const int more : NEAR) {
    const Lanes size = to_float(clamp(add(near, all_sums(more)), 1, MOST_FACTOR));
    const Lanes factor = if_less(zero(), extreme, sub(zero(), size), size);
    const Lanes width = mul(factor, scale);
    const Lanes over = if_less(zero(), scale, div(all(1.0f), width), zero());
    Lanes error = zero();
    for (int i = 0; i < GROUP_INPUTS; i++) {
      const Lanes value = load(group[i]);
      const Lanes rest = fma(sub(zero(), to_float(level(value, over))), width, value);
      error = fma(rest, rest, error);
    }
    if (more == 0) {
      best = {factor, over};
      least_error = error;
    } else {
      best.factor = if_less(error, least_error, factor, best.factor);
      best.inverse = if_less(error, least_error, over, best.inverse);
      least_error = if_less(error, least_error, error, least_error);
    }
  }
  return best;
}

// packed with its factors and, at `scales`, one for each output: the largest magnitude of the model's whole row / 120. `in`,
// `columns` and `column` as in pack_int8. Bytes: the rows read twice, the second time from a cache, 17/32 byte a weight
// written; about 25 operations a weight.
void pack_int4(Share share, uint8_t* packed, float* scales, const void* in, int32_t in_dtype, int64_t in_stride,
               int32_t columns, int32_t column, const int32_t* borders, int32_t ranges, int32_t outputs, int32_t first,
               int32_t step) noexcept {
  const int64_t tiles = byte_tiles_of_all(borders, ranges);
  const int groups = (outputs + LANES - 1) / LANES;
  const Lanes most = all(8.0f * MOST_FACTOR);
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int n = smaller(LANES, outputs - group * LANES);
      const int place = first + group * step;
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      const Lanes largest = largest_of(rows, in_stride, n, columns);
      const Lanes none = all(LEAST);
      const Lanes scale = if_less(largest, none, zero(), div(largest, most));
      const Lanes inverse = if_less(largest, none, zero(), div(most, largest));
      store(scales + place * LANES, scale);
      uint8_t* to = packed + place / 2 * tiles * PAIR_BYTES_4;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += TILE_INPUTS, to += PAIR_BYTES_4) {
          Tile tile;
          read_tile(tile, rows + column + k, in_stride, n, borders[range + 1] - k);
          Factor chosen[2];
          int8_t* factors = reinterpret_cast<int8_t*>(to + FACTORS) + place % 2 * 2 * LANES;
          for (int half = 0; half < 2; half++) {
            chosen[half] = choose_factor(&tile.at[half * GROUP_INPUTS], inverse, scale);
            float values[LANES];
            store(values, chosen[half].factor);
            for (int j = 0; j < LANES; j++) {
              factors[j * 2 + half] = static_cast<int8_t>(values[j]);
            }
          }
          uint8_t* lines = to + place % 2 * 512;
          for (int quad = 0; quad < 8; quad++) {
            Sums line = all_sums(0);
            for (int i = 7; i >= 0; i--) {  // in a byte the nibble of input 32 further stands above
              const Lanes value = load(tile.at[quad * 4 + i / 2 + i % 2 * GROUP_INPUTS]);
              line = shift_or(line, 4, add(level(value, chosen[i % 2].inverse), all_sums(8)));
            }
            store(reinterpret_cast<int32_t*>(lines + quad * 64), line);
          }
        }
      }
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

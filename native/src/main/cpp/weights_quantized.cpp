// Weights to eight and four bits, from a checkpoint's rows, in the order of bytes.h; once, at load. Sixteen outputs are the
// lanes of a vector, so that the choice of scales takes the same steps in every tier.
#include "bytes.h"
#include "checkpoint.h"
#include "transpose.h"

namespace baton {
namespace BATON_TIER {

static constexpr float LEAST = 0x1p-100f;  // smaller magnitudes count as 0

// By what the largest magnitude of a group is divided to make a scale; above 8 it is cut off for the others' sake.
static constexpr float DIVISORS[] = {8.0f, 7.5f, 7.0f, 8.5f, 9.0f, 9.5f, 10.0f, 11.0f};

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

// packed, then the scales of all outputs, float32: the largest magnitude of the model's whole row, of `columns`, / 127.
// `in` points to the first column of the row, the slice begins at `column`. Bytes: the rows read twice, the second time
// from a cache, one byte a weight written.
void pack_int8(Share share, uint8_t* packed, float* scales, const void* in, int32_t in_dtype, int64_t in_stride,
               int32_t columns, int32_t column, const int32_t* borders, int32_t ranges, int32_t outputs) noexcept {
  const int64_t tiles = byte_tiles_of_all(borders, ranges);
  const int groups = (outputs + PAIR_OUTPUTS - 1) / PAIR_OUTPUTS * 2;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int n = larger(0, smaller(LANES, outputs - group * LANES));
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      Tile tile;
      Lanes largest = zero();
      for (int k = 0; k < columns; k += TILE_INPUTS) {
        read_tile(tile, rows + k, in_stride, n, columns - k);
        for (int i = 0; i < TILE_INPUTS; i++) {
          const Lanes value = magnitude(load(tile.at[i]));
          largest = if_less(largest, value, value, largest);
        }
      }
      const Lanes none = all(LEAST);
      store(scales + group * LANES, if_less(largest, none, zero(), div(largest, all(127.0f))));
      const Lanes inverse = if_less(largest, none, zero(), div(all(127.0f), largest));
      uint8_t* to = packed + (group / 2 * tiles * 2 + group % 2) * 1024;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += TILE_INPUTS, to += PAIR_BYTES_8) {
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

// packed with its scales. For each output and group of 64 inputs the scale of least squared error among several, each
// such that the element of largest magnitude, the first among equals, falls on the negative side, which is longer by one.
// Bytes: the rows read once, 17/32 byte a weight written; about 40 operations a weight.
void pack_int4(Share share, uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, const int32_t* borders,
               int32_t ranges, int32_t outputs) noexcept {
  const int64_t tiles = byte_tiles_of_all(borders, ranges);
  const int groups = (outputs + PAIR_OUTPUTS - 1) / PAIR_OUTPUTS * 2;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int n = larger(0, smaller(LANES, outputs - group * LANES));
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      uint8_t* to = packed + group / 2 * tiles * PAIR_BYTES_4;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += TILE_INPUTS, to += PAIR_BYTES_4) {
          Tile tile;
          read_tile(tile, rows + k, in_stride, n, borders[range + 1] - k);
          Lanes extreme = zero();
          for (int i = 0; i < TILE_INPUTS; i++) {
            const Lanes value = load(tile.at[i]);
            extreme = if_less(magnitude(extreme), magnitude(value), value, extreme);
          }
          const Lanes largest = magnitude(extreme);
          const Lanes least = all(LEAST);
          Lanes best = zero();
          Lanes least_error = zero();
          bool first = true;
          for (const float divisor : DIVISORS) {
            float rounded[LANES];
            store(rounded, div(extreme, all(-divisor)));
            for (int j = 0; j < LANES; j++) {
              rounded[j] = widen(narrow(rounded[j]));
            }
            const Lanes scale = if_less(largest, least, zero(), load(rounded));
            const Lanes inverse = if_less(largest, least, zero(), div(all(1.0f), scale));
            Lanes error = zero();
            for (int i = 0; i < TILE_INPUTS; i++) {
              const Lanes value = load(tile.at[i]);
              const Lanes level = to_float(clamp(to_int(mul(value, inverse)), -8, 7));
              const Lanes rest = fma(sub(zero(), level), scale, value);
              error = fma(rest, rest, error);
            }
            best = first ? scale : if_less(error, least_error, scale, best);
            least_error = first ? error : if_less(error, least_error, error, least_error);
            first = false;
          }
          const Lanes inverse = if_less(largest, least, zero(), div(all(1.0f), best));
          uint8_t* lines = to + group % 2 * 512;
          for (int quad = 0; quad < 8; quad++) {
            Sums line = all_sums(0);
            for (int i = 7; i >= 0; i--) {  // in a byte the nibble of input 32 further stands above
              const int input = quad * 4 + i / 2 + i % 2 * 32;
              const Sums level = clamp(to_int(mul(load(tile.at[input]), inverse)), -8, 7);
              line = shift_or(line, 4, add(level, all_sums(8)));
            }
            store(reinterpret_cast<int32_t*>(lines + quad * 64), line);
          }
          uint16_t* scales = reinterpret_cast<uint16_t*>(to + PAIR_BYTES_4 - 64) + group % 2 * LANES;
          float chosen[LANES];
          store(chosen, best);
          for (int j = 0; j < LANES; j++) {
            scales[j] = narrow(chosen[j]);
          }
        }
      }
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

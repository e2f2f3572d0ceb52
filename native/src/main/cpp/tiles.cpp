// The order of tiles in which products with bfloat16 weights read both sides; canonical ranges are filled up with zeros
// to whole tiles of 32 inputs.
#include "tiles.h"

#include "checkpoint.h"
#include "norm.h"
#include "transpose.h"

namespace baton {
namespace BATON_TIER {

// staged [row][tile][32] float32 from x, normed if there is a norm, rounded to bfloat16, to nearest even. Bytes: x read
// once, twice with a norm, as much written. (The matrix units take another form, see linear_amx.cpp.)
void stage_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,
                  const int32_t* borders, int32_t ranges, int32_t rows) noexcept {
  const int64_t tiles = tiles_of(borders, ranges);
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    const float* from = x + row * x_stride;
    float* to = reinterpret_cast<float*>(staged) + row * tiles * TILE_DEPTH;
    const Lanes scale = norm == nullptr ? zero() : norm_scale(from, borders[ranges], epsilon);
    for (int range = 0; range < ranges; range++) {
      const int end = borders[range + 1];
      for (int start = borders[range]; start < end; start += TILE_DEPTH, to += TILE_DEPTH) {
        for (int half = 0; half < TILE_DEPTH; half += LANES) {
          const int k = start + half;
          const int n = larger(0, smaller(LANES, end - k));
          Lanes v = load(from + k, n);
          if (norm != nullptr) {
            v = mul(mul(v, scale), load(norm + k, n));
          }
          store(to + half, rounded(v));
        }
      }
    }
  }
}

// packed [pair][tile][2][16 pairs of inputs][16 outputs][2] from rows of outputs; missing outputs and inputs become
// zeros. Group g of sixteen outputs goes to half (first + g * step) % 2 of pair (first + g * step) / 2: step 1 packs a
// weight alone, step 2 every second group of two weights that are packed together.
void pack_tiles(Share share, uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, const int32_t* borders,
                int32_t ranges, int32_t outputs, int32_t first, int32_t step) noexcept {
  const int64_t tiles = tiles_of(borders, ranges);
  const int groups = (outputs + LANES - 1) / LANES;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int place = first + group * step;
      uint16_t* to = reinterpret_cast<uint16_t*>(packed) + (place / 2 * tiles * 2 + place % 2) * TILE;
      const int n = smaller(LANES, outputs - group * LANES);
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += TILE_DEPTH, to += 2 * TILE) {
          const int inputs = smaller(TILE_DEPTH, borders[range + 1] - k);
          if (n < LANES || inputs < TILE_DEPTH) {
            __builtin_memset(to, 0, TILE * 2);
          }
          if (n == LANES && inputs == TILE_DEPTH && in_dtype == BFLOAT16) {
            move_transposed(to, reinterpret_cast<const uint16_t*>(rows + k), in_stride);
            continue;
          }
          for (int j = 0; j < n; j++) {
            for (int i = 0; i < inputs; i++) {
              put(to + i / 2 * 32 + j * 2 + i % 2, get(rows + j * in_stride + k + i));
            }
          }
        }
      }
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

// The order of tiles that matrix units read: bfloat16, canonical ranges filled up with zeros to whole tiles of 32 inputs.
#include "checkpoint.h"
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

static constexpr int DEPTH = 32;
static constexpr int TILE = 16 * DEPTH;  // elements

static inline int tiles_of(int inputs) { return (inputs + DEPTH - 1) / DEPTH; }

static inline int tiles_of_all(const int32_t* borders, int ranges) {
  int tiles = 0;
  for (int range = 0; range < ranges; range++) {
    tiles += tiles_of(borders[range + 1] - borders[range]);
  }
  return tiles;
}

// staged [rows / 16][tile][16 rows][32 inputs] from x, rounded to nearest even; missing rows become zeros. Bytes: x read
// once, half of it written; about three cycles for 16 elements.
void stage_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const int32_t* borders, int32_t ranges,
                  int32_t rows) noexcept {
  const int64_t tiles = tiles_of_all(borders, ranges);
  const int row_tiles = (rows + 15) / 16;
  for (int row = first_of(share, row_tiles) * 16; row < end_of(share, row_tiles) * 16; row++) {
    uint16_t* to = reinterpret_cast<uint16_t*>(staged) + row / 16 * tiles * TILE + row % 16 * DEPTH;
    if (row >= rows) {
      for (int t = 0; t < tiles; t++, to += TILE) {
        __builtin_memset(to, 0, DEPTH * 2);
      }
      continue;
    }
    const float* from = x + row * x_stride;
    for (int range = 0; range < ranges; range++) {
      for (int k = borders[range]; k < borders[range + 1]; k += DEPTH, to += TILE) {
        const int n = smaller(DEPTH, borders[range + 1] - k);
        if (n == DEPTH) {
          for (int i = 0; i < DEPTH; i++) {
            to[i] = narrow(from[k + i]);
          }
          continue;
        }
        for (int i = 0; i < DEPTH; i++) {
          to[i] = i < n ? narrow(from[k + i]) : 0;
        }
      }
    }
  }
}

// packed [outputs / 32][tile][2][16 pairs of inputs][16 outputs][2] from rows of outputs; missing outputs and inputs
// become zeros.
void pack_tiles(Share share, uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, const int32_t* borders,
                int32_t ranges, int32_t outputs) noexcept {
  const int64_t tiles = tiles_of_all(borders, ranges);
  const int groups = (outputs + 31) / 32 * 2;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      uint16_t* to = reinterpret_cast<uint16_t*>(packed) + (group / 2 * tiles * 2 + group % 2) * TILE;
      const int n = larger(0, smaller(16, outputs - group * 16));
      const auto* rows = from + static_cast<int64_t>(group) * 16 * in_stride;
      for (int range = 0; range < ranges; range++) {
        for (int k = borders[range]; k < borders[range + 1]; k += DEPTH, to += 2 * TILE) {
          const int inputs = smaller(DEPTH, borders[range + 1] - k);
          if (n < 16 || inputs < DEPTH) {
            __builtin_memset(to, 0, TILE * 2);
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

// Products of bytes, the part of a quantized product that differs between tiers. Sums are exact integers, so that their
// order is free and every tier gives the same.
//
// A tile is 64 inputs of 16 outputs. In eight bits it is 16 lines of 64 bytes, [4 inputs][16 outputs][4], of weights + 128;
// in four bits 8 lines, whose low nibbles are the first 8 of these lines and whose high ones the last 8, of weights + 8.
// The two tiles of 32 outputs lie side by side. The inputs are rows of 64 signed bytes.
#pragma once

#include "lanes.h"

#if defined(BATON_TIER_AVX512)
#include "bytes_avx512.h"
#elif defined(BATON_TIER_AVX2)
#include "bytes_avx2.h"
#else
#include "bytes_scalar.h"
#endif

namespace baton {
namespace BATON_TIER {

constexpr int TILE_INPUTS = 64;
constexpr int PAIR_OUTPUTS = 32;
constexpr int PAIR_BYTES_8 = 2 * 1024;         // two tiles
constexpr int PAIR_BYTES_4 = 2 * 512 + 2 * 32;  // two tiles, then the bfloat16 scales of the 32 outputs

static inline int byte_tiles(int inputs) { return (inputs + TILE_INPUTS - 1) / TILE_INPUTS; }

static inline int byte_tiles_of_all(const int32_t* borders, int ranges) {
  int tiles = 0;
  for (int range = 0; range < ranges; range++) {
    tiles += byte_tiles(borders[range + 1] - borders[range]);
  }
  return tiles;
}

// What quantize_inputs makes, in this order: tiles [row tile][tile][stride rows][64], int8; scales [row tile][unit][stride],
// float32; sums of the quantized inputs, likewise, int32. A unit is what has a scale: a range, or a group of one tile.
// `stride` is 16, or the number of rows when that is less; rows that do not exist hold anything.
struct Staged {
  int stride;
  int64_t tiles;
  int64_t units;
  int8_t* bytes;
  float* scales;
  int32_t* sums;

  Staged(const uint8_t* memory, int rows, const int32_t* borders, int ranges, bool groups) {
    stride = smaller(rows, 16);
    tiles = byte_tiles_of_all(borders, ranges);
    units = groups ? tiles : ranges;
    const int64_t row_tiles = (rows + 15) / 16;
    bytes = reinterpret_cast<int8_t*>(const_cast<uint8_t*>(memory));
    scales = reinterpret_cast<float*>(bytes + row_tiles * tiles * stride * TILE_INPUTS);
    sums = reinterpret_cast<int32_t*>(scales + row_tiles * units * stride);
  }

  int8_t* tile(int row, int64_t tile) const {
    return bytes + ((row / 16 * tiles + tile) * stride + row % 16) * TILE_INPUTS;
  }
  int64_t at(int row, int64_t unit) const { return (row / 16 * units + unit) * stride + row % 16; }
};

}  // namespace BATON_TIER
}  // namespace baton

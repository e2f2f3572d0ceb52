// Products of bytes: layouts, and the part that differs between tiers. Sums are exact integers, so that their order is
// free and every tier gives the same.
//
// A tile is 64 inputs of 16 outputs; the two tiles of 32 outputs lie side by side. In eight bits a tile is 16 lines of 64
// bytes, [4 inputs][16 outputs][4], of weights + 128. In four bits it is 8 lines, whose low nibbles are the first 8 of
// these lines and whose high ones the last 8, of levels + 8; behind a pair of tiles are factors of -15 to 15, [32 outputs]
// [2 groups of 32 inputs], and a weight is its level times its group's factor, a signed byte again. Behind the last tile of
// all is one scale for each output, float32.
#pragma once

#include "lanes.h"

#if defined(BATON_TIER_AVX512)
#include "bytes_avx512.h"
#elif defined(BATON_TIER_AVX_VNNI)
#include "bytes_avx_vnni.h"
#elif defined(BATON_TIER_AVX2)
#include "bytes_avx2.h"
#else
#include "bytes_scalar.h"
#endif

namespace baton {
namespace BATON_TIER {

constexpr int TILE_INPUTS = 64;
constexpr int GROUP_INPUTS = 32;                // that have a factor in four bits
constexpr int PAIR_OUTPUTS = 32;
constexpr int PAIR_BYTES_8 = 2 * 1024;          // two tiles
constexpr int PAIR_BYTES_4 = 2 * 512 + 2 * 32;  // two tiles and their factors
constexpr int FACTORS = 2 * 512;                // where these begin

// Tiles of depth that go through a product together: 512 KiB of inputs of 256 rows, which stay in the second-level cache,
// and 64 KiB of a pair's weights.
constexpr int PART_TILES = 32;

constexpr int MAX_RANGES = 8;

static inline int byte_tiles(int inputs) { return (inputs + TILE_INPUTS - 1) / TILE_INPUTS; }

static inline int byte_tiles_of_all(const int32_t* borders, int ranges) {
  int tiles = 0;
  for (int range = 0; range < ranges; range++) {
    tiles += byte_tiles(borders[range + 1] - borders[range]);
  }
  return tiles;
}

// A part of the depth: some whole ranges, or some tiles of one.
struct Part {
  int first;  // tile
  int tiles;
  int range;
  int range_end;
  bool begins;  // with the first tile of its ranges
  bool ends;    // with the last one
};

// What quantize_inputs makes, in this order: tiles [part][row tile][tile][stride rows][64], int8; by [row tile][range]
// [stride] scales, float32, and -128 times the sums of the quantized inputs, int32; for four bits, by [row tile][tile]
// [stride][2 groups], -8 times the sums of a group's, int32. `stride` is 16, or the number of rows when that is less; rows
// that do not exist hold anything.
struct Staged {
  int rows;
  int row_tiles;
  int stride;
  int ranges;
  int tiles;
  int first[MAX_RANGES + 1];  // tile of each range
  int together;               // ranges of a part, 1, 2, 4 or 8; 1: parts of a range
  int8_t* bytes;
  float* scales;
  int32_t* sums;
  int32_t* group_sums;

  Staged(const uint8_t* memory, int rows, const int32_t* borders, int ranges) : rows(rows), ranges(ranges) {
    stride = smaller(rows, 16);
    row_tiles = (rows + 15) / 16;
    int most = 1;
    first[0] = 0;
    for (int range = 0; range < ranges; range++) {
      const int own = byte_tiles(borders[range + 1] - borders[range]);
      first[range + 1] = first[range] + own;
      most = larger(most, own);
    }
    tiles = first[ranges];
    together = MAX_RANGES;
    while (together > 1 && together * most > PART_TILES) {
      together /= 2;
    }
    bytes = reinterpret_cast<int8_t*>(const_cast<uint8_t*>(memory));
    scales = reinterpret_cast<float*>(bytes + static_cast<int64_t>(row_tiles) * tiles * stride * TILE_INPUTS);
    sums = reinterpret_cast<int32_t*>(scales + static_cast<int64_t>(row_tiles) * ranges * stride);
    group_sums = sums + static_cast<int64_t>(row_tiles) * ranges * stride;
  }

  // The part that holds a range's tile `t`.
  Part part(int range, int t) const {
    if (together == 1) {
      const int own = first[range + 1] - first[range];
      const int from = t / PART_TILES * PART_TILES;
      const int n = smaller(PART_TILES, own - from);
      return {first[range] + from, n, range, range + 1, from == 0, from + n == own};
    }
    const int from = range / together * together;
    const int to = smaller(ranges, from + together);
    return {first[from], first[to] - first[from], from, to, true, true};
  }

  int8_t* tile(int row, int range, int t) const {
    const Part in = part(range, t);
    const int64_t place = static_cast<int64_t>(in.first) * row_tiles + row / 16 * in.tiles + (first[range] + t - in.first);
    return bytes + (place * stride + row % 16) * TILE_INPUTS;
  }
  // Of scales and sums.
  int64_t at(int row, int range) const { return (row / 16 * static_cast<int64_t>(ranges) + range) * stride + row % 16; }
  // Of a group's sums: `tile` counts over all ranges.
  int64_t groups_at(int row, int tile) const {
    return ((row / 16 * static_cast<int64_t>(tiles) + tile) * stride + row % 16) * 2;
  }
};

// Calls with(part) for all parts in order.
template <class F>
static inline void each_part(const Staged& x, const F& with) {
  for (int range = 0; range < x.ranges;) {
    Part part = x.part(range, 0);
    with(part);
    while (!part.ends) {
      part = x.part(range, part.first + part.tiles - x.first[range]);
      with(part);
    }
    range = part.range_end;
  }
}

}  // namespace BATON_TIER
}  // namespace baton

// out[rows, outputs] = x[rows, inputs] * weight^T (+ bias), with canonical sums.
//
// The packed weight is [outputs / 16][inputs][16], the last group filled up with zeros: sixteen outputs are the lanes of
// one vector, each lane sums one output alone and in order of k, and no sum ever crosses lanes. A tile holds TILE_ROWS
// rows times some groups of sums in registers: a loaded weight serves all rows, a broadcast input all groups.
//
// Each of the canonical ranges of k is one run of the tile from 0; ranges are then added as a binary tree, as a binary
// counter adds: the sum after range i joins the sums that wait at the levels of i's trailing one bits.
//
// Bytes: each weight once per 48 rows from memory, once per TILE_ROWS from the nearest cache; x once per group block.
// Operations: 2 * rows * outputs * inputs. One row is bound by memory bandwidth, many rows by FMA throughput.
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// Rows for which partial sums wait on the stack between two ranges; bounds it to 36 KiB.
static constexpr int ROW_BLOCK = 48;
static constexpr int LEVELS = 3;

template <int G>
struct Waiting {
  float sums[LEVELS][ROW_BLOCK][G][LANES];
};

struct Product {
  float* out;
  int64_t out_stride;
  const float* x;
  int64_t x_stride;
  const int32_t* borders;
  int32_t ranges;
  int32_t outputs;
  int32_t inputs;
  const float* bias;
};

// One range for R rows and G groups; `row` counts from the block's first row, `row0`.
template <int R, int G, class W>
static inline void tile(const Product& p, const W* weight, int group, int row0, int row, int range, Waiting<G>& waiting) {
  Lanes sums[R][G];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
      sums[r][g] = zero();
    }
  }
  const int64_t group_stride = static_cast<int64_t>(p.inputs) * LANES;
  const W* w = weight + group * group_stride;
  const float* x = p.x + (row0 + row) * p.x_stride;
  const int to = p.borders[range + 1];
  for (int k = p.borders[range]; k < to; k++) {
    Lanes loaded[G];
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
      loaded[g] = load(w + g * group_stride + static_cast<int64_t>(k) * LANES);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Lanes input = all(x[r * p.x_stride + k]);
#pragma GCC unroll 8
      for (int g = 0; g < G; g++) {
        sums[r][g] = fma(input, loaded[g], sums[r][g]);
      }
    }
  }
  int level = 0;
  for (; range >> level & 1; level++) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < G; g++) {
        sums[r][g] = add(load(waiting.sums[level][row + r][g]), sums[r][g]);
      }
    }
  }
  if (range + 1 < p.ranges) {
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < G; g++) {
        store(waiting.sums[level][row + r][g], sums[r][g]);
      }
    }
    return;
  }
  for (int r = 0; r < R; r++) {
    for (int g = 0; g < G; g++) {
      const int first = (group + g) * LANES;
      const int n = smaller(LANES, p.outputs - first);
      Lanes result = sums[r][g];
      if (p.bias != nullptr) {
        result = add(result, load(p.bias + first, n));
      }
      store(p.out + (row0 + row + r) * p.out_stride + first, result, n);
    }
  }
}

template <int R, int G, class W>
static inline void tile_rows(const Product& p, const W* weight, int group, int row0, int row, int n, int range,
                             Waiting<G>& waiting) {
  if (n == R) {
    tile<R, G>(p, weight, group, row0, row, range, waiting);
  } else if constexpr (R > 1) {
    tile_rows<R - 1, G>(p, weight, group, row0, row, n, range, waiting);
  }
}

template <int R, int G, class W>
static void group_block(const Product& p, const W* weight, int group, int rows) {
  Waiting<G> waiting;
  for (int row0 = 0; row0 < rows; row0 += ROW_BLOCK) {
    const int block = smaller(ROW_BLOCK, rows - row0);
    const int tiles = (block + R - 1) / R;
    for (int range = 0; range < p.ranges; range++) {
      for (int t = 0; t < tiles; t++) {
        const int from = block * t / tiles;
        const int to = block * (t + 1) / tiles;
        tile_rows<R, G>(p, weight, group, row0, from, to - from, range, waiting);
      }
    }
  }
}

// All groups of [group, groups): G side by side as long as there are G, then fewer.
template <int R, int G, class W>
static void all_groups(const Product& p, const W* weight, int group, int groups, int rows) {
  for (; group + G <= groups; group += G) {
    group_block<R, G>(p, weight, group, rows);
  }
  if constexpr (G > 1) {
    all_groups<R, G / 2>(p, weight, group, groups, rows);
  }
}

// A unit of a share is G groups.
template <int R, int G, class W>
static void shared_groups(const Product& p, const W* weight, int rows, Share share) {
  const int groups = (p.outputs + LANES - 1) / LANES;
  const int units = (groups + G - 1) / G;
  all_groups<R, G>(p, weight, first_of(share, units) * G, smaller(groups, end_of(share, units) * G), rows);
}

template <class W>
static void product(const Product& p, const W* weight, int rows, Share share) {
  if (rows == 1) {
    shared_groups<1, GROUPS_ONE>(p, weight, rows, share);
  } else if (rows > 1) {
    shared_groups<TILE_ROWS, GROUPS_MANY>(p, weight, rows, share);
  }
}

void linear(Share share, float* out, int64_t out_stride, const float* x, int64_t x_stride, int32_t rows, const uint8_t* weight,
            int32_t dtype, const int32_t* borders, int32_t ranges, int32_t outputs, int32_t inputs,
            const float* bias) noexcept {
  const Product p = {out, out_stride, x, x_stride, borders, ranges, outputs, inputs, bias};
  if (dtype == BFLOAT16) {
    product(p, reinterpret_cast<const uint16_t*>(weight), rows, share);
  } else {
    product(p, reinterpret_cast<const float*>(weight), rows, share);
  }
}

}  // namespace BATON_TIER
}  // namespace baton

// out[rows, outputs] = x[rows, inputs] * weight^T with float32 weights, for several weights at once; see products.h for
// what becomes of the sums.
//
// The packed weight is [outputs / 32][2][inputs][16], the last pair of groups filled up with zeros: sixteen outputs are
// the lanes of one vector, each lane sums one output alone and in order of k, and no sum ever crosses lanes. A tile holds
// TILE_ROWS rows times some groups of sums in registers: a loaded weight serves all rows, a broadcast input all groups.
//
// Each of the canonical ranges of k is one run of the tile from 0; ranges are then added as a binary tree, as a binary
// counter adds: the sum after range i joins the sums that wait at the levels of i's trailing one bits.
//
// Many rows pass the weight in panels of PANEL bytes, which stay in the first-level cache: tile after tile of rows adds a
// panel to its sums, while what comes after it is asked for, a few lines at a time.
//
// Bytes: each weight once per 48 rows from memory, once per TILE_ROWS from the nearest cache; x once per group block.
// Operations: 2 * rows * outputs * inputs. One row is bound by memory bandwidth, many rows by FMA throughput.
#include "products.h"

namespace baton {
namespace BATON_TIER {

// Rows for which partial sums wait on the stack between two ranges; bounds it to 48 KiB.
static constexpr int ROW_BLOCK = 48;
static constexpr int LEVELS = 3;

static constexpr int PANEL = 32 * 1024;  // bytes
static constexpr int STEPS = 8;          // of k, between which the lines of the next panel are asked for

// Lines of the panel that comes next: `length` in each of some streams, the groups' weights.
struct Ahead {
  const float* first;
  int64_t stride;
  int length;
  int line;  // the first that this tile of rows asks for
  int end;   // behind its last

  void ask(int count) {
    for (; count > 0 && line < end; count--, line++) {
      __builtin_prefetch(first + line / length * stride + line % length * LANES, 0, 2);
    }
  }
};

struct Inputs {
  const float* x;
  int64_t stride;
  const int32_t* borders;
  int32_t ranges;
  int32_t width;
};

// The sums of a block of rows, at the levels of the tree and at last when complete.
template <int G>
struct Sums {
  float of[LEVELS + 1][ROW_BLOCK][G][LANES];
};

// Inputs [from, to) of one range for R rows and G groups from `group` of N; `row` counts from the block's first row, `row0`.
template <int R, int G, int N>
static inline void tile(const Inputs& in, const float* weight, int group, int row0, int row, int range, int from, int to,
                        Ahead ahead, Sums<N>& waiting) {
  Lanes sums[R][G];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
      sums[r][g] = from == in.borders[range] ? zero() : load(waiting.of[LEVELS][row + r][group + g]);
    }
  }
  const int64_t group_stride = static_cast<int64_t>(in.width) * LANES;
  const float* w = weight + group * group_stride;
  const float* x = in.x + (row0 + row) * in.stride;
  const int lines = to == from ? 0 : ((ahead.end - ahead.line) * STEPS + to - from - 1) / (to - from);
  const int steps = lines == 0 ? to - from : STEPS;
  for (int k = from; k < to;) {
    ahead.ask(lines);
    for (const int end = smaller(to, k + steps); k < end; k++) {
      Lanes loaded[G];
#pragma GCC unroll 8
      for (int g = 0; g < G; g++) {
        loaded[g] = load(w + g * group_stride + static_cast<int64_t>(k) * LANES);
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Lanes input = all(x[r * in.stride + k]);
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          sums[r][g] = fma(input, loaded[g], sums[r][g]);
        }
      }
    }
  }
  int level = 0;
  if (to == in.borders[range + 1]) {
    for (; range >> level & 1; level++) {
      for (int r = 0; r < R; r++) {
        for (int g = 0; g < G; g++) {
          sums[r][g] = add(load(waiting.of[level][row + r][group + g]), sums[r][g]);
        }
      }
    }
  }
  if (to < in.borders[range + 1] || range + 1 == in.ranges) {
    level = LEVELS;
  }
  for (int r = 0; r < R; r++) {
    for (int g = 0; g < G; g++) {
      store(waiting.of[level][row + r][group + g], sums[r][g]);
    }
  }
}

template <int R, int G, int N>
static inline void tile_rows(const Inputs& in, const float* weight, int group, int row0, int row, int n, int range, int from,
                             int to, const Ahead& ahead, Sums<N>& waiting) {
  if (n == R) {
    tile<R, G>(in, weight, group, row0, row, range, from, to, ahead, waiting);
  } else if constexpr (R > 1) {
    tile_rows<R - 1, G>(in, weight, group, row0, row, n, range, from, to, ahead, waiting);
  }
}

// N groups, an even number, as tiles of R rows by at most G groups.
template <int R, int G, int N>
static void group_block(const Product& p, const Inputs& in, int pair, int rows) {
  constexpr int PANEL_INPUTS = PANEL / (G * LANES * 4);
  Sums<N> waiting;
  const float* weight = reinterpret_cast<const float*>(p.weight) + static_cast<int64_t>(pair) * PAIR * in.width;
  const int64_t group_stride = static_cast<int64_t>(in.width) * LANES;
  for (int row0 = 0; row0 < rows; row0 += ROW_BLOCK) {
    const int block = smaller(ROW_BLOCK, rows - row0);
    const int tiles = (block + R - 1) / R;
    const bool in_panels = R > 1 && row0 == 0;  // later blocks find the weight in the second-level cache
    const int asked = in_panels ? G * PANEL_INPUTS : 0;
    for (int range = 0; range < in.ranges; range++) {
      for (int group = 0; group < N; group += G) {
        int k = in.borders[range];
        do {  // once for a range without inputs, too
          const int to = smaller(in_panels ? k + PANEL_INPUTS : in.width, in.borders[range + 1]);
          const float* next = weight + (to < in.width ? group * group_stride + to * LANES : (group + G) * group_stride);
          for (int t = 0; t < tiles; t++) {
            const int from = block * t / tiles;
            const int end = block * (t + 1) / tiles;
            const Ahead ahead = {next, group_stride, PANEL_INPUTS, asked * t / tiles, asked * (t + 1) / tiles};
            tile_rows<R, G>(in, weight, group, row0, from, end - from, range, k, to, ahead, waiting);
          }
          k = to;
        } while (k < in.borders[range + 1]);
      }
    }
    for (int row = 0; row < block; row++) {
      for (int group = 0; group < N; group += 2) {
        const auto& sums = waiting.of[LEVELS][row];
        finish(p, pair + group / 2, row0 + row, load(sums[group]), load(sums[group + 1]));
      }
    }
  }
}

// All pairs of [pair, end): G groups side by side as long as there are G, then fewer.
template <int R, int G>
static void all_groups(const Product& p, const Inputs& in, int pair, int end, int rows) {
  constexpr int N = G < 2 ? 2 : G;
  for (; pair + N / 2 <= end; pair += N / 2) {
    group_block<R, G, N>(p, in, pair, rows);
  }
  if constexpr (G > 2) {
    all_groups<R, G / 2>(p, in, pair, end, rows);
  }
}

void linear(Share share, const int64_t* products, int32_t count, const float* x, int64_t x_stride, int32_t rows,
            int32_t inputs, const int32_t* borders, int32_t ranges) noexcept {
  const Inputs in = {x, x_stride, borders, ranges, inputs};
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  each_product(list, count, first_of(share, pairs), end_of(share, pairs), [&](const Product& p, int pair, int end) {
    if (rows == 1) {
      all_groups<1, GROUPS_ONE>(p, in, pair, end, rows);
    } else if (rows > 1) {
      all_groups<TILE_ROWS, GROUPS_MANY>(p, in, pair, end, rows);
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

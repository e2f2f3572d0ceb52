// out[rows, outputs] = x[rows, inputs] * weight^T with bfloat16 weights, for several weights at once, on vectors; see
// products.h for what becomes of the sums. The matrix units have a kernel of their own for the same (linear_amx.cpp).
//
// The weight is in tiles (tiles.cpp): [outputs / 32][tile][2][16 pairs of inputs][16 outputs][2 inputs], each canonical
// range filled up with zeros to whole tiles of 32 inputs. x is staged: [row][tile][32] float32, rounded to bfloat16.
//
// The sums are those of the matrix units' instruction tdpbf16ps: in a tile the even and the odd inputs alone, each by fma
// in order from 0; then sum + (even + odd); denormals count as 0, in inputs and results (but not when ranges are added up
// or sums go on from there). Widening a pair costs a shift
// and an and for two fma. As tiles do not wait for each other but in the last addition, one row takes DEPTH_ONE of them
// side by side, which hides the latency of fma.
//
// Up to GROUP_ROWS rows take the weight as it comes from memory, so that its products hide behind it: up to PAIR_ROWS by both
// groups of a pair, more of them by one after the other. More rows than these pass the weight by PANEL tiles of a pair, which
// stay in the first-level cache, in blocks as equal as may be, up to CHUNK rows, whose sums wait on the stack; many of them
// share a widening of the panel. Meanwhile what comes after the next panel is asked for, a few lines at each tile.
//
// Bytes: the weight once for up to CHUNK rows. Operations: 2 * rows * outputs * inputs. Few rows are bound by memory, many
// by fma: a tile of 32 x 32 x PAIR_ROWS takes 16 * 4 * PAIR_ROWS of them and 4 * PAIR_ROWS additions.
#include "denormals.h"
#include "products.h"
#include "tiles.h"

namespace baton {
namespace BATON_TIER {

static constexpr int MAX_RANGES = 8;

// How far ahead of its use one row asks for a weight that comes from memory, in bytes, into the second-level cache, for the
// first one has too few requests under way to wait for memory; some more rows ask for windows instead (products.h). And from
// there into the first.
static constexpr int FAR_AHEAD = 16 * 1024;
static constexpr int NEAR_AHEAD = 2048;

// And how far behind a panel while rows pass it.
static constexpr int AHEAD = 8192;

// Tiles of a pair that rows pass together, widened 4 KiB each, and the rows that use them.
static constexpr int PANEL = 4;
static constexpr int CHUNK = 64;

// So many blocks of rows widen each weight for themselves, in registers, where these suffice for two groups: the panel's way
// through the cache takes as long as the products of some rows.
static constexpr int PACKED_BLOCKS = PAIR_GROUPS == 2 ? 3 : 0;
static constexpr int WIDE = 2 * TILE;  // elements of one

struct Staged {
  const float* x;
  int64_t stride;  // elements of a row
  const int32_t* borders;
  int32_t ranges;
};

// Adds D tiles of depth, one after the other, to the sums of R rows and of G groups from `group` of a pair. The weight comes
// from memory.
template <int R, int G, int D>
static inline void add_tiles(const Product& p, const uint16_t* weight, const float* x, int64_t x_stride, int group,
                             float (*sums)[2][LANES]) {
  const uint8_t* next = in_next_window(p, turn_of(p, weight + group * TILE));
  Lanes even[R][G][D];
  Lanes odd[R][G][D];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
#pragma GCC unroll 8
      for (int d = 0; d < D; d++) {
        even[r][g][d] = zero();
        odd[r][g][d] = zero();
      }
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < TILE_DEPTH / 2; i++) {
    if constexpr (R > 1) {
      if (i % (STREAMS / G) == 0) {
        ask_turn(next);
        next += LINE;
      }
    }
#pragma GCC unroll 8
    for (int d = 0; d < D; d++) {
      Lanes w[G][2];
#pragma GCC unroll 8
      for (int g = 0; g < G; g++) {
        const uint16_t* from = weight + (2 * d + group + g) * TILE + i * PAIR;
        if constexpr (R == 1) {
          __builtin_prefetch(from + FAR_AHEAD / 2, 0, 2);
        }
        __builtin_prefetch(from + NEAR_AHEAD / 2);
        load_pairs(from, w[g][0], w[g][1]);
      }
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        const float* input = x + r * x_stride + d * TILE_DEPTH + 2 * i;
        const Lanes first = all(input[0]);
        const Lanes second = all(input[1]);
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          even[r][g][d] = fma(first, w[g][0], even[r][g][d]);
          odd[r][g][d] = fma(second, w[g][1], odd[r][g][d]);
        }
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int g = 0; g < G; g++) {
      Lanes sum = load(sums[r][group + g]);
#pragma GCC unroll 8
      for (int d = 0; d < D; d++) {
        sum = add(sum, add(even[r][g][d], odd[r][g][d]));
      }
      store(sums[r][group + g], sum);
    }
  }
}

// The sums of every range, of R rows by one pair; at most G groups at once and, for one row, D tiles of depth. A function
// of its own, so that nothing of it is computed before or after denormals count as 0.
template <int R, int G, int D>
__attribute__((noinline)) static void sum_ranges(const Product& p, const Staged& in, const uint16_t* weight, int row,
                                                 float (*sums)[R][2][LANES]) {
  const float* x = in.x + row * in.stride;
  for (int range = 0; range < in.ranges; range++) {
    for (int r = 0; r < R; r++) {
      store(sums[range][r][0], zero());
      store(sums[range][r][1], zero());
    }
    const int tiles = tiles_of(in.borders[range + 1] - in.borders[range]);
    int t = 0;
    for (; t + D <= tiles; t += D) {
      for (int group = 0; group < 2; group += G) {
        add_tiles<R, G, D>(p, weight + t * 2 * TILE, x + t * TILE_DEPTH, in.stride, group, sums[range]);
      }
    }
    for (; t < tiles; t++) {
      for (int group = 0; group < 2; group += G) {
        add_tiles<R, G, 1>(p, weight + t * 2 * TILE, x + t * TILE_DEPTH, in.stride, group, sums[range]);
      }
    }
    weight += static_cast<int64_t>(tiles) * 2 * TILE;
    x += tiles * TILE_DEPTH;
  }
}

// The ranges' sums of a row and group as a binary tree; they are overwritten.
template <int ROWS>
static inline Lanes tree(float (*sums)[ROWS][2][LANES], int row, int group, int ranges) {
  for (int n = ranges / 2; n > 0; n /= 2) {
    for (int range = 0; range < n; range++) {
      store(sums[range][row][group], add(load(sums[2 * range][row][group]), load(sums[2 * range + 1][row][group])));
    }
  }
  return load(sums[0][row][group]);
}

template <int R, int G, int D>
static inline void row_block(const Product& p, const Staged& in, const uint16_t* weight, int pair, int row) {
  float sums[MAX_RANGES][R][2][LANES];
  {
    const DenormalsAsZero scope;
    sum_ranges<R, G, D>(p, in, weight, row, sums);
  }
  for (int r = 0; r < R; r++) {
    finish(p, pair, row + r, tree(sums, r, 0, in.ranges), tree(sums, r, 1, in.ranges));
  }
}

// n rows, all there are, at least LEAST and at most R.
template <int R, int G, int LEAST>
static inline void few_rows(const Product& p, const Staged& in, const uint16_t* weight, int pair, int n) {
  if (n == R) {
    row_block<R, G, 1>(p, in, weight, pair, 0);
  } else if constexpr (R > LEAST) {
    few_rows<R - 1, G, LEAST>(p, in, weight, pair, n);
  }
}

// PANEL or fewer tiles as float32: [tile][group][pair of inputs][even, odd][16 outputs].
static inline void widen_panel(const uint16_t* weight, int tiles, float* panel) {
  for (int line = 0; line < tiles * 2 * TILE_DEPTH / 2; line++) {
    Lanes even;
    Lanes odd;
    load_pairs(weight + line * PAIR, even, odd);
    store(panel + line * PAIR, even);
    store(panel + line * PAIR + LANES, odd);
  }
}

// What is asked for at each tile while rows pass a panel.
struct Ahead {
  const uint16_t* weight;
  int lines;
};

// Adds a panel's tiles, widened or as they are, to the sums of R rows, G groups at a time.
template <int R, int G, class W>
static inline void add_panel(const W* panel, int tiles, const float* x, int64_t x_stride, float (*sums)[2][LANES],
                             Ahead& ahead) {
  for (int t = 0; t < tiles; t++) {
    for (int line = 0; line < ahead.lines; line++, ahead.weight += PAIR) {
      __builtin_prefetch(ahead.weight, 0, 2);
    }
    for (int group = 0; group < 2; group += G) {
      Lanes even[R][G];
      Lanes odd[R][G];
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          even[r][g] = zero();
          odd[r][g] = zero();
        }
      }
      const W* w = panel + t * WIDE + group * TILE;
      const float* input = x + t * TILE_DEPTH;
      for (int i = 0; i < TILE_DEPTH / 2; i++, w += PAIR, input += 2) {
        Lanes evens[G];
        Lanes odds[G];
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          if constexpr (sizeof(W) == sizeof(float)) {
            evens[g] = load(w + g * TILE);
          } else {
            load_pairs(w + g * TILE, evens[g], odds[g]);
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const Lanes first = all(input[r * x_stride]);
#pragma GCC unroll 8
          for (int g = 0; g < G; g++) {
            even[r][g] = fma(first, evens[g], even[r][g]);
          }
        }
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          if constexpr (sizeof(W) == sizeof(float)) {
            odds[g] = load(w + g * TILE + LANES);
          }
        }
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const Lanes second = all(input[r * x_stride + 1]);
#pragma GCC unroll 8
          for (int g = 0; g < G; g++) {
            odd[r][g] = fma(second, odds[g], odd[r][g]);
          }
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int g = 0; g < G; g++) {
          float* sum = sums[r][group + g];
          store(sum, add(load(sum), add(even[r][g], odd[r][g])));
        }
      }
    }
  }
}

template <int R, class W>
static inline void rest_of_panel(const W* panel, int tiles, const float* x, int64_t x_stride, int n,
                                 float (*sums)[2][LANES], Ahead& ahead) {
  if (n == R) {
    add_panel<R, PAIR_GROUPS>(panel, tiles, x, x_stride, sums, ahead);
  } else if constexpr (R > 1) {
    rest_of_panel<R - 1>(panel, tiles, x, x_stride, n, sums, ahead);
  }
}

// The sums of every range, of `rows` rows by one pair.
__attribute__((noinline)) static void sum_chunk(const Staged& in, const uint16_t* weight, int row, int rows,
                                                float (*sums)[CHUNK][2][LANES]) {
  alignas(64) float panel[PANEL * WIDE];
  const float* x = in.x + row * in.stride;
  const int blocks = (rows + PANEL_ROWS - 1) / PANEL_ROWS;
  const int lines = (2 * TILE / PAIR + blocks - 1) / blocks;  // asked for by each block at each tile
  for (int range = 0; range < in.ranges; range++) {
    for (int r = 0; r < rows; r++) {
      store(sums[range][r][0], zero());
      store(sums[range][r][1], zero());
    }
    const int tiles = tiles_of(in.borders[range + 1] - in.borders[range]);
    for (int t = 0; t < tiles; t += PANEL) {
      const int n = smaller(PANEL, tiles - t);
      const uint16_t* packed = weight;
      weight += n * 2 * TILE;
      Ahead ahead = {weight + AHEAD / 2, lines};
      const auto pass = [&](const auto* tile) {
        for (int block = 0; block < blocks; block++) {
          const int r = rows * block / blocks;
          rest_of_panel<PANEL_ROWS>(tile, n, x + r * in.stride + t * TILE_DEPTH, in.stride,
                                    rows * (block + 1) / blocks - r, sums[range] + r, ahead);
        }
      };
      if (blocks <= PACKED_BLOCKS) {
        pass(packed);
      } else {
        widen_panel(packed, n, panel);
        pass(static_cast<const float*>(panel));
      }
    }
    x += tiles * TILE_DEPTH;
  }
}

// As row_block, for many rows.
static void chunk(const Product& p, const Staged& in, const uint16_t* weight, int pair, int row, int rows) {
  float sums[MAX_RANGES][CHUNK][2][LANES];
  {
    const DenormalsAsZero scope;
    sum_chunk(in, weight, row, rows, sums);
  }
  for (int r = 0; r < rows; r++) {
    finish(p, pair, row + r, tree(sums, r, 0, in.ranges), tree(sums, r, 1, in.ranges));
  }
}

static void pairs_of_product(const Product& p, const Staged& in, int pair, int end, int rows) {
  for (; pair < end; pair++) {
    const uint16_t* weight = reinterpret_cast<const uint16_t*>(p.weight) + pair * 2 * LANES * in.stride;
    if (rows == 1) {
      row_block<1, 2, DEPTH_ONE>(p, in, weight, pair, 0);
      continue;
    }
    if (rows <= PAIR_ROWS) {
      few_rows<PAIR_ROWS, PAIR_GROUPS, 2>(p, in, weight, pair, rows);
      continue;
    }
    if (rows <= GROUP_ROWS) {
      few_rows<GROUP_ROWS, 1, PAIR_ROWS + 1>(p, in, weight, pair, rows);
      continue;
    }
    for (int row = 0; row < rows; row += CHUNK) {
      chunk(p, in, weight, pair, row, smaller(CHUNK, rows - row));
    }
  }
}

void linear_tiles(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                  const int32_t* borders, int32_t ranges) noexcept {
  const int64_t stride = static_cast<int64_t>(tiles_of(borders, ranges)) * TILE_DEPTH;
  const Staged in = {reinterpret_cast<const float*>(staged), stride, borders, ranges};
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  each_product(list, count, first_of(share, pairs), end_of(share, pairs),
               [&](const Product& p, int pair, int end) { pairs_of_product(p, in, pair, end, rows); });
}

}  // namespace BATON_TIER
}  // namespace baton

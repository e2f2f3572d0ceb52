// out[rows, outputs] = x[rows, inputs] * weight^T with quantized weights and inputs, for several weights at once: exact sums
// of products of bytes over a range, times (the input's scale times the weight's), the ranges added as the canonical tree
// (see bytes.h for the layouts, linear.cpp for the tree, products.h for what becomes of the sums).
//
// The unsigned weights are 128 (or, in four bits, levels are 8) too large; sums begin at minus as many times the sum of
// the row's inputs.
//
// A few rows take a pair of tiles at once, all of the depth. More of them pass a panel of it, block by block. Meanwhile what
// lies behind is asked for, so that memory and products overlap. Where products of bytes are fast (WIDENS_4) weights of four
// bits become bytes once for all rows of a chunk.
//
// Bytes: the weight once from memory, 1 (4 bits: 17/32) a weight, and once per block of rows from the nearest cache, as are
// inputs. Operations: 2 * rows * outputs * inputs. Few rows are bound by memory bandwidth, many by vpdpbusd.
#include "bytes.h"
#include "norm.h"
#include "products.h"

namespace baton {
namespace BATON_TIER {

static constexpr int LEVELS = 3;

// Pairs of tiles that one row takes side by side: memory gives more in several streams (measured here: of what it gives at
// best, one stream 83 %, four 92 to 95 %, eight no more). More rows ask for windows (products.h) instead. How far ahead of its
// use each line is asked for, too, into the first-level cache, in bytes.
static constexpr int ONE_PAIRS = 4;
static constexpr int AHEAD_8 = 1024;
static constexpr int AHEAD_4 = 1536;

// More rows than FEW_ROWS_8 or _4 pass a panel of so many tiles of a pair, which stays in the first-level cache, a chunk of
// rows at a time; a chunk's rows stay in the second while CHUNK_PAIRS pairs go by, and these pairs' weights while chunks do.
static constexpr int PANEL = 8;
static constexpr int ROW_TILE = 16;  // of the inputs (bytes.h)
static constexpr int CHUNK = 64;
static constexpr int CHUNK_PAIRS = 4;

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

// Asks for a quarter of the lines of a pair of tiles, or for all of them.
template <bool FOUR, int QUARTERS>
__attribute__((always_inline)) static inline void ask_near(const uint8_t* weight, int quarter) {
  constexpr int LINES = (FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8) / 64;
#pragma GCC unroll 32
  for (int line = LINES * quarter / 4; line < LINES * (quarter + QUARTERS) / 4; line++) {
    __builtin_prefetch(weight + (FOUR ? AHEAD_4 : AHEAD_8) + line * 64, 0, 3);
  }
}

// Scales the exact sums of a range, of R rows of a pair, and joins them with those that wait, as a binary counter; finishes
// them when the range is the last. `at` is where these rows begin among the N that wait.
template <int R, int N>
static inline void join(const Product& p, const Staged& x, const float* scales, int pair, int row, int range,
                        const Sums (&exact)[R][2], int at, float (&waiting)[LEVELS][N][2][LANES]) {
  const float* row_scales = x.scales + x.at(row, range);
  Lanes sums[R][2];
#pragma GCC unroll 2
  for (int g = 0; g < 2; g++) {
    const Lanes scale = load(scales + pair * PAIR_OUTPUTS + g * LANES);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      sums[r][g] = mul(to_float(exact[r][g]), mul(all(row_scales[r]), scale));
    }
  }
  int level = 0;
  for (; range >> level & 1; level++) {
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      for (int g = 0; g < 2; g++) {
        sums[r][g] = add(load(waiting[level][at + r][g]), sums[r][g]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    if (range + 1 == x.ranges) {
      finish(p, pair, row + r, sums[r][0], sums[r][1]);
      continue;
    }
    for (int g = 0; g < 2; g++) {
      store(waiting[level][at + r][g], sums[r][g]);
    }
  }
}

// R rows, all there are, by P pairs of tiles side by side, all of the depth. The weight comes from memory. A function of its
// own, as the compiler does better with its registers then.
template <int R, int P, bool FOUR>
__attribute__((noinline)) static void few_rows(const Product& p, const Staged& x, const float* scales, int pair) {
  constexpr int BYTES = FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8;
  float waiting[P][LEVELS][R][2][LANES];
  const int64_t weight_stride = static_cast<int64_t>(x.tiles) * BYTES;
  const uint8_t* weight = p.weight + pair * weight_stride;
  const int64_t x_stride = static_cast<int64_t>(x.stride) * TILE_INPUTS;
  WindowAhead ahead(p, weight, BYTES / 4);
  for (int range = 0; range < x.ranges; range++) {
    const int64_t at = x.at(0, range);
    Sums sums[P][R][2];
#pragma GCC unroll 4
    for (int q = 0; q < P; q++) {
#pragma GCC unroll 16
      for (int r = 0; r < R; r++) {
        sums[q][r][0] = sums[q][r][1] = all_sums(FOUR ? 0 : x.sums[at + r]);
      }
    }
    const int tiles = x.first[range + 1] - x.first[range];
    const int32_t* group_sums = x.group_sums + x.groups_at(0, x.first[range]);
    for (int from = 0; from < tiles; from += PART_TILES) {
      const int8_t* inputs = x.tile(0, range, from);
      const int end = smaller(tiles, from + PART_TILES);
      for (int t = from; t < end; t++, weight += BYTES, inputs += x_stride, group_sums += 2 * x.stride) {
#pragma GCC unroll 4
        for (int q = 0; q < P; q++) {
          const uint8_t* own = weight + q * weight_stride;
          const auto ask = [&](int quarter) {
            if constexpr (R > 1) {
              ahead.step();
              ask_near<FOUR, 1>(own, quarter);
            } else if (quarter == 0) {
              ask_near<FOUR, 4>(own, 0);
            }
          };
          if constexpr (FOUR) {
            multiply_4<R>(own, inputs, group_sums, sums[q], ask);
          } else {
            multiply_8<R>(own, inputs, sums[q], ask);
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int q = 0; q < P; q++) {
      join<R>(p, x, scales, pair + q, 0, range, sums[q], 0, waiting[q]);
    }
  }
}

// All rows, at most R, by pairs [pair, end).
template <int R, bool FOUR>
static inline void few_rows_of(const Product& p, const Staged& x, const float* scales, int pair, int end) {
  if (x.rows == R) {
    if constexpr (R == 1) {
      for (; pair + ONE_PAIRS <= end; pair += ONE_PAIRS) {
        few_rows<R, ONE_PAIRS, FOUR>(p, x, scales, pair);
      }
    }
    for (; pair < end; pair++) {
      few_rows<R, 1, FOUR>(p, x, scales, pair);
    }
  } else if constexpr (R > 1) {
    few_rows_of<R - 1, FOUR>(p, x, scales, pair, end);
  }
}

// Some tiles of a range of a pair's weights, by which all rows of a chunk pass.
struct Panel {
  const uint8_t* weight;
  int range;
  int tile;  // of the range
  int tiles;
  bool ends;  // the range
};

// What a chunk's rows have so far: exact sums of the present range, and ranges that wait for their neighbours.
struct ChunkSums {
  int32_t exact[CHUNK][2][LANES];
  float waiting[LEVELS][CHUNK][2][LANES];
};

// Adds a panel to the sums of R rows from `row`, the chunk's `at`th. A function of its own as few_rows is.
template <int R, bool FOUR>
__attribute__((noinline)) static void pass(const Product& p, const Staged& x, const float* scales, int pair,
                                           const Panel& panel, int row, int at, ChunkSums& chunk, WindowAhead& ahead) {
  Sums sums[R][2];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
      sums[r][g] = panel.tile != 0 ? load(chunk.exact[at + r][g])
                                   : all_sums(FOUR ? 0 : x.sums[x.at(row, panel.range) + r]);
    }
  }
  const uint8_t* weight = panel.weight;
  const int8_t* inputs = x.tile(row, panel.range, panel.tile);
  const int64_t x_stride = static_cast<int64_t>(x.stride) * TILE_INPUTS;
  const int32_t* group_sums = x.group_sums + x.groups_at(row, x.first[panel.range] + panel.tile);
  for (int t = 0; t < panel.tiles; t++, inputs += x_stride) {
    ahead.step();
    if constexpr (FOUR) {
      multiply_4<R>(weight, inputs, group_sums, sums, [](int) {});
      weight += PAIR_BYTES_4;
      group_sums += 2 * x.stride;
    } else {
      multiply_8<R>(weight, inputs, sums, [](int) {});
      weight += PAIR_BYTES_8;
    }
  }
  if (panel.ends) {
    join<R>(p, x, scales, pair, row, panel.range, sums, at, chunk.waiting);
    return;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    store(chunk.exact[at + r][0], sums[r][0]);
    store(chunk.exact[at + r][1], sums[r][1]);
  }
}

template <int R, bool FOUR>
static inline void rest_passes(const Product& p, const Staged& x, const float* scales, int pair, const Panel& panel, int row,
                               int at, int n, ChunkSums& chunk, WindowAhead& ahead) {
  if (n == R) {
    pass<R, FOUR>(p, x, scales, pair, panel, row, at, chunk, ahead);
  } else if constexpr (R > 1) {
    rest_passes<R - 1, FOUR>(p, x, scales, pair, panel, row, at, n, chunk, ahead);
  }
}

// Blocks of at most R rows that so many rows of a row tile are cut into, as equal as may be.
template <int R>
static inline int blocks_of(int rows) {
  return (rows + R - 1) / R;
}

// Rows [row, row + rows) by one pair, all of the depth; `row` begins a row tile. FIRST: of the chunks that use these weights,
// which come from memory then: the next window is asked for a few lines at a time, spread over the products, as requests that
// come together wait for one another.
template <bool FOUR, bool FIRST>
static void chunk_of(const Product& p, const Staged& x, const float* scales, int pair, int row, int rows,
                     ChunkSums& chunk) {
  constexpr int BYTES = FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8;
  constexpr bool WIDEN = FOUR && WIDENS_4;
  constexpr int R = FOUR && !WIDENS_4 ? BYTE_ROWS_4 : BYTE_ROWS_8;
  alignas(64) uint8_t widened[WIDEN ? PANEL : 1][PAIR_BYTES_8];
  const int blocks = rows / ROW_TILE * blocks_of<R>(ROW_TILE) + blocks_of<R>(rows % ROW_TILE);
  const uint8_t* weight = p.weight + static_cast<int64_t>(pair) * x.tiles * BYTES;
  for (int range = 0; range < x.ranges; range++) {
    const int tiles = x.first[range + 1] - x.first[range];
    int t = 0;
    do {  // once for a range without inputs, too
      const int n = smaller(PANEL, tiles - t);
      Panel panel = {weight, range, t, n, t + n == tiles};
      WindowAhead ahead = FIRST ? WindowAhead(p, weight, weight + n * BYTES, n * blocks) : WindowAhead();
      if constexpr (WIDEN) {
        for (int i = 0; i < n; i++) {
          widen(weight + i * BYTES, widened[i], [](const uint8_t*) {});
        }
        panel.weight = widened[0];
      }
      for (int from = 0; from < rows; from += ROW_TILE) {
        const int own = smaller(ROW_TILE, rows - from);
        const int own_blocks = blocks_of<R>(own);
        for (int block = 0; block < own_blocks; block++) {
          const int at = from + own * block / own_blocks;
          const int end = from + own * (block + 1) / own_blocks;
          rest_passes<R, FOUR && !WIDEN>(p, x, scales, pair, panel, row + at, at, end - at, chunk, ahead);
        }
      }
      weight += n * BYTES;
      t += n;
    } while (t < tiles);
  }
}

// A unit of a share is a pair of tiles.
template <bool FOUR>
static void quantized(const int64_t* products, int count, const Staged& x, Share share) {
  constexpr int FEW = FOUR ? FEW_ROWS_4 : FEW_ROWS_8;
  static_assert(CHUNK % ROW_TILE == 0 && FEW <= ROW_TILE, "rows that share a weight lie in one row tile");
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  each_product(list, count, first_of(share, pairs), end_of(share, pairs), [&](const Product& p, int pair, int end) {
    const float* scales = reinterpret_cast<const float*>(p.weight + static_cast<int64_t>(pairs_of(p)) * x.tiles *
                                                                        (FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8));
    if (x.rows <= FEW) {
      few_rows_of<FEW, FOUR>(p, x, scales, pair, end);
      return;
    }
    ChunkSums chunk;
    for (; pair < end; pair += CHUNK_PAIRS) {
      const int to = smaller(end, pair + CHUNK_PAIRS);
      for (int row = 0; row < x.rows; row += CHUNK) {
        for (int i = pair; i < to; i++) {
          if (row == 0) {
            chunk_of<FOUR, true>(p, x, scales, i, row, smaller(CHUNK, x.rows - row), chunk);
          } else {
            chunk_of<FOUR, false>(p, x, scales, i, row, smaller(CHUNK, x.rows - row), chunk);
          }
        }
      }
    }
  });
}

void linear_int8(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  quantized<false>(products, count, Staged(staged, rows, borders, ranges), share);
}

void linear_int4(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  quantized<true>(products, count, Staged(staged, rows, borders, ranges), share);
}

}  // namespace BATON_TIER
}  // namespace baton

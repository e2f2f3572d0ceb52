// Quantized products of many rows by the matrix units: the same exact sums as linear_quantized.cpp, by tdpbsud (signed
// inputs, unsigned weights of eight bits) and tdpbssd (four bits, widened to signed bytes in the nearest cache). One
// instruction adds 64 products to each of 16 x 16 sums. A few rows go to the vector kernels: the memory is the limit there.
//
// Eight bits. Up to ROW_TILES * 16 rows by PAIRS * 32 outputs go through a range together, STEP tiles of depth at a time, so
// that the weight's part (STEP * 2 KiB) stays in the nearest cache while the rows go by. Two row tiles by two weight tiles
// share each loaded tile twice. Scaling and joining ranges is done in pieces between the tiles of the next product, which
// keeps the matrix unit busy meanwhile. Bytes: the weight once per 256 rows, a row tile once per 128 outputs.
//
// Four bits. Every tile of depth has scales of its own, so its sums leave the matrix unit at once: 3 vector operations for
// 16 sums, which is the limit (about 1.5 times what the matrix unit needs). A pair's tiles are widened once for all rows
// of a block, STEP tiles at a time.
//
// Operations: 2 * rows * outputs * inputs; 16 cycles for 32,768.
#include <immintrin.h>

#include "bytes.h"

namespace baton {
namespace amx {

using namespace avx512;

static constexpr int TILE_BYTES = 1024;
static constexpr int ROWS = 16;
static constexpr int LEVELS = 3;
static constexpr int ROW_TILES = 16;
static constexpr int PAIRS = 4;
static constexpr int STEP = 16;
static constexpr int STEP_4 = 8;
static constexpr int FEW_ROW_TILES = 2;
static constexpr int AHEAD = 8 * 1024;  // bytes that a weight which comes from memory is asked for before its use

// Rows from which the matrix unit is faster than the vector units.
static constexpr int LEAST_ROWS_8 = 5;
static constexpr int LEAST_ROWS_4 = 5;

// Inputs and sums have as many rows as the inputs have.
struct ByteConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};

  explicit ByteConfig(int stride) {
    for (int tile = 0; tile < 8; tile++) {
      rows[tile] = tile == 4 || tile == 5 ? 16 : static_cast<uint8_t>(stride);
    }
  }
};

struct IntBlock {
  int32_t sums[2][ROWS][LANES];
};
struct FloatBlock {
  float sums[2][ROWS][LANES];
};

struct ByteProduct {
  float* out;
  int64_t out_stride;
  Staged x;
  int32_t rows;
  const uint8_t* weight;
  const float* scales;
  const int32_t* borders;
  int32_t ranges;
  int32_t outputs;
  const float* bias;
};

// Too large for a stack: sums under way, and those of ranges that wait for their neighbours, by level.
static thread_local IntBlock sums_of[PAIRS][ROW_TILES];
static thread_local FloatBlock waiting_of[LEVELS][PAIRS][ROW_TILES];

// Joins rows [row, end) of a row tile's range, of one half of a pair, with the ranges that wait, and stores them when the
// range is the last. `result` gives a row's scaled sums.
template <class F>
static inline void join_rows(const ByteProduct& p, int range, int pair, int slot, int row_tile, int at, int half, int row,
                             int end, const F& result) {
  const int column = pair * PAIR_OUTPUTS + half * LANES;
  const int width = smaller(LANES, p.outputs - column);
  const int levels = __builtin_ctz(~static_cast<unsigned>(range));  // trailing one bits
  const bool last = range + 1 == p.ranges;
  for (; row < end; row++) {
    Lanes sum = result(row);
    for (int level = 0; level < levels; level++) {
      sum = add(load(waiting_of[level][slot][at].sums[half][row]), sum);
    }
    if (!last) {
      store(waiting_of[levels][slot][at].sums[half][row], sum);
      continue;
    }
    if (p.bias != nullptr) {
      sum = add(sum, load(p.bias + column, width));
    }
    store(p.out + (static_cast<int64_t>(row_tile) * ROWS + row) * p.out_stride + column, sum, width);
  }
}

// Complete sums of a range, of one or two row tiles of a pair, still to be scaled and joined.
struct PendingBytes {
  int range = 0;
  int pair = 0;
  int slot = 0;
  int row_tile = 0;
  int at = 0;
  int piece = 0;
  int pieces = 0;  // a piece is half of the rows of one weight tile of one row tile
};

static inline void join_piece(const ByteProduct& p, PendingBytes& d) {
  const int block = d.piece / 4;
  const int half = d.piece / 2 % 2;
  const int row = d.piece % 2 * 8;
  d.piece++;
  const int row_tile = d.row_tile + block;
  const int end = smaller(row + 8, p.rows - row_tile * ROWS);
  const int column = d.pair * PAIR_OUTPUTS + half * LANES;
  if (column >= p.outputs || row >= end) {
    return;
  }
  const Lanes scales = load(p.scales + column);
  const int64_t unit = p.x.at(row_tile * ROWS, d.range);
  const IntBlock& own = sums_of[d.slot][d.at + block];
  join_rows(p, d.range, d.pair, d.slot, row_tile, d.at + block, half, row, end, [&](int r) {
    const Sums exact = add(load(own.sums[half][r]), all_sums(-128 * p.x.sums[unit + r]));
    return mul(to_float(exact), mul(all(p.x.scales[unit + r]), scales));
  });
}

static inline void join_rest(const ByteProduct& p, PendingBytes& d) {
  while (d.piece < d.pieces) {
    join_piece(p, d);
  }
}

// Adds `tiles` tiles of depth to the sums of N row tiles; `fresh`: to zero. FAR: the weight comes from memory.
template <int N, bool FAR>
static inline void multiply(const ByteProduct& p, const int8_t* x, int64_t x_stride, int64_t row_tile_stride,
                            const uint8_t* weight, int tiles, bool fresh, IntBlock* to, PendingBytes& pending) {
  if (fresh) {
    _tile_zero(0);
    _tile_zero(1);
    if (N == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, to[0].sums[0], 64);
    _tile_loadd(1, to[0].sums[1], 64);
    if (N == 2) {
      _tile_loadd(2, to[1].sums[0], 64);
      _tile_loadd(3, to[1].sums[1], 64);
    }
  }
  for (int t = 0; t < tiles; t++) {
    if (FAR) {
#pragma GCC unroll 32
      for (int line = 0; line < PAIR_BYTES_8; line += 64) {
        _mm_prefetch(weight + AHEAD + line, _MM_HINT_T0);
      }
    }
    _tile_loadd(4, weight, 64);
    _tile_loadd(6, x, 64);
    _tile_loadd(5, weight + TILE_BYTES, 64);
    _tile_dpbsud(0, 6, 4);
    if (N == 2) {
      _tile_loadd(7, x + row_tile_stride, 64);
    }
    _tile_dpbsud(1, 6, 5);
    if (N == 2) {
      _tile_dpbsud(2, 7, 4);
      _tile_dpbsud(3, 7, 5);
    }
    if (pending.piece < pending.pieces) {
      join_piece(p, pending);
    }
    weight += PAIR_BYTES_8;
    x += x_stride;
  }
  join_rest(p, pending);  // before its places are taken
  _tile_stored(0, to[0].sums[0], 64);
  _tile_stored(1, to[0].sums[1], 64);
  if (N == 2) {
    _tile_stored(2, to[1].sums[0], 64);
    _tile_stored(3, to[1].sums[1], 64);
  }
}

// Row tiles [row_tile, row_end) by pairs [pair, pair_end), at most ROW_TILES by PAIRS.
template <bool FAR>
static void block_8(const ByteProduct& p, int row_tile, int row_end, int pair, int pair_end) {
  const int64_t x_stride = static_cast<int64_t>(p.x.stride) * TILE_INPUTS;
  const int64_t row_tile_stride = x_stride * p.x.tiles;
  const int64_t weight_stride = p.x.tiles * PAIR_BYTES_8;
  PendingBytes pending;
  int64_t first = 0;
  for (int range = 0; range < p.ranges; range++) {
    const int tiles = byte_tiles(p.borders[range + 1] - p.borders[range]);
    for (int step = 0; step == 0 || step < tiles; step += STEP) {
      const int n = smaller(STEP, tiles - step);
      for (int j = pair; j < pair_end; j++) {
        const uint8_t* weight = p.weight + j * weight_stride + (first + step) * PAIR_BYTES_8;
        for (int i = row_tile; i < row_end; i += 2) {
          const int8_t* x = p.x.tile(i * ROWS, first + step);
          IntBlock* to = &sums_of[j - pair][i - row_tile];
          const bool two = i + 1 < row_end;
          if (two) {
            multiply<2, FAR>(p, x, x_stride, row_tile_stride, weight, n, step == 0, to, pending);
          } else {
            multiply<1, FAR>(p, x, x_stride, row_tile_stride, weight, n, step == 0, to, pending);
          }
          if (step + STEP >= tiles) {
            pending = {range, j, j - pair, i, i - row_tile, 0, two ? 8 : 4};
          }
        }
      }
    }
    first += tiles;
  }
  join_rest(p, pending);
}

void linear_int8(Share share, float* out, int64_t out_stride, const uint8_t* staged, int32_t rows, const uint8_t* weight,
                 const float* scales, const int32_t* borders, int32_t ranges, int32_t outputs, const float* bias) noexcept {
  if (rows < LEAST_ROWS_8) {
    avx512::linear_int8(share, out, out_stride, staged, rows, weight, scales, borders, ranges, outputs, bias);
    return;
  }
  const ByteProduct p = {out,     out_stride, Staged(staged, rows, borders, ranges, false), rows, weight, scales, borders,
                         ranges, outputs,    bias};
  const int row_tiles = (rows + ROWS - 1) / ROWS;
  const int pairs = (outputs + PAIR_OUTPUTS - 1) / PAIR_OUTPUTS;
  const ByteConfig config(p.x.stride);
  _tile_loadconfig(&config);
  if (row_tiles <= FEW_ROW_TILES) {
    // Pair by pair: the weight is read straight through.
    for (int pair = first_of(share, pairs); pair < end_of(share, pairs); pair++) {
      block_8<true>(p, 0, row_tiles, pair, pair + 1);
    }
  } else {
    const int units = (pairs + PAIRS - 1) / PAIRS;
    for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
      for (int i = 0; i < row_tiles; i += ROW_TILES) {
        block_8<false>(p, i, smaller(row_tiles, i + ROW_TILES), unit * PAIRS, smaller(pairs, (unit + 1) * PAIRS));
      }
    }
  }
  _tile_release();
}

// Four bits: the signed weights of some tiles of depth, the sums of one row tile with them, the results of all row tiles.
struct Widened {
  uint8_t bytes[STEP_4][2][TILE_BYTES];
};
static thread_local Widened widened;
static thread_local IntBlock depth_sums[2][STEP_4];
static thread_local FloatBlock results_of[ROW_TILES];

static inline void widen_pair(const uint8_t* weight, uint8_t (*to)[TILE_BYTES]) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i eight = _mm512_set1_epi8(8);
  for (int half = 0; half < 2; half++) {
    for (int quad = 0; quad < 8; quad++) {
      const __m512i line = _mm512_loadu_si512(weight + half * 512 + quad * 64);
      const __m512i low = _mm512_sub_epi8(_mm512_and_si512(line, nibble), eight);
      const __m512i high = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(line, 4), nibble), eight);
      _mm512_storeu_si512(to[half] + quad * 64, low);
      _mm512_storeu_si512(to[half] + quad * 64 + 512, high);
    }
  }
}

// Sums of some tiles of depth that are complete, still to be scaled and added to the results of their row tile.
struct PendingDepth {
  const uint8_t* weight = nullptr;  // of the first tile of depth
  int64_t unit = 0;                 // of the first row in it
  int tiles = 0;
  bool fresh = false;
  const IntBlock* sums = nullptr;
  FloatBlock* results = nullptr;
  int piece = 4;  // of 4: half of the rows of one weight tile
};

static inline void scale_piece(const ByteProduct& p, PendingDepth& d) {
  const int half = d.piece / 2;
  const int row = d.piece % 2 * 8;
  d.piece++;
  if (row >= p.x.stride) {
    return;
  }
  float(&to)[ROWS][LANES] = d.results->sums[half];
  Lanes results[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++) {
    results[r] = d.fresh ? zero() : load(to[row + r]);
  }
  int64_t unit = d.unit + row;
  const uint8_t* weight = d.weight + PAIR_BYTES_4 - 64 + half * 32;
  const float* input_scales = p.x.scales;
  for (int t = 0; t < d.tiles; t++, unit += p.x.stride, weight += PAIR_BYTES_4) {
    const Lanes scales = load(reinterpret_cast<const uint16_t*>(weight));
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
      const Lanes scale = mul(all(input_scales[unit + r]), scales);
      results[r] = fma(to_float(load(d.sums[t].sums[half][row + r])), scale, results[r]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < 8; r++) {
    store(to[row + r], results[r]);
  }
}

static inline void scale_rest(const ByteProduct& p, PendingDepth& d) {
  while (d.piece < 4) {
    scale_piece(p, d);
  }
}

// Row tiles [row_tile, row_end), at most ROW_TILES, by one pair.
static void block_4(const ByteProduct& p, int row_tile, int row_end, int pair) {
  const int64_t x_stride = static_cast<int64_t>(p.x.stride) * TILE_INPUTS;
  const uint8_t* weight = p.weight + pair * p.x.tiles * PAIR_BYTES_4;
  int64_t first = 0;
  int turn = 0;
  for (int range = 0; range < p.ranges; range++) {
    const int tiles = byte_tiles(p.borders[range + 1] - p.borders[range]);
    PendingDepth pending;
    for (int step = 0; step < tiles; step += STEP_4) {
      const int n = smaller(STEP_4, tiles - step);
      for (int t = 0; t < n; t++) {
        const uint8_t* from = weight + t * PAIR_BYTES_4;
        for (int line = 0; line < PAIR_BYTES_4; line += 64) {
          _mm_prefetch(from + AHEAD + line, _MM_HINT_T0);
        }
        widen_pair(from, widened.bytes[t]);
      }
      for (int i = row_tile; i < row_end; i++) {
        IntBlock* sums = depth_sums[turn];
        const int8_t* x = p.x.tile(i * ROWS, first + step);
        for (int t = 0; t < n; t++, x += x_stride) {
          _tile_loadd(6, x, 64);
          _tile_loadd(4, widened.bytes[t][0], 64);
          _tile_loadd(5, widened.bytes[t][1], 64);
          _tile_zero(0);
          _tile_zero(1);
          _tile_dpbssd(0, 6, 4);
          _tile_dpbssd(1, 6, 5);
          if (t % 2 == 1 && pending.piece < 4) {
            scale_piece(p, pending);
          }
          _tile_stored(0, sums[t].sums[0], 64);
          _tile_stored(1, sums[t].sums[1], 64);
        }
        scale_rest(p, pending);
        pending = {weight, p.x.at(i * ROWS, first + step), n, step == 0, sums, &results_of[i - row_tile], 0};
        turn ^= 1;
      }
      weight += static_cast<int64_t>(n) * PAIR_BYTES_4;
    }
    scale_rest(p, pending);
    first += tiles;
    for (int i = row_tile; i < row_end; i++) {
      const int rows = smaller(ROWS, p.rows - i * ROWS);
      for (int half = 0; half < 2 && pair * PAIR_OUTPUTS + half * LANES < p.outputs; half++) {
        join_rows(p, range, pair, 0, i, i - row_tile, half, 0, rows, [&](int r) {
          return tiles == 0 ? zero() : load(results_of[i - row_tile].sums[half][r]);
        });
      }
    }
  }
}

void linear_int4(Share share, float* out, int64_t out_stride, const uint8_t* staged, int32_t rows, const uint8_t* weight,
                 const int32_t* borders, int32_t ranges, int32_t outputs, const float* bias) noexcept {
  if (rows < LEAST_ROWS_4) {
    avx512::linear_int4(share, out, out_stride, staged, rows, weight, borders, ranges, outputs, bias);
    return;
  }
  const ByteProduct p = {out,     out_stride, Staged(staged, rows, borders, ranges, true), rows, weight, nullptr, borders,
                         ranges, outputs,    bias};
  const int row_tiles = (rows + ROWS - 1) / ROWS;
  const int pairs = (outputs + PAIR_OUTPUTS - 1) / PAIR_OUTPUTS;
  const ByteConfig config(p.x.stride);
  _tile_loadconfig(&config);
  for (int pair = first_of(share, pairs); pair < end_of(share, pairs); pair++) {
    for (int i = 0; i < row_tiles; i += ROW_TILES) {
      block_4(p, i, smaller(row_tiles, i + ROW_TILES), pair);
    }
  }
  _tile_release();
}

}  // namespace amx
}  // namespace baton

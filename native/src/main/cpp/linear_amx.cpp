// The tier of the matrix units: bfloat16 products by tdpbf16ps; everything else is the AVX-512 tier's.
//
// out[rows, outputs] = x[rows, inputs] * weight^T (+ bias), where x is what stage_inputs has made of it, tiles of 16 rows
// by 32 inputs in bfloat16, and the weight what pack_tiles has made, tiles of 32 inputs by 16 outputs, two side by side
// (see tiles.cpp). Each canonical range is filled up with zeros to whole tiles.
//
// One tdpbf16ps adds 32 products to each of 16 x 16 sums: the even and the odd inputs are summed alone, by fma in order
// from 0, then added to each other, then to the sum; denormals count as 0. Sums begin with 0 in every canonical range, take its tiles in order, and
// the ranges' sums are added as a binary tree. A row's sums do not depend on the other rows of its tile, so one row costs
// as much as sixteen and has the same bits in any company.
//
// Blocks: up to ROW_TILES * 16 rows by up to PAIRS * 32 outputs go through a range together, STEP tiles of depth at a
// time, so that the weight's part (STEP * 2 KiB) stays in the nearest cache while the rows go by, the rows' part (4 * STEP
// * ROW_TILES KiB at most) and the sums in the next one. Two row tiles by two weight tiles share each loaded tile twice.
//
// Bytes: the weight once per 256 rows, a row tile once per 128 outputs. Operations: 2 * rows * outputs * inputs, rows
// rounded up to 16. One to about 16 rows are bound by memory bandwidth, hundreds by the matrix unit (16 cycles a
// tdpbf16ps).
#include <immintrin.h>

#include "lanes.h"

namespace baton {
namespace amx {

using namespace avx512;

static constexpr int TILE_BYTES = 1024;
static constexpr int PAIR_BYTES = 2 * TILE_BYTES;
static constexpr int DEPTH = 32;
static constexpr int ROWS = 16;
static constexpr int PAIR = 32;  // outputs

static constexpr int LEVELS = 3;
static constexpr int ROW_TILES = 16;
static constexpr int PAIRS = 4;
static constexpr int STEP = 8;
static constexpr int FEW_ROW_TILES = 2;

// How far ahead of its use a weight that comes from memory is asked for.
static constexpr int AHEAD = 8 * 1024;

struct Config {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// The sums of one row tile and one pair of weight tiles.
struct Block {
  float sums[2][ROWS][LANES];
};

struct Product {
  float* out;
  int64_t out_stride;
  const uint8_t* x;
  const uint8_t* weight;
  const int32_t* borders;
  int32_t ranges;
  int32_t depth;  // tiles of all ranges
  int32_t rows;
  int32_t outputs;
  const float* bias;
};

// Too large for a stack. Sums of ranges that wait for their neighbours, by level, and at last those under way.
static thread_local Block waiting[LEVELS + 1][PAIRS][ROW_TILES];

static inline int tiles_of(int inputs) { return (inputs + DEPTH - 1) / DEPTH; }

// Sums of a range that are complete, of up to two row tiles of one pair, still to be joined with those that wait for
// them. It is done in pieces between the tiles of the next product, which keeps the matrix unit busy meanwhile.
struct Pending {
  int range = 0;
  int pair = 0;
  int slot = 0;
  int row_tile = 0;
  int at = 0;
  int piece = 0;
  int pieces = 0;  // a piece is half of the rows of one weight tile of one row tile
};

static constexpr int PIECE = ROWS / 2;

template <int LEVELS_TO_ADD>
static inline void join_rows(const Product& p, const Pending& d, int at, int row_tile, int half, int row, int end) {
  const bool last = d.range + 1 == p.ranges;
  const int column = d.pair * PAIR + half * LANES;
  const int width = smaller(LANES, p.outputs - column);
  const Block& own = waiting[LEVELS_TO_ADD == 0 ? 0 : LEVELS][d.slot][at];
  for (; row < end; row++) {
    Lanes sum = load(own.sums[half][row]);
#pragma GCC unroll 3
    for (int level = 0; level < LEVELS_TO_ADD; level++) {
      sum = add(load(waiting[level][d.slot][at].sums[half][row]), sum);
    }
    if (!last) {
      store(waiting[LEVELS_TO_ADD][d.slot][at].sums[half][row], sum);
      continue;
    }
    if (p.bias != nullptr) {
      sum = add(sum, load(p.bias + column, width));
    }
    store(p.out + (static_cast<int64_t>(row_tile) * ROWS + row) * p.out_stride + column, sum, width);
  }
}

static inline void join_piece(const Product& p, Pending& d) {
  const int block = d.piece / 4;
  const int half = d.piece / 2 % 2;
  const int row = d.piece % 2 * PIECE;
  d.piece++;
  const int row_tile = d.row_tile + block;
  const int end = smaller(row + PIECE, p.rows - row_tile * ROWS);
  if (d.pair * PAIR + half * LANES >= p.outputs) {
    return;
  }
  switch (__builtin_ctz(~static_cast<unsigned>(d.range))) {  // trailing one bits
    case 0:
      return join_rows<0>(p, d, d.at + block, row_tile, half, row, end);
    case 1:
      return join_rows<1>(p, d, d.at + block, row_tile, half, row, end);
    case 2:
      return join_rows<2>(p, d, d.at + block, row_tile, half, row, end);
    case 3:
      return join_rows<3>(p, d, d.at + block, row_tile, half, row, end);
  }
}

static inline void join_rest(const Product& p, Pending& d) {
  while (d.piece < d.pieces) {
    join_piece(p, d);
  }
}

// Adds `tiles` tiles of depth to the sums of N row tiles; `fresh`: to zero. FAR: the weight comes from memory.
template <int N, bool FAR>
static inline void multiply(const Product& p, const uint8_t* x, int64_t x_stride, const uint8_t* weight, int tiles,
                            bool fresh, Block* to, Pending& pending) {
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
      for (int line = 0; line < PAIR_BYTES; line += 64) {
        _mm_prefetch(weight + AHEAD + line, _MM_HINT_T0);
      }
    }
    _tile_loadd(4, weight, 64);
    _tile_loadd(6, x, 64);
    _tile_loadd(5, weight + TILE_BYTES, 64);
    _tile_dpbf16ps(0, 6, 4);
    if (N == 2) {
      _tile_loadd(7, x + x_stride, 64);
    }
    _tile_dpbf16ps(1, 6, 5);
    if (N == 2) {
      _tile_dpbf16ps(2, 7, 4);
      _tile_dpbf16ps(3, 7, 5);
    }
    if (pending.piece < pending.pieces) {
      join_piece(p, pending);
    }
    weight += PAIR_BYTES;
    x += TILE_BYTES;
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
static void block(const Product& p, int row_tile, int row_end, int pair, int pair_end) {
  const int64_t x_stride = static_cast<int64_t>(p.depth) * TILE_BYTES;
  const int64_t weight_stride = static_cast<int64_t>(p.depth) * PAIR_BYTES;
  Pending pending;
  int first = 0;
  for (int range = 0; range < p.ranges; range++) {
    const int tiles = tiles_of(p.borders[range + 1] - p.borders[range]);
    const int level = range & 1 ? LEVELS : 0;
    for (int step = 0; step == 0 || step < tiles; step += STEP) {
      const int n = smaller(STEP, tiles - step);
      for (int j = pair; j < pair_end; j++) {
        const uint8_t* weight = p.weight + j * weight_stride + static_cast<int64_t>(first + step) * PAIR_BYTES;
        for (int i = row_tile; i < row_end; i += 2) {
          const uint8_t* x = p.x + i * x_stride + static_cast<int64_t>(first + step) * TILE_BYTES;
          Block* to = &waiting[level][j - pair][i - row_tile];
          if (i + 1 < row_end) {
            multiply<2, FAR>(p, x, x_stride, weight, n, step == 0, to, pending);
          } else {
            multiply<1, FAR>(p, x, x_stride, weight, n, step == 0, to, pending);
          }
          const bool waits = level == 0 && range + 1 < p.ranges;  // then they are already where they wait
          if (step + STEP >= tiles && !waits) {
            pending = {range, j, j - pair, i, i - row_tile, 0, i + 1 < row_end ? 8 : 4};
          }
        }
      }
    }
    first += tiles;
  }
  join_rest(p, pending);
}

void linear(Share share, float* out, int64_t out_stride, const float* x, int64_t x_stride, int32_t rows,
            const uint8_t* weight, int32_t dtype, const int32_t* borders, int32_t ranges, int32_t outputs,
            int32_t inputs, const float* bias) noexcept {
  if (dtype != BFLOAT16) {
    avx512::linear(share, out, out_stride, x, x_stride, rows, weight, dtype, borders, ranges, outputs, inputs, bias);
    return;
  }
  int depth = 0;
  for (int range = 0; range < ranges; range++) {
    depth += tiles_of(borders[range + 1] - borders[range]);
  }
  const Product p = {out,    out_stride, reinterpret_cast<const uint8_t*>(x), weight, borders, ranges, depth, rows,
                     outputs, bias};
  const int row_tiles = (rows + ROWS - 1) / ROWS;
  const int pairs = (outputs + PAIR - 1) / PAIR;
  const Config config;
  _tile_loadconfig(&config);
  if (row_tiles <= FEW_ROW_TILES) {
    // Pair by pair: the weight is read straight through.
    for (int pair = first_of(share, pairs); pair < end_of(share, pairs); pair++) {
      block<true>(p, 0, row_tiles, pair, pair + 1);
    }
  } else {
    const int units = (pairs + PAIRS - 1) / PAIRS;
    for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
      for (int i = 0; i < row_tiles; i += ROW_TILES) {
        block<false>(p, i, smaller(row_tiles, i + ROW_TILES), unit * PAIRS, smaller(pairs, (unit + 1) * PAIRS));
      }
    }
  }
  _tile_release();
}

}  // namespace amx
}  // namespace baton

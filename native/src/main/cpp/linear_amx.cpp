// The tier of the matrix units: products with bfloat16 weights by tdpbf16ps; everything else is the AVX-512 tier's.
//
// out[rows, outputs] = x[rows, inputs] * weight^T, for several weights at once; see products.h for what becomes of the
// sums. For one row it is the AVX-512 tier's kernel, which reads memory as fast. For more, x is staged as tiles of 16
// rows by 32 inputs in bfloat16; the weight is in tiles of 32 inputs by 16 outputs, two side by side (see tiles.cpp).
// Each canonical range is filled up with zeros to whole tiles.
//
// One tdpbf16ps adds 32 products to each of 16 x 16 sums, in the order that linear_tiles.cpp describes. Sums begin with 0
// in every canonical range, take its tiles in order, and the ranges' sums are added as a binary tree. A row's sums do not
// depend on the other rows of its tile, so they have the same bits in any company.
//
// Blocks: up to ROW_TILES * 16 rows by up to PAIRS * 32 outputs. SPAN tiles of depth of the rows (SPAN * ROW_TILES KiB) stay
// in the second-level cache while all pairs of outputs go by; STEP tiles of a pair (STEP * 2 KiB) stay in the first while
// all rows go by, which are loaded past it (tileloaddt1). Two row tiles by two weight tiles share each loaded tile
// twice. After STEP tiles of depth the sums are put away, and those of the next row tiles have been asked for. Complete sums
// are added to those of other ranges, let through gates and written while the next ones are multiplied (Aside).
//
// Bytes: the weight once per ROW_TILES * 16 rows; a row tile from the second-level cache once for every pair. Operations:
// 2 * rows * outputs * inputs, rows rounded up to 16. Two to about 32 rows are bound by memory, hundreds by the matrix unit
// (16 cycles a tdpbf16ps) and by what reaches it: a loop of four products takes 64 cycles with operands in registers,
// about 75 with both sides in the first-level cache, 90 as it is here, 130 with both in the second.

#include "matrix_unit.h"
#include "norm.h"
#include "products.h"
#include "tiles.h"

namespace baton {
namespace BATON_MATRIX_TIER {

using namespace avx512;

static constexpr int TILE_BYTES = 1024;
static constexpr int PAIR_BYTES = 2 * TILE_BYTES;
static constexpr int ROWS = 16;

static constexpr int LEVELS = 3;
static constexpr int ROW_TILES = 16;
static constexpr int PAIRS = 8;
static constexpr int SPAN = 64;
static constexpr int STEP = 16;
static constexpr int FEW_ROW_TILES = 2;

// Groups that blocks at different threads go through in different order.
static constexpr int ROUND = 4;

// Units that are enough for all threads to be busy to the end.
static constexpr int MANY_UNITS = 16;

// How many rows before its turn a row of results is asked for.
static constexpr int ROWS_AHEAD = 4;

// Bytes that a weight which comes from memory is asked for before its use, where few rows use it: in the second-level
// cache, which can wait for more lines at once than the first, and then in the first.
static constexpr int FAR_AHEAD = 16 * 1024;
static constexpr int NEAR_AHEAD = 2 * 1024;

static constexpr unsigned ROW_OPERANDS = 0xcf;  // tiles of inputs and of sums; 4 and 5 are the weight's

// The sums of one row tile and one pair of weight tiles.
struct Block {
  float sums[2][ROWS][LANES];
};

struct Staged {
  const uint8_t* x;
  const int32_t* borders;
  int32_t ranges;
  int32_t depth;  // tiles of all ranges
  int32_t rows;
  int32_t row_tiles;
};

// Too large for a stack. Sums of ranges that wait for their neighbours, by level, and at last those under way.
static thread_local Block waiting[LEVELS + 1][PAIRS][ROW_TILES];

// Lines of two row tiles' sums that are asked for at each tile of depth.
static constexpr int NEXT_LINES = 2 * sizeof(Block) / 64 / STEP;

// The next STEP of the weight, asked for from memory piece by piece while the one before is in use: some lines after each
// product, as requests that come together keep the rows waiting.
struct Ahead {
  const uint8_t* at;
  int lines;  // at once

  void ask() {
    for (int line = 0; line < lines; line++, at += 64) {
      _mm_prefetch(at, _MM_HINT_T1);
    }
  }
};

// Sixteen floats rounded to bfloat16.
static inline __m256i narrow(Lanes v) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(rounded(v).v), 16));
}

// Where tile `t` of a range of `tiles`, which begins at tile `first`, is staged for a row tile; in tiles.
static inline int64_t place_of(int first, int tiles, int t, int row_tile, int row_tiles) {
  const int part = t / STEP * STEP;
  const int n = smaller(STEP, tiles - part);
  const int two = (row_tile | 1) < row_tiles ? 2 : 1;  // row tiles side by side
  return static_cast<int64_t>(first + part) * row_tiles + row_tile / two * two * n + (t - part) * two + row_tile % two;
}

// How many sums of earlier ranges a range's sums are added to at once.
static inline int levels_of(int range) { return __builtin_ctz(~static_cast<unsigned>(range)); }

// What becomes of the sums of one or two row tiles that are complete, done row by row while the matrix unit is busy with the
// next ones, as vectors have nothing else to do then.
class Aside {
 public:
  enum Kind { NOTHING, JOIN, STAGE, FINISH };

  // A range's sums, in row tile `at` of `slot`: those of every second range wait where they are, others join the ones that
  // wait for them, and after the last range all are finished. `pair` and `row_tile` say whose they are.
  void begin(const Product& p, const Staged& in, int range, int slot, int at, int pair, int row_tile, int tiles) {
    const bool last = range + 1 == in.ranges;
    levels_ = levels_of(range);
    kind_ = last ? p.kind == STAGED ? STAGE : FINISH : levels_ > 0 ? JOIN : NOTHING;
    row_ = 0;
    rows_ = smaller(tiles * ROWS, in.rows - row_tile * ROWS);
    from_ = &waiting[range % 2 == 0 ? 0 : LEVELS][slot][at];
    to_ = last ? nullptr : &waiting[levels_][slot][at];
    for (int level = 0; level < levels_; level++) {
      earlier_[level] = &waiting[level][slot][at];
    }
    product_ = &p;
    pair_ = pair;
    if (kind_ == STAGE) {
      // Missing rows keep what was there, which nobody reads.
      const int length = static_cast<int>(p.out_stride);
      const int t = pair / 2;
      const int64_t place = place_of(t / length * length, length, t % length, row_tile, in.row_tiles);
      staged_ = reinterpret_cast<uint8_t*>(p.out) + place * TILE_BYTES + pair % 2 * 32;
    } else if (kind_ == FINISH) {
      first_row_ = row_tile * ROWS;
      if (p.kind == ADDED) {
        for (int row = 0; row < ROWS_AHEAD; row++) {
          ask(row);
        }
      }
    }
  }

  Kind kind() const { return kind_; }

  // Some rows more.
  template <Kind KIND, bool FAR>
  void go_on(int rows) {
    const int end = smaller(rows_, row_ + rows);
    for (; row_ < end; row_++) {
      const int tile = row_ / ROWS;
      const int row = row_ % ROWS;
      Lanes sums[2];
      for (int half = 0; half < 2; half++) {
        sums[half] = load(from_[tile].sums[half][row]);
        for (int level = 0; level < levels_; level++) {
          sums[half] = add(load(earlier_[level][tile].sums[half][row]), sums[half]);
        }
      }
      if (KIND == JOIN) {
        store(to_[tile].sums[0][row], sums[0]);
        store(to_[tile].sums[1][row], sums[1]);
      } else if (KIND == STAGE) {
        const Lanes v = let_through(*product_, pair_ * LANES, LANES, sums[0], sums[1]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(staged_ + tile * TILE_BYTES + row * 64), narrow(v));
      } else {
        if (product_->kind == ADDED) {
          ask(row_ + ROWS_AHEAD);
        }
        finish<!FAR>(*product_, pair_, first_row_ + row_, sums[0], sums[1]);
      }
    }
  }

  // What is left of it.
  template <bool FAR>
  void end() {
    switch (kind_) {
      case JOIN:
        go_on<JOIN, FAR>(rows_);
        break;
      case STAGE:
        go_on<STAGE, FAR>(rows_);
        break;
      case FINISH:
        go_on<FINISH, FAR>(rows_);
        break;
      case NOTHING:
        break;
    }
    kind_ = NOTHING;
  }

 private:
  void ask(int row) const {
    const float* soon = product_->out + (first_row_ + row) * product_->out_stride + pair_ * PAIR;
    __builtin_prefetch(soon, 1);
    __builtin_prefetch(soon + LANES, 1);
  }

  Kind kind_ = NOTHING;
  int row_ = 0;
  int rows_ = 0;
  const Block* from_ = nullptr;
  Block* to_ = nullptr;
  const Block* earlier_[LEVELS] = {};
  int levels_ = 0;
  const Product* product_ = nullptr;
  int pair_ = 0;
  int first_row_ = 0;
  uint8_t* staged_ = nullptr;
};

// Adds `tiles` tiles of depth to the sums of N row tiles; `fresh`: to zero. FAR: the weight comes from memory. Rows pass by
// the first-level cache, which the weight is to stay in; `next` are the sums that come after these, `aside` what
// is still to be done with those before.
template <int N, bool FAR, Aside::Kind KIND>
static inline void multiply(const uint8_t* x, const uint8_t* weight, int tiles, bool fresh, Block* to, const Block* next,
                            Ahead& ahead, Aside& aside) {
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
  const int aside_rows = (2 * ROWS + tiles - 1) / larger(1, tiles);  // so that all are done before sums are put away
  const uint8_t* wanted = reinterpret_cast<const uint8_t*>(next);
  for (int t = 0; t < tiles; t++) {
    if (FAR) {
#pragma GCC unroll 32
      for (int line = 0; line < PAIR_BYTES; line += 64) {
        _mm_prefetch(weight + FAR_AHEAD + line, _MM_HINT_T1);
        _mm_prefetch(weight + NEAR_AHEAD + line, _MM_HINT_T0);
      }
    }
    _tile_loadd(4, weight, 64);
    _tile_stream_loadd(6, x, 64);
    _tile_loadd(5, weight + TILE_BYTES, 64);
    _tile_dpbf16ps(0, 6, 4);
    if (N == 2) {
      _tile_stream_loadd(7, x + TILE_BYTES, 64);
    }
    if (!FAR) {
      ahead.ask();
    }
    _tile_dpbf16ps(1, 6, 5);
    if (!FAR) {
      ahead.ask();
    }
    if (KIND != Aside::NOTHING) {
      aside.go_on<KIND, FAR>(aside_rows);
    }
    if (N == 2) {
      if (!FAR) {
#pragma GCC unroll 4
        for (int line = 0; line < NEXT_LINES; line++) {
          __builtin_prefetch(wanted + line * 64, 1);
        }
        wanted += NEXT_LINES * 64;
      }
      _tile_dpbf16ps(2, 7, 4);
      if (!FAR) {
        ahead.ask();
      }
      _tile_dpbf16ps(3, 7, 5);
      if (!FAR) {
        ahead.ask();
      }
    }
    weight += PAIR_BYTES;
    x += N * TILE_BYTES;
  }
  _tile_stored(0, to[0].sums[0], 64);
  _tile_stored(1, to[0].sums[1], 64);
  if (N == 2) {
    _tile_stored(2, to[1].sums[0], 64);
    _tile_stored(3, to[1].sums[1], 64);
  }
}

// Row tiles [row_tile, row_end) by pairs [pair, pair_end), at most ROW_TILES by PAIRS.
template <bool FAR>
static void block(const Product& p, const Staged& in, int row_tile, int row_end, int pair, int pair_end) {
  const int64_t weight_stride = static_cast<int64_t>(in.depth) * PAIR_BYTES;
  const int turns = (row_end - row_tile + 1) / 2;
  const int deep = FAR ? SPAN : STEP;
  // Where a pair goes through all of its depth at once, its sums may lie where those of the pair before lay, which leaves
  // the caches more room: those are finished row by row, ahead of the new ones.
  const bool at_once = in.ranges == 1 && in.depth <= SPAN;
  Aside aside;
  int first = 0;
  for (int range = 0; range < in.ranges; range++) {
    const int tiles = tiles_of(in.borders[range + 1] - in.borders[range]);
    const int level = range & 1 ? LEVELS : 0;
    for (int span = 0; span == 0 || span < tiles; span += SPAN) {
      const int span_end = smaller(tiles, span + SPAN);
      for (int j = pair; j < pair_end; j++) {
        const int slot = at_once ? 0 : j - pair;
        for (int step = span; step == span || step < span_end; step += deep) {
          const int n = smaller(deep, span_end - step);
          const uint8_t* weight = p.weight + j * weight_stride + static_cast<int64_t>(first + step) * PAIR_BYTES;
          // What comes next: deeper in this pair; the same depth of the next; deeper in the first; the next pair of all.
          const int after = step + n < span_end ? step + n : j + 1 < pair_end ? span : span_end;
          const int column = step + n < span_end ? j : j + 1 < pair_end || first + after == in.depth ? j + 1 : pair;
          Ahead ahead = {p.weight + column * weight_stride + static_cast<int64_t>(first + after) % in.depth * PAIR_BYTES,
                         (PAIR_BYTES / 64 / 4 + turns - 1) / turns};
          const bool complete = step + n >= tiles;
          for (int i = row_tile; i < row_end; i += 2) {
            const uint8_t* x = in.x + (static_cast<int64_t>(first + step) * in.row_tiles + i * n) * TILE_BYTES;
            Block* to = &waiting[level][slot][i - row_tile];
            const bool two = i + 1 < row_end;
            const Block* next = i + 2 < row_end ? to + 2 : &waiting[level][slot][0];
            if (!two || n == 0) {
              aside.end<FAR>();  // before its sums are overwritten
            }
            if (!two) {
              multiply<1, FAR, Aside::NOTHING>(x, weight, n, step == 0, to, next, ahead, aside);
            } else if (aside.kind() == Aside::JOIN) {
              multiply<2, FAR, Aside::JOIN>(x, weight, n, step == 0, to, next, ahead, aside);
            } else if (aside.kind() == Aside::STAGE) {
              multiply<2, FAR, Aside::STAGE>(x, weight, n, step == 0, to, next, ahead, aside);
            } else if (aside.kind() == Aside::FINISH) {
              multiply<2, FAR, Aside::FINISH>(x, weight, n, step == 0, to, next, ahead, aside);
            } else {
              multiply<2, FAR, Aside::NOTHING>(x, weight, n, step == 0, to, next, ahead, aside);
            }
            aside.end<FAR>();
            if (complete) {
              aside.begin(p, in, range, slot, i - row_tile, j, i, two ? 2 : 1);
            }
          }
        }
      }
    }
    first += tiles;
  }
  aside.end<FAR>();
}

struct Unit {
  int block;
  int group;
};

// In which order blocks of rows and groups of pairs are gone through. A thread takes units in a row, so that it stays with a
// block, whose staged inputs stay in its cache, through all groups. Other threads have other blocks, each some groups of a
// round ahead of the one before, so that of two blocks each finds half of the weight in the last-level cache.
struct Order {
  int blocks;
  int groups;

  Unit unit(int unit) const {
    const int block = unit / groups;
    const int at = unit % groups;
    const int start = at / ROUND * ROUND;
    const int length = smaller(ROUND, groups - start);
    return {block, start + (at - start + block * length / blocks) % length};
  }
};

void linear_tiles(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                  const int32_t* borders, int32_t ranges) noexcept {
  if (rows <= 1) {
    avx512::linear_tiles(share, products, count, staged, rows, borders, ranges);
    return;
  }
  const int row_tiles = (rows + ROWS - 1) / ROWS;
  const Staged in = {staged, borders, ranges, tiles_of(borders, ranges), rows, row_tiles};
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  const TileConfig config = config_of(ROW_OPERANDS, smaller(ROWS, rows));
  _tile_loadconfig(&config);
  if (row_tiles <= FEW_ROW_TILES) {
    // Pair by pair: the weight is read straight through.
    each_product(list, count, first_of(share, pairs), end_of(share, pairs), [&](const Product& p, int pair, int end) {
      for (; pair < end; pair++) {
        block<true>(p, in, 0, row_tiles, pair, pair + 1);
      }
    });
  } else {
    // A unit is one block of rows by a group of several pairs: whoever takes it knows which part of the weight comes next.
    const int blocks = (row_tiles + ROW_TILES - 1) / ROW_TILES;
    const int tall = ((row_tiles + blocks - 1) / blocks + 1) / 2 * 2;
    int group = PAIRS;
    while (group > 1 && blocks * ((pairs + group - 1) / group) < MANY_UNITS) {
      group /= 2;
    }
    const Order order = {blocks, (pairs + group - 1) / group};
    const int units = blocks * order.groups;
    const int to = end_of(share, units);
    for (int unit = first_of(share, units); unit < to; unit++) {
      const Unit u = order.unit(unit);
      const int i = u.block * tall;
      each_product(list, count, u.group * group, smaller(pairs, (u.group + 1) * group),
                   [&](const Product& p, int pair, int end) {
                     block<false>(p, in, i, smaller(row_tiles, i + tall), pair, end);
                   });
    }
  }
  _mm_sfence();  // what has been written past the caches, before the team is told
  _tile_release();
}

// staged [part of the depth][rows / 32][tile][2][16 rows][32 inputs] in bfloat16 from x, normed if there is a norm; missing
// rows become zeros; an odd row tile lies alone. A part is STEP tiles of a range, or what is left of it: what goes through
// the matrix unit together lies together, or rows would meet in the same places of the caches. One row: as the AVX-512 tier. Bytes: x read once,
// twice with a norm, half as much written.
void stage_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,
                  const int32_t* borders, int32_t ranges, int32_t rows) noexcept {
  if (rows <= 1) {
    avx512::stage_inputs(share, staged, x, x_stride, norm, epsilon, borders, ranges, rows);
    return;
  }
  const int row_tiles = (rows + ROWS - 1) / ROWS;
  for (int row = first_of(share, row_tiles) * ROWS; row < end_of(share, row_tiles) * ROWS; row++) {
    const bool missing = row >= rows;
    const float* from = x + (missing ? 0 : row) * x_stride;
    const Lanes scale = norm == nullptr || missing ? zero() : norm_scale(from, borders[ranges], epsilon);
    int first = 0;
    for (int range = 0; range < ranges; range++) {
      const int end = borders[range + 1];
      const int tiles = tiles_of(end - borders[range]);
      for (int t = 0; t < tiles; t++) {
        uint8_t* to = staged + place_of(first, tiles, t, row / ROWS, row_tiles) * TILE_BYTES + row % ROWS * 64;
        if (missing) {
          _mm512_storeu_si512(to, _mm512_setzero_si512());
          continue;
        }
        for (int half = 0; half < TILE_DEPTH; half += LANES) {
          const int k = borders[range] + t * TILE_DEPTH + half;
          const int n = larger(0, smaller(LANES, end - k));
          Lanes v = load(from + k, n);
          if (norm != nullptr) {
            v = mul(mul(v, scale), load(norm + k, n));
          }
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + half * 2), narrow(v));
        }
      }
      first += tiles;
    }
  }
}

}  // namespace BATON_MATRIX_TIER
}  // namespace baton

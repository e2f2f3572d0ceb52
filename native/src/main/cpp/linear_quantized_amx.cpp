// Quantized products of many rows by the matrix units: the same exact sums as linear_quantized.cpp, by tdpbsud (signed
// inputs, unsigned weights). One instruction adds 64 products to each of 16 x 16 sums. A few rows go to the vector kernels:
// the memory is the limit there.
//
// Four bits become weights of eight on the way, times their group's factor: a pair of outputs at a time for all rows of a
// block, or, where few rows use them, a few tiles ahead of their use (Widened). That and the matrix unit's work overlap by a
// small part only (measured), so an instruction less in it shows.
//
// Many rows: ROW_TILES * 16 of them stay in the second-level cache (512 KiB of a part of the depth, see bytes.h) while all
// outputs go by, each pair's weights asked for while the one before is in use. Deeper inputs do not fit; PAIRS pairs then go
// through each part together. Two row tiles by two weight tiles share each loaded tile twice. Scaling and joining ranges is
// done in pieces between the tiles of the next product, which keeps the matrix unit busy meanwhile.
//
// Bytes: the weight once per 256 rows; a row tile once, or once per PAIRS * 32 outputs. Operations: 2 * rows * outputs *
// inputs; 16 cycles for 32,768.

#include "bytes.h"
#include "matrix_unit.h"
#include "products.h"

namespace baton {
namespace BATON_MATRIX_TIER {

using namespace avx512;

static constexpr int TILE_BYTES = 1024;
static constexpr int ROWS = 16;
static constexpr int LEVELS = 3;
static constexpr int ROW_TILES = 16;
static constexpr int PAIRS = 4;
static constexpr int FEW_ROW_TILES = 2;

// Bytes that a weight which comes from memory is asked for before its use: in the second-level cache, which can wait for
// more lines at once than the first, and then in the first.
static constexpr int FAR_AHEAD = 16 * 1024;
static constexpr int NEAR_AHEAD = 2 * 1024;
static constexpr int RING = 4;  // tiles of depth that are widened ahead, where few rows use them

// Rows from which the matrix unit is faster than the vector units.
static constexpr int LEAST_ROWS_8 = 3;
static constexpr int LEAST_ROWS_4 = 5;

static constexpr unsigned ROW_OPERANDS = 0xcf;  // tiles of inputs and of sums; 4 and 5 are the weight's

// The sums of one row tile and one pair.
struct IntBlock {
  int32_t sums[2][ROWS][LANES];
};
struct FloatBlock {
  float sums[2][ROWS][LANES];
};

// Too large for a stack: sums that are ready, in turn; those of ranges of several parts; those of ranges that wait for
// their neighbours, by level, or, where these are of the same part, for two row tiles only; weights of four bits as bytes.
static thread_local IntBlock ready[2][2];
static thread_local IntBlock parts_of[PAIRS][ROW_TILES];
static thread_local FloatBlock waiting_of[LEVELS][PAIRS][ROW_TILES];
static thread_local FloatBlock waiting_near[LEVELS][2];
alignas(64) static thread_local uint8_t widened[PART_TILES][PAIR_BYTES_8];

static inline const float* scales_of(const Product& p, const Staged& x, int pair_bytes) {
  return reinterpret_cast<const float*>(p.weight + static_cast<int64_t>(pairs_of(p)) * x.tiles * pair_bytes);
}

// Complete sums of a range, of one or two row tiles of a pair, still to be scaled and joined: those of every second range
// wait where they are put, others join the ones that wait for them, and after the last range all are finished.
class Pending {
 public:
  void begin(const Product& p, const Staged& x, const float* scales, const IntBlock* sums, int range, int pair, int slot,
             int row_tile, int at, int tiles) {
    sums_ = sums;
    row_ = 0;
    rows_ = smaller(tiles * ROWS, x.rows - row_tile * ROWS);
    stride_ = x.ranges * x.stride;
    const int64_t unit = x.at(row_tile * ROWS, range);
    row_scales_ = x.scales + unit;
    row_sums_ = x.sums + unit;
    scales_[0] = load(scales);
    scales_[1] = load(scales + LANES);
    levels_ = __builtin_ctz(~static_cast<unsigned>(range));  // trailing one bits
    last_ = range + 1 == x.ranges;
    for (int level = 0; level <= levels_ && level < LEVELS; level++) {
      waiting_[level] = 1 << level < x.together ? waiting_near[level] : &waiting_of[level][slot][at];
    }
    product_ = &p;
    pair_ = pair;
    first_row_ = row_tile * ROWS;
  }

  int left() const { return rows_ - row_; }

  // Some rows more.
  template <bool STREAM>
  void go_on(int rows) {
    switch (last_ ? LEVELS + 1 + levels_ : levels_) {
      case 0:
        join<0, false, STREAM>(rows);
        break;
      case 1:
        join<1, false, STREAM>(rows);
        break;
      case 2:
        join<2, false, STREAM>(rows);
        break;
      case LEVELS + 1:
        join<0, true, STREAM>(rows);
        break;
      case LEVELS + 2:
        join<1, true, STREAM>(rows);
        break;
      case LEVELS + 3:
        join<2, true, STREAM>(rows);
        break;
      default:
        join<3, true, STREAM>(rows);
        break;
    }
  }

  template <bool STREAM>
  void end() {
    if (row_ < rows_) {
      go_on<STREAM>(rows_);
    }
  }

 private:
  template <int DEPTH, bool LAST, bool STREAM>
  void join(int rows) {
    const int end = smaller(rows_, row_ + rows);
    for (; row_ < end; row_++) {
      const int block = row_ / ROWS;
      const int row = row_ % ROWS;
      const int64_t unit = block * stride_ + row;
      const Sums offset = all_sums(row_sums_[unit]);
      const Lanes row_scale = all(row_scales_[unit]);
      Lanes sums[2];
#pragma GCC unroll 2
      for (int half = 0; half < 2; half++) {
        const Sums exact = add(load(sums_[block].sums[half][row]), offset);
        sums[half] = mul(to_float(exact), mul(row_scale, scales_[half]));
#pragma GCC unroll 3
        for (int level = 0; level < DEPTH; level++) {
          sums[half] = add(load(waiting_[level][block].sums[half][row]), sums[half]);
        }
        if constexpr (!LAST) {
          store(waiting_[DEPTH][block].sums[half][row], sums[half]);
        }
      }
      if constexpr (LAST) {
        finish<STREAM>(*product_, pair_, first_row_ + row_, sums[0], sums[1]);
      }
    }
  }

  int row_ = 0;
  int rows_ = 0;
  int levels_ = 0;
  bool last_ = false;
  const IntBlock* sums_ = nullptr;
  FloatBlock* waiting_[LEVELS] = {};
  const float* row_scales_ = nullptr;
  const int32_t* row_sums_ = nullptr;
  int64_t stride_ = 0;  // from one row tile's to the next one's
  Lanes scales_[2] = {};
  const Product* product_ = nullptr;
  int pair_ = 0;
  int first_row_ = 0;
};

// Asks for what lies behind a line of a weight that comes from memory.
static inline void ask_behind(const uint8_t* line) {
  _mm_prefetch(line + FAR_AHEAD, _MM_HINT_T1);
  _mm_prefetch(line + NEAR_AHEAD, _MM_HINT_T0);
}

// A weight of four bits that comes from memory for few rows: tiles are widened some way ahead of their use, from one end of
// a thread's share to the other, so that the matrix unit need not wait where a range or a pair begins.
class Widened {
 public:
  Widened(const uint8_t* from, const uint8_t* to) : next_(from), end_(to) {
    for (int i = 1; i < RING; i++) {
      widen_next();
    }
  }

  // The next pair of tiles; what it returned before the last RING - 2 calls is overwritten.
  const uint8_t* take() {
    widen_next();
    return widened[taken_++ % RING];
  }

 private:
  void widen_next() {
    if (next_ < end_) {
      widen(next_, widened[ready_++ % RING], ask_behind);
      next_ += PAIR_BYTES_4;
    }
  }

  const uint8_t* next_;
  const uint8_t* end_;
  unsigned ready_ = 0;
  unsigned taken_ = 0;
};

// What is asked for while a part of the weight is in use, at each tile: lines of the next part, and rows of outputs that
// sums will be added to.
struct Ahead {
  const uint8_t* weight;
  int lines;  // at once
  const float* out = nullptr;
  int64_t out_stride = 0;
  int rows_at_once = 0;
  int rows = 0;
};

static inline void ask_ahead(const uint8_t* weight) {
#pragma GCC unroll 32
  for (int line = 0; line < PAIR_BYTES_8; line += 64) {
    ask_behind(weight + line);
  }
}

// Adds `tiles` tiles of depth to the sums of N row tiles; `fresh`: to zero. FAR: the weight comes from memory, in FOUR bits
// by way of `widening`; else it has been widened.
template <int N, bool FAR, bool FOUR>
static inline void multiply(const Staged& in, const int8_t* x, int64_t row_tile_stride, const uint8_t* weight, int tiles,
                            bool fresh, IntBlock* to, Pending& pending, Ahead& ahead, Widened* widening) {
  const int at_once = tiles == 0 ? ROWS : (pending.left() + tiles - 1) / tiles;
  const int64_t x_stride = static_cast<int64_t>(in.stride) * TILE_INPUTS;
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
    const uint8_t* bytes = weight;
    if (FAR && FOUR) {
      bytes = widening->take();
    } else {
      if (FAR) {
        ask_ahead(weight);
      }
      weight += PAIR_BYTES_8;
    }
    _tile_loadd(4, bytes, 64);
    _tile_loadd(6, x, 64);
    _tile_loadd(5, bytes + TILE_BYTES, 64);
    _tile_dpbsud(0, 6, 4);
    if (N == 2) {
      _tile_loadd(7, x + row_tile_stride, 64);
    }
    _tile_dpbsud(1, 6, 5);
    if (N == 2) {
      _tile_dpbsud(2, 7, 4);
      if (!FAR) {
        for (int line = 0; line < ahead.lines; line++) {
          _mm_prefetch(ahead.weight + line * 64, _MM_HINT_T1);
        }
        ahead.weight += ahead.lines * 64;
        for (int row = 0; row < smaller(ahead.rows, ahead.rows_at_once); row++, ahead.out += ahead.out_stride) {
          __builtin_prefetch(ahead.out, 1, 3);
          __builtin_prefetch(ahead.out + LANES, 1, 3);
        }
        ahead.rows -= ahead.rows_at_once;
      }
      _tile_dpbsud(3, 7, 5);
    }
    if (pending.left() > 0) {
      pending.go_on<!FAR>(at_once);
    }
    x += x_stride;
  }
  pending.end<!FAR>();
  _tile_stored(0, to[0].sums[0], 64);
  _tile_stored(1, to[0].sums[1], 64);
  if (N == 2) {
    _tile_stored(2, to[1].sums[0], 64);
    _tile_stored(3, to[1].sums[1], 64);
  }
}

// Row tiles [row_tile, row_end) by pairs [pair, pair_end), at most ROW_TILES by PAIRS.
template <bool FAR, bool FOUR>
static void block(const Product& p, const Staged& x, int row_tile, int row_end, int pair, int pair_end,
                  Widened* widening = nullptr) {
  constexpr int BYTES = FOUR ? PAIR_BYTES_4 : PAIR_BYTES_8;
  const int64_t weight_stride = static_cast<int64_t>(x.tiles) * BYTES;
  const float* scales = scales_of(p, x, BYTES);
  const int turns = (row_end - row_tile + 1) / 2;
  Pending pending;
  int turn = 0;
  each_part(x, [&](const Part& part) {
    const bool whole = part.begins && part.ends;
    const int64_t row_tile_stride = static_cast<int64_t>(part.tiles) * x.stride * TILE_INPUTS;
    for (int j = pair; j < pair_end; j++) {
      const uint8_t* weight = p.weight + j * weight_stride + static_cast<int64_t>(part.first) * BYTES;
      // What comes next: the same depth of the next pair, or the next depth of the first, or the next pair of all.
      const int next = part.first + part.tiles;
      const bool deeper = j + 1 == pair_end && next < x.tiles;
      Ahead ahead = {deeper ? p.weight + pair * weight_stride + static_cast<int64_t>(next) * BYTES
                            : weight + weight_stride,
                     (BYTES / 64 + turns - 1) / turns};
      if (FOUR && !FAR) {
        for (int t = 0; t < part.tiles; t++) {
          widen(weight + t * BYTES, widened[t], [](const uint8_t*) {});
        }
        weight = widened[0];
      }
      for (int i = row_tile; i < row_end; i += 2) {
        const int8_t* inputs = x.tile(i * ROWS, part.range, part.first - x.first[part.range]);
        const bool two = i + 1 < row_end;
        if (p.kind == ADDED && part.ends && part.range_end == x.ranges) {
          ahead.out = p.out + i * ROWS * p.out_stride + j * PAIR_OUTPUTS;
          ahead.out_stride = p.out_stride;
          ahead.rows = smaller(2 * ROWS, x.rows - i * ROWS);
          ahead.rows_at_once = (2 * ROWS + part.tiles - 1) / part.tiles;
        }
        int64_t at = 0;
        for (int range = part.range; range < part.range_end; range++) {
          const int n = whole ? x.first[range + 1] - x.first[range] : part.tiles;
          IntBlock* to = whole ? ready[turn] : &parts_of[j - pair][i - row_tile];
          const int8_t* from = inputs + at * x.stride * TILE_INPUTS;
          const uint8_t* with = weight + at * PAIR_BYTES_8;
          if (two) {
            multiply<2, FAR, FOUR>(x, from, row_tile_stride, with, n, part.begins, to, pending, ahead, widening);
          } else {
            multiply<1, FAR, FOUR>(x, from, row_tile_stride, with, n, part.begins, to, pending, ahead, widening);
          }
          if (part.ends) {
            pending.begin(p, x, scales + j * PAIR_OUTPUTS, to, range, j, j - pair, i, i - row_tile, two ? 2 : 1);
            turn ^= 1;
          }
          at += n;
        }
      }
    }
  });
  pending.end<!FAR>();
}

template <bool FOUR>
static void quantized(const int64_t* products, int count, const Staged& x, Share share) {
  const Product* list = products_of(products);
  const int pairs = pairs_of(list, count);
  const TileConfig config = config_of(ROW_OPERANDS, x.stride);
  _tile_loadconfig(&config);
  if (x.row_tiles <= FEW_ROW_TILES) {
    // Pair by pair: the weight is read straight through.
    each_product(list, count, first_of(share, pairs), end_of(share, pairs), [&](const Product& p, int pair, int end) {
      if constexpr (FOUR) {
        const int64_t bytes = static_cast<int64_t>(x.tiles) * PAIR_BYTES_4;
        Widened widening(p.weight + pair * bytes, p.weight + end * bytes);
        for (; pair < end; pair++) {
          block<true, true>(p, x, 0, x.row_tiles, pair, pair + 1, &widening);
        }
      } else {
        for (; pair < end; pair++) {
          block<true, false>(p, x, 0, x.row_tiles, pair, pair + 1);
        }
      }
    });
  } else {
    // Rows by rows, each block by all pairs of outputs, so that its inputs stay in the cache from one share to the next.
    const int group = x.tiles <= PART_TILES ? 1 : PAIRS;
    const int groups = (pairs + group - 1) / group;
    const int blocks = (x.row_tiles + ROW_TILES - 1) / ROW_TILES;
    const int to = end_of(share, static_cast<int64_t>(blocks) * groups);
    for (int unit = first_of(share, static_cast<int64_t>(blocks) * groups); unit < to;) {
      const int number = unit / groups;
      const int row_tile = (x.row_tiles + 1) / 2 * number / blocks * 2;
      const int row_end = smaller(x.row_tiles, (x.row_tiles + 1) / 2 * (number + 1) / blocks * 2);
      const int last = smaller(to, (number + 1) * groups);
      const int from_pair = unit % groups * group;
      const int to_pair = smaller(pairs, from_pair + (last - unit) * group);
      each_product(list, count, from_pair, to_pair, [&](const Product& p, int pair, int end) {
        for (; pair < end; pair += group) {
          block<false, FOUR>(p, x, row_tile, row_end, pair, smaller(end, pair + group));
        }
      });
      unit = last;
    }
  }
  _mm_sfence();
  _tile_release();
}

void linear_int8(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  if (rows < LEAST_ROWS_8) {
    avx512::linear_int8(share, products, count, staged, rows, borders, ranges);
    return;
  }
  quantized<false>(products, count, Staged(staged, rows, borders, ranges), share);
}

void linear_int4(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept {
  if (rows < LEAST_ROWS_4) {
    avx512::linear_int4(share, products, count, staged, rows, borders, ranges);
    return;
  }
  quantized<true>(products, count, Staged(staged, rows, borders, ranges), share);
}

}  // namespace BATON_MATRIX_TIER
}  // namespace baton

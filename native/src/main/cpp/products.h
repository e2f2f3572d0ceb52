// What products of all weight formats have in common: several of them at once, packed outputs in pairs of groups of
// sixteen, and what is done with a finished sum.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

constexpr int PAIR = 2 * LANES;  // packed outputs

// What becomes of a sum.
constexpr int64_t STORED = 0;  // out = sum (+ bias)
constexpr int64_t ADDED = 1;   // out += sum (+ bias)
constexpr int64_t GATED = 2;   // the groups of a pair are a gate and what it lets through: out = silu(first) * second,
                               // each with its bias added before
constexpr int64_t STAGED = 3;  // as GATED, rounded to bfloat16 and put where the next product takes its inputs from: out is
                               // what stage_inputs would fill, with as many columns, out_stride the tiles of each of its
                               // ranges, all of them whole

// One of several products of the same inputs, as Java writes it (CpuProducts): seven int64 each.
struct Product {
  float* out;
  int64_t out_stride;
  const uint8_t* weight;
  const float* bias;     // null: none; GATED: the gate's
  const float* up_bias;  // GATED: the other's
  int64_t outputs;  // columns of out
  int64_t kind;
};

static inline const Product* products_of(const int64_t* words) { return reinterpret_cast<const Product*>(words); }

// Columns of out that a pair makes.
static inline int width_of(const Product& p) { return p.kind == GATED || p.kind == STAGED ? LANES : PAIR; }

static inline int pairs_of(const Product& p) {
  const int width = width_of(p);
  return static_cast<int>((p.outputs + width - 1) / width);
}

static inline int pairs_of(const Product* products, int count) {
  int pairs = 0;
  for (int i = 0; i < count; i++) {
    pairs += pairs_of(products[i]);
  }
  return pairs;
}

// A weight that comes from memory is asked for by windows, of which STREAMS parts take turns, into the second-level cache: in
// a single stream memory gives a core too little, and the first-level cache has too few requests under way. A line of each
// stream is asked for together, a turn, for to find a place takes ports that products want.
constexpr uint64_t WINDOW = 32 * 1024;
constexpr uint64_t STREAMS = 4;
constexpr uint64_t LINE = 64;
constexpr uint64_t TURN = STREAMS * LINE;

// Which of a product's turns this address lies in.
static inline uint64_t turn_of(const Product& p, const void* at) {
  return (static_cast<const uint8_t*>(at) - p.weight) / TURN;
}

constexpr uint64_t WINDOW_TURNS = WINDOW / TURN;

// Where a turn's first line lies, in the window behind the one that as much of the weight is in. The next turn is LINE
// further, if it is of the same window.
static inline const uint8_t* in_next_window(const Product& p, uint64_t turn) {
  return p.weight + (turn / WINDOW_TURNS + 1) * WINDOW + turn % WINDOW_TURNS * LINE;
}

// Asks for the turn whose first line is there.
__attribute__((always_inline)) static inline void ask_turn(const uint8_t* first) {
#pragma GCC unroll 4
  for (uint64_t stream = 0; stream < STREAMS; stream++) {
    __builtin_prefetch(first + stream * (WINDOW / STREAMS), 0, 2);
  }
}

// Asks for a part of a weight in steps.
class WindowAhead {
 public:
  // Nothing.
  WindowAhead() : next_(nullptr), left_(0), step_(0) {}

  // For the window behind what lies in [from, end), in so many equal steps.
  WindowAhead(const Product& p, const void* from, const void* end, int steps) : WindowAhead(p, from) {
    if (steps > 0) {
      step_ = static_cast<uint32_t>((((turn_of(p, end) - turn_of(p, from)) << PARTS) + steps - 1) / steps);
    }
  }

  // For the window behind `from` and what follows, so many bytes a step.
  WindowAhead(const Product& p, const void* from, uint64_t bytes) : WindowAhead(p, from) {
    step_ = static_cast<uint32_t>((bytes << PARTS) / TURN);
  }

  void step() {
    for (due_ += step_; due_ >> PARTS != 0; due_ -= 1u << PARTS) {
      ask_turn(next_);
      next_ += LINE;
      if (--left_ == 0) {
        next_ += WINDOW - WINDOW / STREAMS;
        left_ = WINDOW_TURNS;
      }
    }
  }

 private:
  static constexpr int PARTS = 16;  // of a turn, as a power of two

  WindowAhead(const Product& p, const void* from)
      : next_(in_next_window(p, turn_of(p, from))), left_(WINDOW_TURNS - turn_of(p, from) % WINDOW_TURNS), step_(0) {}

  const uint8_t* next_;
  uint32_t left_;  // turns of this window
  uint32_t step_;
  uint32_t due_ = 0;
};

// Calls with(product, first pair, end of pairs) for what [from, to) of all products' pairs in a row means for each.
template <class F>
static inline void each_product(const Product* products, int count, int from, int to, const F& with) {
  for (int i = 0; i < count; i++) {
    const int pairs = pairs_of(products[i]);
    const int first = larger(0, from);
    const int end = smaller(pairs, to);
    if (first < end) {
      with(products[i], first, end);
    }
    from -= pairs;
    to -= pairs;
  }
}

// x / (1 + exp(-x))
static inline Lanes silu(Lanes x) { return div(x, add(all(1.0f), exp(mul(x, all(-1.0f))))); }

// STREAM: where whole lines are written, past the caches. A store into a row far from the last one waits for its line, and
// whatever is stored behind it waits too; but what few rows make is better left in the cache.
template <bool STREAM>
static inline void put_out(float* out, Lanes v, int n) {
  if (STREAM && n == LANES && reinterpret_cast<uintptr_t>(out) % 64 == 0) {
    stream(out, v);
  } else {
    store(out, v, n);
  }
}

template <bool STREAM>
static inline void finish_group(const Product& p, int column, int64_t row, Lanes sum) {
  const int n = smaller(LANES, static_cast<int>(p.outputs) - column);
  if (n <= 0) {
    return;
  }
  float* out = p.out + row * p.out_stride + column;
  if (p.bias != nullptr) {
    sum = add(sum, load(p.bias + column, n));
  }
  if (p.kind == ADDED) {
    store(out, add(load(out, n), sum), n);
  } else {
    put_out<STREAM>(out, sum, n);
  }
}

// A gate and what it lets through, the first n lanes.
static inline Lanes let_through(const Product& p, int column, int n, Lanes gate, Lanes up) {
  if (p.bias != nullptr) {
    gate = add(gate, load(p.bias + column, n));
  }
  if (p.up_bias != nullptr) {
    up = add(up, load(p.up_bias + column, n));
  }
  return mul(silu(gate), up);
}

// The sums of one row and one pair of groups. STAGED is the vector tiers' form: [row][column] float32.
template <bool STREAM = false>
static inline void finish(const Product& p, int pair, int64_t row, Lanes first, Lanes second) {
  if (p.kind == GATED) {
    const int column = pair * LANES;
    const int n = smaller(LANES, static_cast<int>(p.outputs) - column);
    put_out<STREAM>(p.out + row * p.out_stride + column, let_through(p, column, n, first, second), n);
    return;
  }
  if (p.kind == STAGED) {
    const int column = pair * LANES;
    store(p.out + row * p.outputs + column, rounded(let_through(p, column, LANES, first, second)));
    return;
  }
  finish_group<STREAM>(p, pair * PAIR, row, first);
  finish_group<STREAM>(p, pair * PAIR + LANES, row, second);
}

}  // namespace BATON_TIER
}  // namespace baton

// What one block does with a row of logits once their blocks of 128 are known: sums and orders over its threads, the walk
// over the blocks that matter, thresholds of top_k and top_p without sorting, the draw. sampling.cu has the kernels.
#pragma once

#include "layouts.h"

namespace baton {

constexpr int kBlock = 128;   // elements of a block
constexpr int kLanes = 16;    // sums of a block of exponentials
constexpr int kDigits = 256;  // of eight bits
constexpr int kMostTops = 20;
constexpr int kHeavy = 1 << 16;  // of ONE = 2^30: likelier than 2^-14

enum Kind { GREEDY = 0, DRAW = 1, SCORE = 2 };
enum Flag { BIASED = 1, SEEN = 2, MASKED = 4 };

struct Order {
  int kind;
  int tops;
  int target;
  int topK;
  float topP;
  float inverse;
  double below;
  double uniform;
  int changesFrom;
  int changes;
  float repetition;
  float frequency;
  float presence;
  int unused;
};
static_assert(sizeof(Order) == 64, "as the host writes it");

struct Change {
  int token;
  float bias;
  int generated;
  int flags;
};
static_assert(sizeof(Change) == 16, "as the host writes it");

struct Result {
  float peak;
  int number;
  float changedPeak;
  int token;
  float logit;
  int rank;
  double sum;
  int topIds[kMostTops];
  float topLogits[kMostTops];
};
static_assert(sizeof(Result) == 192, "as the host writes it");

using Count = unsigned long long;

DEVICE float not_a_number() { return as_float(0x7fc00000u); }
DEVICE float lowest() { return as_float(0xff800000u); }
DEVICE bool usable(float x) { return x < as_float(0x7f800000u); }
DEVICE int blocks_of(int width) { return (width + kBlock - 1) / kBlock; }

// A whole number that is larger for larger floats; both zeros are equal.
DEVICE unsigned sortable(float x) {
  unsigned bits = as_bits(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// How a row's logits become weights.
struct View {
  float peak;
  float inverse;
  float floor;

  DEVICE unsigned weight(float x) const {
    if (x < floor) {
      return 0;
    }
    float likelihood = exponential((x - peak) * inverse);
    return static_cast<unsigned>(static_cast<int>(fma_float(likelihood, 1073741824.0f, 0.5f)));
  }
};

DEVICE View view_of(const Order& order, float peak) {
  return {peak, order.inverse, static_cast<float>(static_cast<double>(peak) + order.below)};
}

DEVICE Count warp_total(Count x) {
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    x += lane_xor(x, mask);
  }
  return x;
}

// The sum of x over this lane and those below.
DEVICE Count sum_up_to(Count x) {
  UNROLL
  for (int by = 1; by < 32; by *= 2) {
    Count other = lane_of(x, at_least(lane() - by, 0));
    x += lane() >= by ? other : 0;
  }
  return x;
}

DEVICE int first_lane(unsigned votes) { return count_bits((votes & (0u - votes)) - 1); }

// The sum over the block's threads, the same in each; scratch is [16].
DEVICE Count block_total(Count x, Shared<Count> scratch) {
  x = warp_total(x);
  if (lane() == 0) {
    scratch[warp()] = x;
  }
  block_barrier();
  Count sum = 0;
  for (int i = 0; i < threads() / 32; i++) {
    sum += scratch[i];
  }
  block_barrier();
  return sum;
}

DEVICE Count block_largest(Count x, Shared<Count> scratch) {
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    x = at_least(x, lane_xor(x, mask));
  }
  if (lane() == 0) {
    scratch[warp()] = x;
  }
  block_barrier();
  Count most = 0;
  for (int i = 0; i < threads() / 32; i++) {
    Count other = scratch[i];
    most = at_least(most, other);
  }
  block_barrier();
  return most;
}

// A row as a block of threads sees it: its logits, and of its blocks of 128 those that matter.
struct Line {
  Global<const float> of;
  int width;
  int blocks;
  int listed;
  Shared<Count> scratch;   // [16]
  Shared<Count> digits;    // [256]
  Shared<int> list;        // [blocks]: rising numbers of blocks, `listed` of them
  Shared<unsigned> keys;   // [blocks]: sortable peaks
  Shared<Count> amounts;   // [blocks]

  // visit(number, logit) for each element of the listed blocks, a warp for each of them.
  template <typename Visit>
  DEVICE void each(const Visit& visit) const {
    for (int i = warp(); i < listed; i += threads() / 32) {
      int from = list[i] * kBlock + lane();
      float x[4];
      UNROLL
      for (int j = 0; j < 4; j++) {
        x[j] = from + 32 * j < width ? of[from + 32 * j] : 0.0f;
      }
      UNROLL
      for (int j = 0; j < 4; j++) {
        if (from + 32 * j < width) {
          visit(from + 32 * j, x[j]);
        }
      }
    }
  }

  // Lists the blocks for which `wanted` holds.
  template <typename Wanted>
  DEVICE void choose(const Wanted& wanted) {
    if (warp() == 0) {
      int found = 0;
      for (int from = 0; from < blocks; from += 32) {
        int block = from + lane();
        bool taken = block < blocks && wanted(block);
        unsigned votes = vote(taken);
        if (taken) {
          list[found + count_bits(votes & ((1u << lane()) - 1))] = block;
        }
        found += count_bits(votes);
      }
      if (lane() == 0) {
        scratch[0] = static_cast<Count>(found);
      }
    }
    block_barrier();
    listed = static_cast<int>(scratch[0]);
    block_barrier();
  }
};

DEVICE Line line_of(Global<const float> logits, int row, int width) {
  int blocks = blocks_of(width);
  int even = (blocks + 1) / 2 * 2;
  return {logits + static_cast<long long>(row) * width,
          width,
          blocks,
          0,
          shared_at<Count>(0),
          shared_at<Count>(128),
          shared_at<int>(128 + 8 * kDigits),
          shared_at<unsigned>(128 + 8 * kDigits + 4 * even),
          shared_at<Count>(128 + 8 * kDigits + 8 * even)};
}

// Of things with a key and an amount (0 = not regarded), by falling key: the key at which the amounts reach `wanted`, and
// what the larger keys amount to.
struct Threshold {
  unsigned key;
  Count larger;
};

// The digit at which the amounts of the larger digits, added to what is larger already, reach `wanted`; every warp does
// the same. A lane has eight digits, the largest ones are lane 0's.
DEVICE int digit_reaching(const Line& line, Count wanted, Count& larger) {
  Count own = 0;
  for (int i = 0; i < 8; i++) {
    own += line.digits[kDigits - 1 - 8 * lane() - i];
  }
  Count upTo = sum_up_to(own);
  unsigned reached = vote(larger + upTo >= wanted);
  int from = reached == 0 ? 31 : first_lane(reached);
  larger += lane_of(upTo - own, from);
  int digit = kDigits - 1 - 8 * from;
  for (int last = digit - 7; digit > last; digit--) {
    Count here = line.digits[digit];
    if (larger + here >= wanted) {
      break;
    }
    larger += here;
  }
  return digit;
}

// One round of the search: each(add) calls add(key, amount) for everything.
template <typename Each>
DEVICE Threshold threshold(const Line& line, Count wanted, const Each& each) {
  Threshold found = {0, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread(); i < kDigits; i += threads()) {
      line.digits[i] = 0;
    }
    block_barrier();
    // Neighbours often have the same digit: a thread adds them up first.
    int held = 0;
    Count sum = 0;
    each([&](unsigned key, Count amount) {
      if (amount == 0 || (shift != 24 && key >> (shift + 8) != found.key >> (shift + 8))) {
        return;
      }
      int digit = static_cast<int>(key >> shift & 255);
      if (digit != held && sum != 0) {
        add_shared(line.digits + held, sum);
        sum = 0;
      }
      held = digit;
      sum += amount;
    });
    if (sum != 0) {
      add_shared(line.digits + held, sum);
    }
    block_barrier();
    found.key |= static_cast<unsigned>(digit_reaching(line, wanted, found.larger)) << shift;
    block_barrier();
  }
  return found;
}

// The first element at which the amounts, summed by rising number over the listed blocks, exceed `target`. `known`: the
// blocks' amounts stand in line.amounts by block, else they are added up first.
template <typename Amount>
DEVICE int first_beyond(const Line& line, Count target, bool known, const Amount& amount) {
  if (!known) {
    for (int i = warp(); i < line.listed; i += threads() / 32) {
      int from = line.list[i] * kBlock + lane();
      Count sum = 0;
      UNROLL
      for (int j = 0; j < 4; j++) {
        int c = from + 32 * j;
        sum += c < line.width ? amount(c, line.of[c]) : 0;
      }
      sum = warp_total(sum);
      if (lane() == 0) {
        line.amounts[line.list[i]] = sum;
      }
    }
    block_barrier();
  }
  if (warp() == 0) {
    int block = -1;
    for (int from = 0; from < line.listed && block < 0; from += 32) {
      int at = at_most(from + lane(), line.listed - 1);
      int candidate = line.list[at];
      Count own = line.amounts[candidate];
      own = from + lane() < line.listed ? own : 0;
      Count upTo = sum_up_to(own);
      unsigned beyond = vote(upTo > target);
      if (beyond != 0) {
        int first = first_lane(beyond);
        block = lane_of(candidate, first);
        target -= lane_of(upTo - own, first);
      } else {
        target -= lane_of(upTo, 31);
      }
    }
    int found = -1;
    for (int c = block * kBlock; block >= 0 && c < line.width && found < 0; c += 32) {
      Count own = c + lane() < line.width ? amount(c + lane(), line.of[c + lane()]) : 0;
      Count upTo = sum_up_to(own);
      unsigned beyond = vote(upTo > target);
      found = beyond != 0 ? c + first_lane(beyond) : -1;
      target -= lane_of(upTo, 31);
    }
    if (lane() == 0) {
      line.scratch[0] = static_cast<Count>(static_cast<long long>(found));
    }
  }
  block_barrier();
  int found = static_cast<int>(line.scratch[0]);
  block_barrier();
  return found;
}

// What is left of a row: keys above `key` and the first of those equal to it, up to number `last`.
struct Kept {
  unsigned key;
  int last;

  DEVICE bool keeps(unsigned own, int c) const { return own > key || (own == key && c <= last); }
};

// Lists the blocks that have the row's `most` largest elements, by their peaks; tells what none of these is below.
DEVICE unsigned choose_largest(Line& line, Global<const float> peaks, int most) {
  for (int block = thread(); block < line.blocks; block += threads()) {
    line.keys[block] = sortable(peaks[block]);
  }
  block_barrier();
  unsigned least = 0;
  if (most < line.blocks) {
    least = threshold(line, static_cast<Count>(most), [&](const auto& add) {
              for (int block = thread(); block < line.blocks; block += threads()) {
                add(line.keys[block], 1);
              }
            }).key;
  }
  line.choose([&](int block) { return line.keys[block] >= least; });
  return least;
}

DEVICE int draw(Line& line, const Order& order, const View& view, Global<const float> peaks,
                Global<const Count> sums) {
  Kept large = {0, line.width};
  Count total = 0;
  bool whole = order.topK <= 0 || order.topK >= line.width;
  auto weight = [&](int c, float x) -> Count { return large.keeps(sortable(x), c) ? view.weight(x) : 0; };
  if (whole) {
    Count own = 0;
    for (int block = thread(); block < line.blocks; block += threads()) {
      Count sum = sums[block];
      line.amounts[block] = sum;
      own += sum;
    }
    total = block_total(own, line.scratch);
    line.choose([&](int block) { return line.amounts[block] != 0; });
  } else {
    unsigned least = choose_largest(line, peaks, order.topK);
    Threshold found = threshold(line, static_cast<Count>(order.topK), [&](const auto& add) {
      line.each([&](int, float x) {
        unsigned key = sortable(x);
        add(key, key >= least ? 1 : 0);
      });
    });
    int last = first_beyond(line, order.topK - found.larger - 1, false,
                            [&](int, float x) -> Count { return sortable(x) == found.key ? 1 : 0; });
    large = {found.key, last};
    Count own = 0;
    line.each([&](int c, float x) { own += weight(c, x); });
    total = block_total(own, line.scratch);
  }
  Kept heavy = {0, line.width};
  bool all = true;
  if (order.topP < 1.0f) {
    all = false;
    double wanted = static_cast<double>(order.topP) * static_cast<double>(total);
    auto needed = static_cast<Count>(wanted);
    needed += static_cast<double>(needed) < wanted ? 1 : 0;
    needed = at_most(at_least(needed, Count{1}), total);
    unsigned least = 0;
    if (whole) {
      // A block that has a heavy element is as heavy; if these alone are enough, the others need not be looked at.
      line.choose([&](int block) { return line.amounts[block] >= kHeavy; });
      Count own = 0;
      line.each([&](int, float x) {
        unsigned w = view.weight(x);
        own += w >= kHeavy ? w : 0;
      });
      least = block_total(own, line.scratch) >= needed ? kHeavy : 0;
      if (least == 0) {
        line.choose([&](int block) { return line.amounts[block] != 0; });
      }
    }
    Threshold found = threshold(line, needed, [&](const auto& add) {
      line.each([&](int c, float x) {
        Count w = weight(c, x);
        add(static_cast<unsigned>(w), w >= least ? w : 0);
      });
    });
    Count ties = (needed - found.larger + found.key - 1) / found.key;
    auto equal = [&](int c, float x) -> Count { return weight(c, x) == found.key ? 1 : 0; };
    heavy = {found.key, first_beyond(line, ties - 1, false, equal)};
    total = found.larger + ties * found.key;
  }
  auto target = static_cast<Count>(order.uniform * static_cast<double>(total));
  target = at_most(target, total - 1);
  auto left = [&](int c, float x) -> Count {
    Count w = weight(c, x);
    return heavy.keeps(static_cast<unsigned>(w), c) ? w : 0;
  };
  return first_beyond(line, target, whole && all, left);
}

}  // namespace baton

// Passes over rows of logits, see LogitScan: the same bits as on every other device. Each pass reads a row once; draws
// and rankings read it some ten times, from the second-level cache.

#include "layouts.h"

namespace baton {
namespace {

constexpr int kBlock = 128;         // elements of a block
constexpr int kLanes = 16;          // sums of a block
constexpr int kDigits = 256;        // of eight bits

struct View {
  int row;
  float peak;
  float inverse;
  float floor;
};

struct Draw {
  View view;
  int topK;
  float topP;
  double uniform;
};

struct Ranking {
  int row;
  float peak;
  int top;
  float floor;
};

struct Best {
  float logit;
  int number;
};

using Count = unsigned long long;

DEVICE float not_a_number() { return as_float(0x7fc00000u); }
DEVICE float lowest() { return as_float(0xff800000u); }
DEVICE bool usable(float x) { return x < as_float(0x7f800000u); }

// A whole number that is larger for larger floats; both zeros are equal.
DEVICE unsigned sortable(float x) {
  unsigned bits = as_bits(x + 0.0f);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

DEVICE unsigned weight_of(const View& view, float x) {
  if (x < view.floor) {
    return 0;
  }
  float likelihood = exponential((x - view.peak) * view.inverse);
  return static_cast<unsigned>(static_cast<int>(fma_float(likelihood, 1073741824.0f, 0.5f)));
}

// The sum over the block's threads, the same in each; scratch is [16].
DEVICE Count block_total(Count x, Shared<Count> scratch) {
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    x += lane_xor(x, mask);
  }
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

// A row as a block sees it.
struct Line {
  Global<const float> of;
  int width;
  Shared<Count> scratch;   // [16]
  Shared<Count> digits;    // [256]
};

// Of elements with a key and an amount (0 = not regarded), by falling key: the key of the element at which the amounts
// reach `wanted`, and what the larger keys amount to.
struct Threshold {
  unsigned key;
  Count larger;
};

template <typename Key, typename Amount>
DEVICE Threshold threshold(const Line& line, Count wanted, const Key& key, const Amount& amount) {
  Threshold found = {0, 0};
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int i = thread(); i < kDigits; i += threads()) {
      line.digits[i] = 0;
    }
    block_barrier();
    for (int c = thread(); c < line.width; c += threads()) {
      float x = line.of[c];
      unsigned own = key(x);
      if (shift == 24 || own >> (shift + 8) == found.key >> (shift + 8)) {
        Count add = amount(c, x);
        if (add != 0) {
          add_shared(line.digits + (own >> shift & 255), add);
        }
      }
    }
    block_barrier();
    int digit = kDigits - 1;
    for (; digit > 0 && found.larger + line.digits[digit] < wanted; digit--) {
      found.larger += line.digits[digit];
    }
    found.key |= static_cast<unsigned>(digit) << shift;
    block_barrier();
  }
  return found;
}

// The first element at which the amounts, summed by rising number, exceed `target`.
template <typename Amount>
DEVICE int first_beyond(const Line& line, Count target, const Amount& amount) {
  int parts = threads() / 32;
  int each = (line.width + parts - 1) / parts;
  int from = at_most(warp() * each, line.width);
  int to = at_most(from + each, line.width);
  Count sum = 0;
  for (int c = from + lane(); c < to; c += 32) {
    sum += amount(c, line.of[c]);
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    sum += lane_xor(sum, mask);
  }
  if (lane() == 0) {
    line.scratch[warp()] = sum;
  }
  block_barrier();
  int part = 0;
  for (; part < parts - 1 && target >= line.scratch[part]; part++) {
    target -= line.scratch[part];
  }
  block_barrier();
  if (warp() == part) {
    int found = -1;
    for (int c = from; c < to && found < 0; c += 32) {
      bool real = c + lane() < to;
      Count own = real ? amount(c + lane(), line.of[c + lane()]) : 0;
      Count upTo = own;
      UNROLL
      for (int by = 1; by < 32; by *= 2) {
        Count other = lane_of(upTo, at_least(lane() - by, 0));
        upTo += lane() >= by ? other : 0;
      }
      unsigned beyond = vote(upTo > target);
      if (beyond != 0) {
        found = c + count_bits((beyond & (0u - beyond)) - 1);
      }
      target -= lane_of(upTo, 31);
    }
    if (lane() == 0) {
      line.scratch[0] = static_cast<Count>(found);
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

DEVICE Kept largest_kept(const Line& line, int topK) {
  if (topK <= 0 || topK >= line.width) {
    return {0, line.width};
  }
  auto one = [](int, float) -> Count { return 1; };
  Threshold found = threshold(line, topK, sortable, one);
  int last = first_beyond(line, topK - found.larger - 1,
                          [&](int, float x) -> Count { return sortable(x) == found.key ? 1 : 0; });
  return {found.key, last};
}

DEVICE int draw(const Line& line, const Draw& draw) {
  Kept large = largest_kept(line, draw.topK);
  auto weight = [&](int c, float x) -> Count { return large.keeps(sortable(x), c) ? weight_of(draw.view, x) : 0; };
  Count own = 0;
  for (int c = thread(); c < line.width; c += threads()) {
    own += weight(c, line.of[c]);
  }
  Count total = block_total(own, line.scratch);
  Kept heavy = {0, line.width};
  if (draw.topP < 1.0f) {
    double wanted = static_cast<double>(draw.topP) * static_cast<double>(total);
    auto whole = static_cast<Count>(wanted);
    whole += static_cast<double>(whole) < wanted ? 1 : 0;
    whole = at_most(at_least(whole, Count{1}), total);
    auto key = [&](float x) { return weight_of(draw.view, x); };
    Threshold found = threshold(line, whole, key, weight);
    // The amount may be 0 for elements that topK left out; those that are left have the key as their weight.
    Count ties = (whole - found.larger + found.key - 1) / found.key;
    auto equal = [&](int c, float x) -> Count { return weight(c, x) == found.key ? 1 : 0; };
    heavy = {found.key, first_beyond(line, ties - 1, equal)};
    total = found.larger + ties * found.key;
  }
  auto target = static_cast<Count>(draw.uniform * static_cast<double>(total));
  target = at_most(target, total - 1);
  auto left = [&](int c, float x) -> Count {
    Count w = weight(c, x);
    return heavy.keeps(static_cast<unsigned>(w), c) ? w : 0;
  };
  return first_beyond(line, target, left);
}

DEVICE Line line_of(Global<const float> logits, int row, int width) {
  return {logits + static_cast<long long>(row) * width, width, shared_at<Count>(0), shared_at<Count>(128)};
}

}  // namespace
}  // namespace baton

using namespace baton;

// A warp for each block of 128 logits.
KERNEL(256) logit_peaks(Global<float> peaks, Global<const float> logits, int width, int rowFrom) {
  int blocks = (width + kBlock - 1) / kBlock;
  int block = block_x() * 8 + warp();
  if (block >= blocks) {
    return;
  }
  Global<const float> row = logits + static_cast<long long>(rowFrom + block_y()) * width;
  float peak = lowest();
  bool all = true;
  for (int c = block * kBlock + lane(); c < at_most(width, (block + 1) * kBlock); c += 32) {
    float x = row[c];
    all = all && usable(x);
    peak = x > peak ? x : peak;
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    float other = lane_xor(peak, mask);
    peak = other > peak ? other : peak;
  }
  bool none = vote(!all) == 0;
  if (lane() == 0) {
    peaks[static_cast<long long>(block_y()) * blocks + block] = none ? peak + 0.0f : not_a_number();
  }
}
BATON_KERNEL(logit_peaks)

// The largest of a row, or the first that is no finite number, found in the first block whose peak says so.
KERNEL(256) logit_best(Global<Best> best, Global<const float> peaks, Global<const float> logits, int width,
                       int rowFrom) {
  int blocks = (width + kBlock - 1) / kBlock;
  Global<const float> own = peaks + static_cast<long long>(block_x()) * blocks;
  // Larger for what comes first: no number, then the larger peak, then the lower number.
  Count first = 0;
  for (int block = thread(); block < blocks; block += threads()) {
    float peak = own[block];
    Count key = peak == peak ? sortable(peak) : 0xffffffffu;
    first = at_least(first, key << 32 | (0xffffffffu - static_cast<unsigned>(block)));
  }
  first = block_largest(first, shared_at<Count>(0));
  int block = static_cast<int>(0xffffffffu - static_cast<unsigned>(first));
  float peak = own[block];
  if (warp() == 0) {
    Global<const float> row = logits + static_cast<long long>(rowFrom + block_x()) * width;
    bool found = false;
    for (int c = block * kBlock; c < width && !found; c += 32) {
      float x = c + lane() < width ? row[c + lane()] : 0.0f;
      bool here = c + lane() < width && (peak == peak ? x == peak : !usable(x));
      unsigned votes = vote(here);
      if (votes != 0) {
        found = true;
        if (lane() == 0) {
          best[block_x()] = {peak, c + count_bits((votes & (0u - votes)) - 1)};
        }
      }
    }
  }
}
BATON_KERNEL(logit_best)

// Half a warp for each block, as many lanes as the sum has.
KERNEL(256) logit_exponentials(Global<float> sums, Global<const float> logits, int width, Global<const View> views) {
  int blocks = (width + kBlock - 1) / kBlock;
  int block = block_x() * (256 / kLanes) + thread() / kLanes;
  View view = views[block_y()];
  Global<const float> row = logits + static_cast<long long>(view.row) * width;
  float sum = 0.0f;
  for (int c = block * kBlock + thread() % kLanes; c < at_most(width, (block + 1) * kBlock); c += kLanes) {
    sum += exponential((row[c] - view.peak) * view.inverse);
  }
  UNROLL
  for (int mask = kLanes / 2; mask > 0; mask >>= 1) {
    sum += lane_xor(sum, mask);
  }
  if (block < blocks && thread() % kLanes == 0) {
    sums[static_cast<long long>(block_y()) * blocks + block] = sum;
  }
}
BATON_KERNEL(logit_exponentials)

KERNEL(512) logit_draw(Global<int> tokens, Global<const float> logits, int width, Global<const Draw> draws) {
  Draw own = draws[block_x()];
  int token = draw(line_of(logits, own.view.row, width), own);
  if (thread() == 0) {
    tokens[block_x()] = token;
  }
}
BATON_KERNEL(logit_draw)

// The largest, then the largest of what comes behind it, and so on.
KERNEL(512) logit_rank(Global<int> ids, Global<int> reached, Global<const float> logits, int width,
                       Global<const Ranking> rankings, int most) {
  Ranking own = rankings[block_x()];
  Line line = line_of(logits, own.row, width);
  Count found = 0;
  for (int c = thread(); c < width; c += threads()) {
    found += line.of[c] >= own.floor ? 1 : 0;
  }
  found = block_total(found, line.scratch);
  if (thread() == 0) {
    reached[block_x()] = static_cast<int>(found);
  }
  Count before = ~Count{0};
  for (int place = 0; place < own.top; place++) {
    Count next = 0;
    for (int c = thread(); c < width; c += threads()) {
      Count key = static_cast<Count>(sortable(line.of[c])) << 32 | (0xffffffffu - static_cast<unsigned>(c));
      next = key < before ? at_least(next, key) : next;
    }
    before = block_largest(next, line.scratch);
    if (thread() == 0) {
      int id = static_cast<int>(0xffffffffu - static_cast<unsigned>(before));
      ids[static_cast<long long>(block_x()) * most + place] = id;
    }
  }
}
BATON_KERNEL(logit_rank)

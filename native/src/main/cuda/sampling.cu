// Choosing tokens from rows of logits where they lie, see TokenChoice: the same results as on every other device. A row is
// read once for its blocks' peaks and, where it is drawn from, once for its blocks' weights, by all of the GPU; what
// follows is one block's work on the few blocks of 128 logits that matter: with k blocks whose peaks reach a value, k
// logits do.

#include "sampling.h"

using namespace baton;

// A warp for each block of 128 logits; of all rows, or (`changed`) of those alone that have changes.
KERNEL(256) logit_peaks(Global<float> peaks, Global<const float> logits, int width, Global<const Order> orders,
                        Global<const int> rows, int changed) {
  int row = block_y();
  int blocks = blocks_of(width);
  int block = block_x() * 8 + warp();
  if (row >= *rows || block >= blocks || (changed != 0 && orders[row].changes == 0)) {
    return;
  }
  Global<const float> own = logits + static_cast<long long>(row) * width;
  float peak = lowest();
  bool all = true;
  for (int c = block * kBlock + lane(); c < at_most(width, (block + 1) * kBlock); c += 32) {
    float x = own[c];
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
    peaks[static_cast<long long>(row) * blocks + block] = none ? peak + 0.0f : not_a_number();
  }
}
BATON_KERNEL(logit_peaks)

// The largest of a row, or the first that is no finite number, found in the first block whose peak says so. Of raw rows it
// is also what the changed row has, as long as nothing is changed, and the token.
KERNEL(256) logit_best(Global<Result> results, Global<const float> peaks, Global<const float> logits, int width,
                       Global<const Order> orders, Global<const int> rows, int changed) {
  int at = block_x();
  if (at >= *rows || (changed != 0 && (orders[at].changes == 0 || !(results[at].peak > lowest())))) {
    return;
  }
  int blocks = blocks_of(width);
  Global<const float> own = peaks + static_cast<long long>(at) * blocks;
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
    Global<const float> row = logits + static_cast<long long>(at) * width;
    bool found = false;
    for (int c = block * kBlock; c < width && !found; c += 32) {
      float x = c + lane() < width ? row[c + lane()] : 0.0f;
      unsigned votes = vote(c + lane() < width && (peak == peak ? x == peak : !usable(x)));
      if (votes != 0) {
        found = true;
        int number = c + first_lane(votes);
        if (lane() == 0) {
          if (changed == 0) {
            results[at].peak = peak;
            results[at].number = number;
          }
          results[at].changedPeak = peak;
          results[at].token = number;
        }
      }
    }
  }
}
BATON_KERNEL(logit_best)

// Sums of exp(logit - largest) of the rows that tell log probabilities. Half a warp for each block, as many lanes as the
// sum has.
KERNEL(256) logit_exponentials(Global<float> sums, Global<const float> logits, int width, Global<const Order> orders,
                               Global<const Result> results, Global<const int> rows) {
  int at = block_y();
  if (at >= *rows || orders[at].tops < 0) {
    return;
  }
  int blocks = blocks_of(width);
  int block = block_x() * (256 / kLanes) + thread() / kLanes;
  float peak = results[at].peak;
  Global<const float> row = logits + static_cast<long long>(at) * width;
  float sum = 0.0f;
  for (int c = block * kBlock + thread() % kLanes; c < at_most(width, (block + 1) * kBlock); c += kLanes) {
    sum += exponential((row[c] - peak) * 1.0f);
  }
  UNROLL
  for (int mask = kLanes / 2; mask > 0; mask >>= 1) {
    sum += lane_xor(sum, mask);
  }
  if (block < blocks && thread() % kLanes == 0) {
    sums[static_cast<long long>(at) * blocks + block] = sum;
  }
}
BATON_KERNEL(logit_exponentials)

// Of the same rows: the sum over all blocks, in order; how many reach the target; the likeliest tokens.
KERNEL(512) logit_rank(Global<Result> results, Global<const float> logits, Global<const float> peaks,
                       Global<const float> sums, int width, Global<const Order> orders, Global<const int> rows) {
  int at = block_x();
  if (at >= *rows || orders[at].tops < 0 || !(results[at].peak > lowest())) {
    return;
  }
  Order order = orders[at];
  Line line = line_of(logits, at, width);
  long long first = static_cast<long long>(at) * line.blocks;
  if (warp() == 0) {
    double sum = 0.0;
    for (int from = 0; from < line.blocks; from += 32) {
      float own = from + lane() < line.blocks ? sums[first + from + lane()] : 0.0f;
      for (int i = 0; i < at_most(32, line.blocks - from); i++) {
        sum += static_cast<double>(lane_of(own, i));
      }
    }
    if (lane() == 0) {
      results[at].sum = sum;
    }
  }
  int tops = at_most(at_most(order.tops, width), kMostTops);
  choose_largest(line, peaks + first, order.kind == SCORE ? line.blocks : tops);
  if (order.kind == SCORE) {
    float floor = line.of[order.target];
    line.choose([&](int block) { return line.keys[block] >= sortable(floor); });
    Count reached = 0;
    line.each([&](int, float x) { reached += x >= floor ? 1 : 0; });
    reached = block_total(reached, line.scratch);
    if (thread() == 0) {
      results[at].rank = static_cast<int>(reached);
    }
    choose_largest(line, peaks + first, tops);
  }
  Count before = ~Count{0};
  for (int place = 0; place < tops; place++) {
    Count next = 0;
    line.each([&](int c, float x) {
      Count key = static_cast<Count>(sortable(x)) << 32 | (0xffffffffu - static_cast<unsigned>(c));
      next = key < before ? at_least(next, key) : next;
    });
    before = block_largest(next, line.scratch);
    if (thread() == 0) {
      int id = static_cast<int>(0xffffffffu - static_cast<unsigned>(before));
      results[at].topIds[place] = id;
      results[at].topLogits[place] = line.of[id];
    }
  }
}
BATON_KERNEL(logit_rank)

// Changes logits; what was there goes to `overwritten`, by change.
KERNEL(256) logit_change(Global<float> logits, Global<float> overwritten, int width, Global<const Change> changes,
                         Global<const Order> orders, Global<const Result> results, Global<const int> rows) {
  int at = block_x();
  if (at >= *rows || orders[at].changes == 0 || !(results[at].peak > lowest())) {
    return;
  }
  Order order = orders[at];
  for (int i = order.changesFrom + thread(); i < order.changesFrom + order.changes; i += threads()) {
    Change change = changes[i];
    Global<float> to = logits + (static_cast<long long>(at) * width + change.token);
    float logit = *to;
    overwritten[i] = logit;
    if ((change.flags & BIASED) != 0) {
      logit += change.bias;
    }
    if ((change.flags & SEEN) != 0) {
      logit = logit > 0.0f ? logit / order.repetition : logit * order.repetition;
      if (change.generated > 0) {
        logit -= order.frequency * static_cast<float>(change.generated);
        logit -= order.presence;
      }
    }
    if ((change.flags & MASKED) != 0) {
      logit = lowest();
    }
    *to = logit;
  }
}
BATON_KERNEL(logit_change)

// The sum of each block's weights, of rows that are drawn from.
KERNEL(256) logit_weights(Global<Count> sums, Global<const float> logits, int width, Global<const Order> orders,
                          Global<const Result> results, Global<const int> rows) {
  int at = block_y();
  int blocks = blocks_of(width);
  int block = block_x() * 8 + warp();
  if (at >= *rows || block >= blocks || orders[at].kind != DRAW) {
    return;
  }
  View view = view_of(orders[at], results[at].changedPeak);
  Global<const float> row = logits + static_cast<long long>(at) * width;
  Count sum = 0;
  for (int c = block * kBlock + lane(); c < at_most(width, (block + 1) * kBlock); c += 32) {
    sum += view.weight(row[c]);
  }
  sum = warp_total(sum);
  if (lane() == 0) {
    sums[static_cast<long long>(at) * blocks + block] = sum;
  }
}
BATON_KERNEL(logit_weights)

// Draws; then puts back what was changed, and tells the raw logit of the token.
KERNEL(512) logit_draw(Global<Result> results, Global<float> logits, Global<const float> overwritten,
                       Global<const float> peaks, Global<const Count> sums, int width, Global<const Change> changes,
                       Global<const Order> orders, Global<const int> rows) {
  int at = block_x();
  if (at >= *rows || !(results[at].peak > lowest())) {
    return;
  }
  Order order = orders[at];
  int token = order.kind == SCORE ? order.target : results[at].token;
  float peak = results[at].changedPeak;
  if (order.kind == DRAW && peak > lowest()) {
    Line line = line_of(logits, at, width);
    long long first = static_cast<long long>(at) * line.blocks;
    token = draw(line, order, view_of(order, peak), peaks + first, sums + first);
  }
  block_barrier();
  Global<float> row = logits + static_cast<long long>(at) * width;
  for (int i = order.changesFrom + thread(); i < order.changesFrom + order.changes; i += threads()) {
    row[changes[i].token] = overwritten[i];
  }
  block_barrier();
  if (thread() == 0) {
    results[at].token = token;
    results[at].logit = row[token];
  }
}
BATON_KERNEL(logit_draw)

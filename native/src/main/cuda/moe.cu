// Routing of rows to experts, see Routing. A mixture has at most 256 experts.

#include "layouts.h"

namespace baton {
namespace {

constexpr int kMostExperts = 256;

// The larger score and, of equal ones, the lower number, over a warp.
DEVICE void best_of_warp(float& score, int& expert) {
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    float otherScore = lane_xor(score, mask);
    int other = lane_xor(expert, mask);
    if (otherScore > score || (otherScore == score && other < expert)) {
      score = otherScore;
      expert = other;
    }
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

// Chooses experts for each row by falling score, and weighs them by the softmax over all experts or over the chosen.
KERNEL(32) route_choose(Routes routes, Global<const float> scores, int scoresPitch, Global<const int> rows,
                        int normalize) {
  int row = block_x();
  if (row >= *rows) {
    return;
  }
  Global<const float> own = scores + static_cast<long long>(row) * scoresPitch;
  unsigned taken = 0;
  float most = 0.0f;
  float total = 0.0f;
  float weight = 0.0f;  // lane j has that of choice j
  for (int j = 0; j < routes.chosen; j++) {
    float score = as_float(0xff800000u);
    int expert = kMostExperts;
    for (int i = 0; lane() + i * 32 < routes.experts; i++) {
      float candidate = own[lane() + i * 32];
      candidate = candidate == candidate ? candidate : as_float(0xff800000u);
      bool free = (taken >> i & 1) == 0;
      if (free && (candidate > score || (candidate == score && lane() + i * 32 < expert))) {
        score = candidate;
        expert = lane() + i * 32;
      }
    }
    best_of_warp(score, expert);
    if (expert % 32 == lane()) {
      taken |= 1u << expert / 32;
    }
    most = j == 0 ? score : most;
    float exp = exponential(score - most);
    total += exp;
    weight = lane() == j ? exp : weight;
    if (lane() == 0) {
      routes.choices[static_cast<long long>(row) * routes.chosen + j] = expert;
    }
  }
  if (normalize == 0) {
    total = 0.0f;
    for (int expert = lane(); expert < routes.experts; expert += 32) {
      total += exponential(own[expert] - most);
    }
    UNROLL
    for (int mask = 16; mask > 0; mask >>= 1) {
      total += lane_xor(total, mask);
    }
  }
  if (lane() < routes.chosen) {
    routes.weights[static_cast<long long>(row) * routes.chosen + lane()] = weight / total;
  }
  if (row == 0 && lane() == 0) {
    routes.counts[0] = *rows;
    routes.counts[1] = *rows * routes.chosen;
  }
}
BATON_KERNEL(route_choose)

// Slots of an expert's pairs of row and choice: by expert, then row. A block for each expert reads all choices twice.
KERNEL(256) route_sort(Routes routes) {
  Shared<int> counts = shared_at<int>(0);  // [8]
  int expert = block_x();
  int pairs = routes.counts[1];
  int before = 0;
  int own = 0;
  for (int i = thread(); i < pairs; i += threads()) {
    int choice = routes.choices[i];
    before += choice < expert ? 1 : 0;
    own += choice == expert ? 1 : 0;
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    before += lane_xor(before, mask);
    own += lane_xor(own, mask);
  }
  if (lane() == 0) {
    counts[warp()] = before;
    counts[8 + warp()] = own;
  }
  block_barrier();
  int begin = 0;
  int mine = 0;
  for (int i = 0; i < 8; i++) {
    begin += counts[i];
    mine += counts[8 + i];
  }
  block_barrier();
  if (thread() == 0) {
    routes.begins[expert] = begin;
    if (expert == routes.experts - 1) {
      routes.begins[routes.experts] = begin + mine;
    }
  }
  int next = begin;
  for (int from = 0; from < pairs; from += threads()) {
    int pair = from + thread();
    bool here = pair < pairs && routes.choices[pair] == expert;
    unsigned votes = vote(here);
    if (lane() == 0) {
      counts[warp()] = count_bits(votes);
    }
    block_barrier();
    int slot = next + count_bits(votes & ((1u << lane()) - 1));
    for (int i = 0; i < 8; i++) {
      slot += i < warp() ? counts[i] : 0;
      next += counts[i];
    }
    if (here) {
      routes.slots[pair] = slot;
      routes.rowOfSlot[slot] = pair / routes.chosen;
    }
    block_barrier();
  }
}
BATON_KERNEL(route_sort)

// out[row] = sum of weight * x[slot] over the row's choices in order.
KERNEL(256) combine_routed(Global<float> out, int outPitch, Global<const float> x, int xPitch, Routes routes,
                           int width) {
  long long row = block_y();
  int c = block_x() * threads() + thread();
  if (row >= routes.counts[0] || c >= width) {
    return;
  }
  float sum = 0.0f;
  for (int j = 0; j < routes.chosen; j++) {
    float weight = routes.weights[row * routes.chosen + j];
    float value = x[static_cast<long long>(routes.slots[row * routes.chosen + j]) * xPitch + c];
    sum = j == 0 ? weight * value : fma_float(weight, value, sum);
  }
  out[row * outPitch + c] = sum;
}
BATON_KERNEL(combine_routed)

// What ranks do together over each other's memory: on one GPU, or on several that see one another.
//
// One shot: every rank puts its part where all see it, says so, waits until the others have, and adds all parts itself,
// in the canonical tree. Moved: ranks times the rows. Two halves of the staging memory take turns: who writes a half
// again has waited for all in the collective between, and nobody arrives there before having read this one. All ranks
// must launch alike, with grids that fit on the chip together with those of the other ranks on it.

#include "layouts.h"

namespace baton {

constexpr int kMostRanks = 8;
constexpr int kLooks = 64;

// 160 bytes.
struct Peers {
  Global<float> staging[kMostRanks];      // of each rank: two halves
  Global<unsigned> arrivals[kMostRanks];  // of each rank: [16], a counter for each block of the grid, 0 at first
  Global<unsigned> epochs;                // this rank's own: [16], 0 at first
  Global<const unsigned> abort;           // ends the waiting when not 0
  long long half;                         // float32 elements of a half
  int rank;
  int ranks;
};
static_assert(sizeof(Peers) == 160, "as the host writes it");

namespace {

// Lane-wise tree of neighbours over 1, 2, 4 or 8 ranks.
DEVICE float add_ranks(float (&parts)[kMostRanks], int ranks) {
  UNROLL
  for (int step = 1; step < kMostRanks; step *= 2) {
    UNROLL
    for (int i = 0; i + step < kMostRanks; i += 2 * step) {
      if (i + step < ranks) {
        parts[i] += parts[i + step];
      }
    }
  }
  return parts[0];
}

// Tells the others that this block's part is there and waits for theirs; whether none was aborted.
DEVICE bool meet(const Peers& peers, unsigned epoch) {
  block_barrier();
  if (thread() == 0) {
    signal_system(peers.arrivals[peers.rank] + block_x(), 1);
  }
  Shared<int> failed = shared_at<int>(0);
  if (thread() < 32) {
    bool late = false;
    if (thread() < peers.ranks) {
      // The word that ends the waiting is in the host's memory, a microsecond away: it is looked at now and then.
      for (int looks = 1; !late && static_cast<int>(read_system(peers.arrivals[thread()] + block_x()) - epoch) < 0;
           looks++) {
        pause_thread();
        late = looks % kLooks == 0 && read_system(peers.abort) != 0;
      }
    }
    bool any = vote(late) != 0;
    if (thread() == 0) {
      failed[0] = any ? 1 : 0;
    }
  }
  block_barrier();
  return failed[0] == 0;
}

}  // namespace
}  // namespace baton

using namespace baton;

// to[rows, width] = the sum of from over all ranks (+ bias); added to what is there when `add`. from may be to.
KERNEL(512) all_reduce(Global<float> to, int toPitch, Global<const float> from, int fromPitch, Global<const float> bias,
                       int add, Peers peers, Global<const int> rows, int width) {
  unsigned epoch = peers.epochs[block_x()] + 1;
  long long count = static_cast<long long>(*rows) * width;
  long long base = (epoch & 1) * peers.half;
  long long step = static_cast<long long>(blocks_x()) * threads();
  long long first = static_cast<long long>(block_x()) * threads() + thread();
  Global<float> own = peers.staging[peers.rank] + base;
  for (long long i = first; i < count; i += step) {
    own[i] = from[i / width * fromPitch + i % width];
  }
  if (meet(peers, epoch)) {
    for (long long i = first; i < count; i += step) {
      float parts[kMostRanks];
      UNROLL
      for (int r = 0; r < kMostRanks; r++) {
        parts[r] = r < peers.ranks ? peers.staging[r][base + i] : 0.0f;
      }
      float sum = add_ranks(parts, peers.ranks);
      int c = static_cast<int>(i % width);
      sum = bias != nullptr ? sum + bias[c] : sum;
      Global<float> at = to + (i / width * toPitch + c);
      *at = add != 0 ? *at + sum : sum;
    }
  }
  block_barrier();
  if (thread() == 0) {
    peers.epochs[block_x()] = epoch;
  }
}
BATON_KERNEL(all_reduce)

// A rank's columns into everybody's rows; out begins at its first column.
KERNEL(256) copy_columns(Global<float> out, int outPitch, Global<const float> part, int partPitch,
                         Global<const int> rows, int width) {
  long long row = block_y();
  int c = block_x() * threads() + thread();
  if (row < *rows && c < width) {
    out[row * outPitch + c] = part[row * partPitch + c];
  }
}
BATON_KERNEL(copy_columns)

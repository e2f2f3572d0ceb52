// Attention of single tokens, bound by reading keys and values: a block has one token, up to sixteen of the query heads
// that share a KV head, and one split of 256 positions. Its four warps share a tile: a quarter of the positions each
// for the scores, a quarter of the dimensions each for the values. attention_join folds the splits.

#include "attention.h"

namespace baton {
namespace {

constexpr int kSingleThreads = 128;
constexpr int kMostWidth = 128;
constexpr int kHeads = 16;  // query heads of a block

// What the warps tell each other, in floats behind the tiles.
struct Exchange {
  Shared<float> most;       // [4][16]
  Shared<float> sums;       // [4][32][2]
  Shared<unsigned> weights; // [4][32][4]

  template <int WIDTH>
  DEVICE static Exchange at() {
    constexpr int kFrom = 2 * TileLayout<WIDTH>::kElements * 2;
    return {shared_at<float>(kFrom), shared_at<float>(kFrom + 256), shared_at<unsigned>(kFrom + 1280)};
  }
};

template <int WIDTH, typename Scales>
DEVICE void attend_tile(float (&result)[WIDTH / 32][4], float (&runningMost)[2], float (&runningSums)[2],
                        const Queries<WIDTH>& queries, const Sight (&seen)[2], Shared<bf16> tile, const Scales& scales,
                        int start, float base, const Exchange& exchange) {
  int g = lane() / 4;
  int own = warp() * 16;
  float scores[2][4];
  UNROLL
  for (int j = 0; j < 2; j++) {
    score<WIDTH>(scores[j], queries, tile, own + j * 8, scales);
  }
  float most[2];
  largest<2>(most, scores, seen, start + own, base);
  if (lane() % 4 == 0) {
    exchange.most[warp() * 16 + g] = most[0];
    exchange.most[warp() * 16 + g + 8] = most[1];
  }
  block_barrier();
  float correction[2];
  UNROLL
  for (int i = 0; i < 2; i++) {
    most[i] = runningMost[i];
    UNROLL
    for (int j = 0; j < kGroups; j++) {
      most[i] = larger(most[i], exchange.most[j * 16 + g + i * 8]);
    }
    correction[i] = power_of_two(runningMost[i] - most[i]);
    runningMost[i] = most[i];
  }
  unsigned weights[4];
  weigh(weights, runningSums, scores[0], scores[1], seen, start + own, base, most, correction, scales);
  UNROLL
  for (int i = 0; i < 4; i++) {
    exchange.weights[(i * 4 + warp()) * 32 + lane()] = weights[i];
  }
  UNROLL
  for (int d = 0; d < WIDTH / 32; d++) {
    correct(result[d], correction);
  }
  block_barrier();
  UNROLL
  for (int group = 0; group < kGroups; group++) {
    UNROLL
    for (int i = 0; i < 4; i++) {
      weights[i] = exchange.weights[(i * 4 + group) * 32 + lane()];
    }
    add_values<WIDTH>(result, weights, tile, group * 16, warp() * (WIDTH / 32));
  }
}

template <int WIDTH, bool BYTES>
DEVICE void attend_single(Global<float> partials, Global<float> stats, int splits, Global<const float> q, int qPitch,
                          int heads, const KvLayer& layer, const Batch& batch, float scale, int window) {
  int group = heads / layer.heads;
  int headTiles = (group + kHeads - 1) / kHeads;
  int single = block_x();
  int kvHead = block_y() / headTiles;
  int firstHead = block_y() % headTiles * kHeads;
  int split = block_z();
  if (single >= batch.counts[4]) {
    return;
  }
  int token = batch.singles[single];
  Sight all = sight_of(batch.positions[token], window);
  Sight seen = {at_least(all.first, split * kSplit), at_most(all.last, split * kSplit + kSplit - 1)};
  if (seen.last < seen.first) {
    return;
  }
  int g = lane() / 4;
  Global<const float> row = q + (static_cast<long long>(token) * qPitch + (kvHead * group + firstHead) * layer.headDim);
  Global<const float> own[2];
  Sight rows[2];
  UNROLL
  for (int i = 0; i < 2; i++) {
    bool real = firstHead + g + i * 8 < group;
    own[i] = nullptr;
    if (real) {
      own[i] = row + (g + i * 8) * layer.headDim;
    }
    rows[i] = real ? seen : Sight{0, -1};
  }
  Queries<WIDTH> queries;
  queries.load(own[0], own[1], layer.headDim);
  Global<const int> table = batch.tables + static_cast<long long>(batch.sequenceOf[token]) * batch.maxBlocks;
  Exchange exchange = Exchange::at<WIDTH>();
  float most[2] = {kLowest, kLowest};
  float sums[2] = {0.0f, 0.0f};
  float result[WIDTH / 32][4] = {};
  float base = scale * kLog2E;
  int from = seen.first / kPositions;
  int to = seen.last / kPositions;
  Tiles<WIDTH, kSingleThreads, BYTES> tiles = {layer, kvHead, table, seen, from};
  tiles.copy(from);
  copies_committed();
  for (int tile = from; tile <= to; tile++) {
    if (tile < to) {
      tiles.copy(tile + 1);
    }
    copies_committed();
    copies_waited<1>();
    block_barrier();
    tiles.open(tile);
    attend_tile<WIDTH>(result, most, sums, queries, rows, tiles.at(tile), tiles.scales(tile), tile * kPositions, base,
                       exchange);
    block_barrier();
  }
  UNROLL
  for (int i = 0; i < 2; i++) {
    exchange.sums[(warp() * 32 + lane()) * 2 + i] = sums[i];
  }
  block_barrier();
  UNROLL
  for (int i = 0; i < 2; i++) {
    float of[kGroups];
    UNROLL
    for (int j = 0; j < kGroups; j++) {
      of[j] = exchange.sums[(j * 32 + lane()) * 2 + i];
    }
    float sum = row_sum((of[0] + of[1]) + (of[2] + of[3]));
    if (firstHead + g + i * 8 >= group) {
      continue;
    }
    int head = kvHead * group + firstHead + g + i * 8;
    long long at = (static_cast<long long>(single) * heads + head) * splits + split;
    if (warp() == 0 && lane() % 4 == 0) {
      stats[at * 2] = most[i];
      stats[at * 2 + 1] = sum;
    }
    UNROLL
    for (int d = 0; d < WIDTH / 32; d++) {
      UNROLL
      for (int j = 0; j < 2; j++) {
        int column = (warp() * (WIDTH / 32) + d) * 8 + lane() % 4 * 2 + j;
        if (column < layer.width) {
          partials[at * layer.width + column] = result[d][i * 2 + j];
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

#define ATTENTION_SINGLES(NAME, WIDTH, BYTES)                                                                          \
  KERNEL(128) NAME(Global<float> partials, Global<float> stats, int splits, Global<const float> q, int qPitch,         \
                   int heads, KvLayer layer, Batch batch, float scale, int window) {                                   \
    attend_single<WIDTH, BYTES>(partials, stats, splits, q, qPitch, heads, layer, batch, scale, window);               \
  }

ATTENTION_SINGLES(attention_singles_32, 32, false)
BATON_KERNEL(attention_singles_32)
ATTENTION_SINGLES(attention_singles_64, 64, false)
BATON_KERNEL(attention_singles_64)
ATTENTION_SINGLES(attention_singles_128, 128, false)
BATON_KERNEL(attention_singles_128)
ATTENTION_SINGLES(attention_singles_int8_32, 32, true)
BATON_KERNEL(attention_singles_int8_32)
ATTENTION_SINGLES(attention_singles_int8_64, 64, true)
BATON_KERNEL(attention_singles_int8_64)
ATTENTION_SINGLES(attention_singles_int8_128, 128, true)
BATON_KERNEL(attention_singles_int8_128)

// Folds a row's splits in order.
KERNEL(32) attention_join(Global<float> out, int outPitch, Global<bf16> rounded, Packing packing,
                          Global<const float> partials, Global<const float> stats, int splits, int heads, KvLayer layer,
                          Batch batch, int window) {
  int single = block_x();
  int head = block_y();
  if (single >= batch.counts[4]) {
    return;
  }
  int token = batch.singles[single];
  Sight seen = sight_of(batch.positions[token], window);
  long long first = (static_cast<long long>(single) * heads + head) * splits;
  float most = kLowest;
  float sum = 0.0f;
  float result[kMostWidth / 32] = {};
  for (int split = seen.first / kSplit; split <= seen.last / kSplit; split++) {
    Global<const float> stat = stats + (first + split) * 2;
    Fold by = fold(most, stat[0]);
    sum = by.of(sum, stat[1]);
    Global<const float> partial = partials + (first + split) * layer.width;
    UNROLL
    for (int i = 0; i < kMostWidth / 32; i++) {
      int d = i * 32 + lane();
      if (d < layer.width) {
        result[i] = by.of(result[i], partial[d]);
      }
    }
  }
  float inverse = 1.0f / sum;
  UNROLL
  for (int i = 0; i < kMostWidth / 32; i++) {
    int d = i * 32 + lane();
    if (d < layer.headDim) {
      float value = result[i] * inverse;
      int column = head * layer.headDim + d;
      if (out != nullptr) {
        out[static_cast<long long>(token) * outPitch + column] = value;
      }
      if (rounded != nullptr) {
        put_rounded(rounded, packing, token, column, value);
      }
    }
  }
}
BATON_KERNEL(attention_join)

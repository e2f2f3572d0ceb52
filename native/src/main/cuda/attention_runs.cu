// Attention of runs of tokens, bound by the matrix units: a block has 128 rows, a row being a token and one of the
// query heads that share a KV head, sixteen for each warp; keys and values pass through shared memory, a tile ahead.

#include "attention.h"

namespace baton {
namespace {

constexpr int kRunThreads = 256;
constexpr int kRunRows = kRunThreads / 32 * 16;
constexpr int kSplitTiles = kSplit / kPositions;

// A lane's two rows: which token and head, and what they see.
struct Rows {
  int token[2];
  int head[2];
  Sight seen[2];
};

DEVICE Rows rows_of(const Batch& batch, int run, int first, int group, int kvHead, int window) {
  Rows rows;
  int tokens = batch.runs[run * 2 + 1];
  UNROLL
  for (int i = 0; i < 2; i++) {
    int row = first + lane() / 4 + i * 8;
    bool real = row < tokens * group;
    rows.token[i] = real ? batch.runs[run * 2] + row / group : -1;
    rows.head[i] = kvHead * group + row % group;
    rows.seen[i] = real ? sight_of(batch.positions[rows.token[i]], window) : Sight{0, -1};
  }
  return rows;
}

template <int WIDTH, typename Scales>
DEVICE void attend_tile(float (&result)[WIDTH / 8][4], Running& running, const Queries<WIDTH>& queries,
                        const Rows& rows, Shared<bf16> tile, const Scales& scales, int start, float base) {
  float scores[8][4];
  UNROLL
  for (int j = 0; j < 8; j++) {
    score<WIDTH>(scores[j], queries, tile, j * 8, scales);
  }
  float most[2];
  largest<8>(most, scores, rows.seen, start, base);
  float correction[2];
  UNROLL
  for (int i = 0; i < 2; i++) {
    most[i] = larger(most[i], running.most[i]);
    correction[i] = power_of_two(running.most[i] - most[i]);
    running.most[i] = most[i];
  }
  UNROLL
  for (int d = 0; d < WIDTH / 8; d++) {
    correct(result[d], correction);
  }
  UNROLL
  for (int group = 0; group < kGroups; group++) {
    unsigned weights[4];
    float sums[2] = {running.sums[0][group], running.sums[1][group]};
    weigh(weights, sums, scores[group * 2], scores[group * 2 + 1], rows.seen, start + group * 16, base, most,
          correction, scales);
    running.sums[0][group] = sums[0];
    running.sums[1][group] = sums[1];
    add_values<WIDTH>(result, weights, tile, group * 16, 0);
  }
}

// Eights of dimensions whose results of the splits before wait in shared memory: of the widest heads there are more than
// registers hold, and these are touched once in a split.
template <int WIDTH>
constexpr int kFoldedInShared = WIDTH == 128 ? 7 : 0;

// Results of the splits before: of the first eights of dimensions behind the tiles in shared memory, [eight][4][thread],
// each thread's own; of the others in registers.
template <int WIDTH>
struct Folded {
  static constexpr int kShared = kFoldedInShared<WIDTH>;
  float most[2];
  float sum[2];
  float kept[WIDTH / 8 - kShared][4];

  DEVICE static Shared<float> at(int d, int i) {
    return shared_at<float>(2 * TileLayout<WIDTH>::kElements * 2) + ((d * 4 + i) * kRunThreads + thread());
  }

  DEVICE float result(int d, int i) const { return d < kShared ? static_cast<float>(at(d, i)[0]) : kept[d - kShared][i]; }

  DEVICE void put(int d, int i, float value) {
    if (d < kShared) {
      at(d, i)[0] = value;
    } else {
      kept[d - kShared][i] = value;
    }
  }

  DEVICE void clear() {
    UNROLL
    for (int i = 0; i < 2; i++) {
      most[i] = kLowest;
      sum[i] = 0.0f;
    }
    UNROLL
    for (int d = 0; d < WIDTH / 8; d++) {
      UNROLL
      for (int i = 0; i < 4; i++) {
        put(d, i, 0.0f);
      }
    }
  }

  // Takes a split in and lets the next one begin.
  DEVICE void take(float (&split)[WIDTH / 8][4], Running& running) {
    UNROLL
    for (int row = 0; row < 2; row++) {
      const float(&sums)[kGroups] = running.sums[row];
      float own = row_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
      Fold by = fold(most[row], running.most[row]);
      sum[row] = by.of(sum[row], own);
      UNROLL
      for (int d = 0; d < WIDTH / 8; d++) {
        UNROLL
        for (int i = row * 2; i < row * 2 + 2; i++) {
          put(d, i, by.of(result(d, i), split[d][i]));
          split[d][i] = 0.0f;
        }
      }
    }
    running.clear();
  }
};

template <int WIDTH, bool BYTES>
DEVICE void attend_run(Global<float> out, int outPitch, Global<bf16> rounded, const Packing& packing,
                       Global<const float> q, int qPitch, int heads, const KvLayer& layer, const Batch& batch,
                       float scale, int window) {
  // The last run of a prompt sees most: it begins first, so that at the end short ones fill the gaps.
  int run = blocks_x() - 1 - block_x();
  int group = heads / layer.heads;
  int first = block_z() * kRunRows;
  if (run >= batch.counts[3] || first >= batch.runs[run * 2 + 1] * group) {
    return;
  }
  Rows rows = rows_of(batch, run, first + warp() * 16, group, block_y(), window);
  Global<const float> own[2];
  UNROLL
  for (int i = 0; i < 2; i++) {
    own[i] = nullptr;
    if (rows.token[i] >= 0) {
      own[i] = q + (static_cast<long long>(rows.token[i]) * qPitch + rows.head[i] * layer.headDim);
    }
  }
  Queries<WIDTH> queries;
  queries.load(own[0], own[1], layer.headDim);
  int firstToken = batch.runs[run * 2];
  int lastRow = at_most(first + kRunRows, batch.runs[run * 2 + 1] * group) - 1;
  Sight seen = {sight_of(batch.positions[firstToken + first / group], window).first,
                batch.positions[firstToken + lastRow / group]};
  Global<const int> table = batch.tables + static_cast<long long>(batch.sequenceOf[firstToken]) * batch.maxBlocks;
  bool busy = first + warp() * 16 <= lastRow;

  Running running;
  running.clear();
  Folded<WIDTH> folded;
  folded.clear();
  float result[WIDTH / 8][4] = {};
  float base = scale * kLog2E;
  int from = seen.first / kPositions;
  int to = seen.last / kPositions;
  Tiles<WIDTH, kRunThreads, BYTES> tiles = {layer, block_y(), table, seen, from};
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
    if (busy) {
      attend_tile<WIDTH>(result, running, queries, rows, tiles.at(tile), tiles.scales(tile), tile * kPositions, base);
      if (tile == to || (tile + 1) % kSplitTiles == 0) {
        folded.take(result, running);
      }
    }
    block_barrier();
  }
  // Through the warp's own part of shared memory, which all tiles have left: [16][WIDTH, 4 unused].
  constexpr int kPitch = WIDTH + 4;
  Shared<float> shared = shared_at<float>(warp() * 16 * kPitch * 4);
  UNROLL
  for (int row = 0; row < 2; row++) {
    float inverse = 1.0f / folded.sum[row];
    UNROLL
    for (int d = 0; d < WIDTH / 8; d++) {
      UNROLL
      for (int i = 0; i < 2; i++) {
        int at = (lane() / 4 + row * 8) * kPitch + d * 8 + lane() % 4 * 2 + i;
        shared[at] = folded.result(d, row * 2 + i) * inverse;
      }
    }
  }
  warp_barrier();
  int count = at_most(16, lastRow + 1 - (first + warp() * 16)) * layer.headDim;
  for (int i = lane(); i < count; i += 32) {
    int row = first + warp() * 16 + i / layer.headDim;
    int token = firstToken + row / group;
    int column = (block_y() * group + row % group) * layer.headDim + i % layer.headDim;
    float value = shared[i / layer.headDim * kPitch + i % layer.headDim];
    if (out != nullptr) {
      out[static_cast<long long>(token) * outPitch + column] = value;
    }
    if (rounded != nullptr) {
      put_rounded(rounded, packing, token, column, value);
    }
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

#define ATTENTION_RUNS(NAME, WIDTH, BYTES)                                                                             \
  KERNEL(256) NAME(Global<float> out, int outPitch, Global<bf16> rounded, Packing packing, Global<const float> q,      \
                   int qPitch, int heads, KvLayer layer, Batch batch, float scale, int window) {                       \
    attend_run<WIDTH, BYTES>(out, outPitch, rounded, packing, q, qPitch, heads, layer, batch, scale, window);          \
  }

ATTENTION_RUNS(attention_runs_32, 32, false)
BATON_KERNEL(attention_runs_32)
ATTENTION_RUNS(attention_runs_64, 64, false)
BATON_KERNEL(attention_runs_64)
ATTENTION_RUNS(attention_runs_128, 128, false)
BATON_KERNEL(attention_runs_128)
ATTENTION_RUNS(attention_runs_int8_32, 32, true)
BATON_KERNEL(attention_runs_int8_32)
ATTENTION_RUNS(attention_runs_int8_64, 64, true)
BATON_KERNEL(attention_runs_int8_64)
ATTENTION_RUNS(attention_runs_int8_128, 128, true)
BATON_KERNEL(attention_runs_int8_128)

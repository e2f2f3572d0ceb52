// Causal attention over paged KV, with a running maximum and sum.
//
// Queries that read the same KV head of the same sequence, heads of a group and neighbouring tokens, go through the tiles
// together, up to QUERIES at a time, and share every loaded key and value. In a tile the sixteen positions are the lanes
// of the scores, so a score is summed in one lane in order of the dimension; values are added in order of position. A
// query does nothing in a tile of which it sees no position, so the company it is in changes none of its bits.
//
// A position that a query does not see counts as a score of minus infinity before the maximum and as a weight of exactly
// 0 after it, and its value is never read: what an unwritten slot holds cannot matter.
//
// Bytes: keys and values of the context once per query group. Operations: 4 * head_dim per query and position, and one
// exponential. Decode is bound by memory bandwidth, prefill by FMA throughput.
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

static constexpr int MAX_HEAD_DIM = 512;

struct Query {
  const float* q;
  float* out;
  int first;  // the first and the last position that it sees
  int last;
};

struct Cache {
  const int32_t* table;  // of the sequence
  int64_t block_stride;
  int block_tokens;
  int dim;
};

template <int Q, class T>
static void attend(const Query* queries, const T* head, const Cache& cache, float scale) {
  const int dim = cache.dim;
  float results[Q][MAX_HEAD_DIM];
  float weights[Q][LANES];
  float corrections[LANES] = {};
  float maxima[Q];
  Lanes sums[Q];
  int from_tile = queries[0].first / LANES;
  int to_tile = queries[0].last / LANES;
  for (int q = 0; q < Q; q++) {
    for (int d = 0; d < dim; d += LANES) {
      store(results[q] + d, zero());
    }
    maxima[q] = -__builtin_inff();
    sums[q] = zero();
    from_tile = smaller(from_tile, queries[q].first / LANES);
    to_tile = larger(to_tile, queries[q].last / LANES);
  }
  for (int t = from_tile; t <= to_tile; t++) {
    const int start = t * LANES;
    const T* block = head + cache.table[start / cache.block_tokens] * cache.block_stride;
    const int slot = start % cache.block_tokens;
    const T* keys = block + static_cast<int64_t>(slot) * dim;
    const T* values = block + static_cast<int64_t>(cache.block_tokens + slot) * dim;

    Lanes scores[Q];
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      scores[q] = zero();
    }
    for (int d = 0; d < dim; d++) {
      const Lanes key = load(keys + d * LANES);
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        scores[q] = fma(all(queries[q].q[d]), key, scores[q]);
      }
    }

    bool all_full = true;
    int from[Q];
    int to[Q];
    for (int q = 0; q < Q; q++) {
      from[q] = larger(0, queries[q].first - start);
      to[q] = smaller(LANES, queries[q].last + 1 - start);
      all_full = all_full && from[q] == 0 && to[q] == LANES;
      if (from[q] >= to[q]) {
        continue;
      }
      scores[q] = within(mul(scores[q], all(scale)), from[q], to[q], all(-__builtin_inff()));
      const float largest = max(scores[q]);
      const float maximum = largest > maxima[q] ? largest : maxima[q];
      corrections[q] = maxima[q] - maximum;
      maxima[q] = maximum;
    }
    store(corrections, exp(load(corrections)));
    for (int q = 0; q < Q; q++) {
      if (from[q] < to[q]) {
        const Lanes weight = within(exp(sub(scores[q], all(maxima[q]))), from[q], to[q], zero());
        sums[q] = fma(sums[q], all(corrections[q]), weight);
        store(weights[q], weight);
      }
    }

    if (all_full) {
      for (int d = 0; d < dim; d += LANES) {
        const int n = smaller(LANES, dim - d);
        Lanes result[Q];
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          result[q] = mul(load(results[q] + d), all(corrections[q]));
        }
        for (int j = 0; j < LANES; j++) {
          const T* at = values + static_cast<int64_t>(j) * dim + d;
          const Lanes value = n == LANES ? load(at) : load(at, n);
#pragma GCC unroll 8
          for (int q = 0; q < Q; q++) {
            result[q] = fma(all(weights[q][j]), value, result[q]);
          }
        }
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          store(results[q] + d, result[q]);
        }
      }
    } else {
      for (int q = 0; q < Q; q++) {
        for (int d = 0; d < dim && from[q] < to[q]; d += LANES) {
          const int n = smaller(LANES, dim - d);
          Lanes result = mul(load(results[q] + d), all(corrections[q]));
          for (int j = from[q]; j < to[q]; j++) {
            const T* at = values + static_cast<int64_t>(j) * dim + d;
            result = fma(all(weights[q][j]), n == LANES ? load(at) : load(at, n), result);
          }
          store(results[q] + d, result);
        }
      }
    }
  }
  for (int q = 0; q < Q; q++) {
    const Lanes inverse = all(1.0f / sum(sums[q]));
    for (int d = 0; d < dim; d += LANES) {
      store(queries[q].out + d, mul(load(results[q] + d), inverse), smaller(LANES, dim - d));
    }
  }
}

template <int Q, class T>
static void attend_all(const Query* queries, int n, const T* head, const Cache& cache, float scale) {
  for (; n >= Q; queries += Q, n -= Q) {
    attend<Q>(queries, head, cache, scale);
  }
  if constexpr (Q > 1) {
    attend_all<Q / 2>(queries, n, head, cache, scale);
  }
}

struct Step {
  float* out;
  int64_t out_stride;
  const float* q;
  int64_t q_stride;
  const int32_t* positions;
  int32_t kv_heads;
  int32_t heads;
  float scale;
  int32_t window;
  Share share;
};

// The tokens [from, to) of one sequence. Up to QUERIES queries of one KV head are a unit; `unit` counts them, and every
// parts-th belongs to the share, because later tokens see more positions than earlier ones.
template <class T>
static void attend_sequence(const Step& s, const T* layer, const Cache& cache, int from, int to, int& unit) {
  const int group = s.heads / s.kv_heads;
  for (int kv_head = 0; kv_head < s.kv_heads; kv_head++) {
    const T* head = layer + static_cast<int64_t>(kv_head) * 2 * cache.block_tokens * cache.dim;
    Query queries[QUERIES];
    int n = 0;
    bool ours = unit++ % s.share.parts == s.share.part;
    for (int token = from; token < to; token++) {
      const int last = s.positions[token];
      const int first = s.window == 0 ? 0 : larger(0, last - s.window + 1);
      for (int g = 0; g < group; g++) {
        const int64_t column = static_cast<int64_t>(kv_head * group + g) * cache.dim;
        if (n == QUERIES) {
          attend_all<QUERIES>(queries, ours ? n : 0, head, cache, s.scale);
          ours = unit++ % s.share.parts == s.share.part;
          n = 0;
        }
        queries[n++] = {s.q + token * s.q_stride + column, s.out + token * s.out_stride + column, first, last};
      }
    }
    attend_all<QUERIES>(queries, ours ? n : 0, head, cache, s.scale);
  }
}

void attention(Share share, float* out, int64_t out_stride, const float* q, int64_t q_stride, const uint8_t* layer, int32_t dtype,
               int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads, const int32_t* positions,
               const int32_t* sequences, const int32_t* tables, int32_t table_stride, int32_t tokens, float scale,
               int32_t window) noexcept {
  const Step step = {out, out_stride, q, q_stride, positions, kv_heads, heads, scale, window, share};
  Cache cache = {tables, static_cast<int64_t>(kv_heads) * 2 * block_tokens * head_dim, block_tokens, head_dim};
  int unit = 0;
  for (int from = 0; from < tokens;) {
    int to = from + 1;
    while (to < tokens && sequences[to] == sequences[from]) {
      to++;
    }
    cache.table = tables + static_cast<int64_t>(sequences[from]) * table_stride;
    if (dtype == BFLOAT16) {
      attend_sequence(step, reinterpret_cast<const uint16_t*>(layer), cache, from, to, unit);
    } else {
      attend_sequence(step, reinterpret_cast<const float*>(layer), cache, from, to, unit);
    }
    from = to;
  }
}

}  // namespace BATON_TIER
}  // namespace baton

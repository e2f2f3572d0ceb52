// Causal attention over paged KV in float32, with a running maximum and sum.
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
#include "attention.h"

namespace baton {
namespace BATON_TIER {

template <int Q>
static void attend(const Query* queries, const Cache& cache, float scale) {
  const int dim = cache.layout.dim;
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
    const uint8_t* head = cache.head(start);
    const float* keys = cache.layout.keys<float>(head, cache.slot(start));
    const float* values = cache.layout.values<float>(head, cache.slot(start));

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
          const float* at = values + static_cast<int64_t>(j) * dim + d;
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
            const float* at = values + static_cast<int64_t>(j) * dim + d;
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

template <int Q>
static void attend_all(const Query* queries, int n, const Cache& cache, float scale) {
  for (; n >= Q; queries += Q, n -= Q) {
    attend<Q>(queries, cache, scale);
  }
  if constexpr (Q > 1) {
    attend_all<Q / 2>(queries, n, cache, scale);
  }
}

void attention(Share share, float* out, int64_t out_stride, const float* q, int64_t q_stride, const uint8_t* layer, int32_t dtype,
               int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads, const int32_t* positions,
               const int32_t* sequences, const int32_t* tables, int32_t table_stride, int32_t tokens, float scale,
               int32_t window) noexcept {
  const KvLayout layout(dtype, block_tokens, kv_heads, head_dim);
  const Step step = {out,    out_stride,   q,      q_stride, layer, positions, sequences,
                     tables, table_stride, tokens, kv_heads, heads, window};
  if (dtype != FLOAT32) {
    attention_narrow(share, step, layout, scale);
    return;
  }
  Query queries[2 * QUERIES];
  each_unit(share, step, layout, QUERIES, false, queries, [&](const Unit& unit, const Unit*) {
    attend_all<QUERIES>(unit.queries, unit.n, Cache{layout, unit.layer_head, unit.table}, scale);
  });
}

}  // namespace BATON_TIER
}  // namespace baton

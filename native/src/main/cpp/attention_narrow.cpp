// Causal attention over paged bfloat16 or int8 KV on vectors: the bits of the matrix units (attention_amx.cpp).
//
// Up to QUERIES queries of one KV head go through the tiles together and share every loaded pair. Of scores the lanes are
// sixteen positions, of values sixteen dims; both products sum 32 terms at a time, even and odd ones alone. int8 elements
// are widened as they are loaded, which is exact.
//
// Bytes: keys and values of the context once per QUERIES queries. Operations: 4 * width per query and position, and one
// power. One token's queries are bound by memory bandwidth, many by FMA throughput: of two loads of a pair, one shift and
// one mask serve QUERIES FMA each.
#include "attention_tiles.h"

namespace baton {
namespace BATON_TIER {

struct Work {
  float queries[QUERIES][MAX_HEAD_DIM];
  float results[QUERIES][MAX_HEAD_DIM];
  float weights[QUERIES][TILE];  // rounded, for the values
  uint16_t seen[HALVES][HALF * MAX_HEAD_DIM];
};

static thread_local Work work;

static inline Lanes to_bfloat16(Lanes v) {
  float values[LANES];
  store(values, v);
  for (int i = 0; i < LANES; i++) {
    values[i] = widen(narrow(values[i]));
  }
  return load(values);
}

// Asks for a line of the next tile with every line of the present one that is used: the tiles lie in blocks anywhere, and
// one tile is about as far ahead as memory needs.
template <class T>
static inline void ask_for(const T* pairs, int i) {
  if (sizeof(T) == 2 || i % 4 == 0) {
    __builtin_prefetch(pairs, 0, 2);  // into the second cache: the first one has too few requests under way
  }
}

// Scores of Q queries with sixteen keys, before any scale.
template <int Q, class T>
static inline void score(const T* keys, const T* next, int width, Lanes* scores) {
  Lanes sums[Q];
#pragma GCC unroll 8
  for (int q = 0; q < Q; q++) {
    sums[q] = zero();
  }
  for (int d = 0; d < width; d += DEPTH) {
    Lanes even[Q];
    Lanes odd[Q];
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      even[q] = zero();
      odd[q] = zero();
    }
    for (int i = d; i < d + DEPTH; i += 2, keys += 2 * LANES, next += 2 * LANES) {
      ask_for(next, i);
      const Lanes first = evens(keys);
      const Lanes second = odds(keys);
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[q] = fma(all(work.queries[q][i]), first, even[q]);
        odd[q] = fma(all(work.queries[q][i + 1]), second, odd[q]);
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      sums[q] = add(sums[q], add(even[q], odd[q]));
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < Q; q++) {
    scores[q] = sums[q];
  }
}

// results += weights of one half tile * its values.
template <int Q, class T>
static inline void add_values(const T* values, const T* next, int width, int at) {
  for (int d = 0; d < width; d += LANES) {
    Lanes even[Q];
    Lanes odd[Q];
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      even[q] = zero();
      odd[q] = zero();
    }
    for (int i = at; i < at + HALF; i += 2, values += 2 * LANES, next += 2 * LANES) {
      ask_for(next, i);
      const Lanes first = evens(values);
      const Lanes second = odds(values);
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[q] = fma(all(work.weights[q][i]), first, even[q]);
        odd[q] = fma(all(work.weights[q][i + 1]), second, odd[q]);
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      store(work.results[q] + d, add(load(work.results[q] + d), add(even[q], odd[q])));
    }
  }
}

template <int Q, class T>
static void attend(const Query* queries, const Cache& cache, float scale) {
  const int dim = cache.layout.dim;
  const int width = cache.layout.width;
  const Lanes base = all(scale * LOG2_E);
  float maxima[Q];
  Lanes sums[Q];
  int first = queries[0].first;
  int last = queries[0].last;
  for (int q = 0; q < Q; q++) {
    for (int d = 0; d < width; d += LANES) {
      const int n = larger(0, smaller(LANES, dim - d));
      store(work.queries[q] + d, to_bfloat16(load(queries[q].q + smaller(d, dim), n)));
      store(work.results[q] + d, zero());
    }
    maxima[q] = LOWEST;
    sums[q] = zero();
    first = smaller(first, queries[q].first);
    last = larger(last, queries[q].last);
  }
  for (int start = first / TILE * TILE; start <= last; start += TILE) {
    Half<T> halves[HALVES];
    int begin;
    const int end = halves_of(cache, start, first, last, halves, &begin, work.seen);
    const T* next_keys[HALVES];
    const T* next_values[HALVES];
    for (int h = begin; h < end; h++) {
      const int ahead = smaller(start + TILE + h * HALF, last);
      const uint8_t* head = cache.head(ahead);
      const int slot = cache.slot(ahead) / HALF * HALF;
      next_keys[h] = cache.layout.keys<T>(head, slot);
      next_values[h] = cache.layout.values<T>(head, slot);
    }

    Lanes scores[GROUPS][Q];
    for (int g = begin * 2; g < end * 2; g++) {
      const Half<T>& half = halves[g / 2];
      score<Q>(half.keys + g % 2 * LANES * width, next_keys[g / 2] + g % 2 * LANES * width, width, scores[g]);
      if constexpr (sizeof(T) == 1) {
        for (int q = 0; q < Q; q++) {
          scores[g][q] = mul(scores[g][q], load(half.key_scales + g % 2 * LANES));
        }
      }
    }

    for (int q = 0; q < Q; q++) {
      Lanes largest = all(-__builtin_inff());
      for (int g = begin * 2; g < end * 2; g++) {
        const int at = start + g * LANES;
        scores[g][q] = within(scores[g][q], larger(0, queries[q].first - at),
                              larger(0, smaller(LANES, queries[q].last + 1 - at)), all(-__builtin_inff()));
        largest = larger_of(scores[g][q], largest);
      }
      const Lanes before = all(maxima[q]);
      const Lanes maximum = larger_of(mul(all(max(largest)), base), before);
      const Lanes correction = power(sub(before, maximum));
      float maximum_lanes[LANES];
      store(maximum_lanes, maximum);
      maxima[q] = maximum_lanes[0];
      Lanes weights[GROUPS];
      for (int g = 0; g < GROUPS; g++) {
        weights[g] = zero();
        if (g < begin * 2 || g >= end * 2) {
          continue;
        }
        const int at = start + g * LANES;
        const int from = larger(0, queries[q].first - at);
        const int to = larger(0, smaller(LANES, queries[q].last + 1 - at));
        const Lanes weight = power(fms(scores[g][q], base, maximum));
        weights[g] = within(weight, from, to, zero());
        Lanes scaled = weights[g];
        if constexpr (sizeof(T) == 1) {
          scaled = within(mul(weight, load(halves[g / 2].value_scales + g % 2 * LANES)), from, to, zero());
        }
        store(work.weights[q] + g * LANES, to_bfloat16(scaled));
      }
      sums[q] = fma(sums[q], correction, add(add(weights[0], weights[1]), add(weights[2], weights[3])));
      for (int d = 0; d < width; d += LANES) {
        store(work.results[q] + d, mul(load(work.results[q] + d), correction));
      }
    }

    for (int h = begin; h < end; h++) {
      add_values<Q>(halves[h].values, next_values[h], width, h * HALF);
    }
  }
  for (int q = 0; q < Q; q++) {
    const Lanes inverse = all(1.0f / sum(sums[q]));
    for (int d = 0; d < dim; d += LANES) {
      store(queries[q].out + d, mul(load(work.results[q] + d), inverse), smaller(LANES, dim - d));
    }
  }
}

template <int Q, class T>
static void attend_all(const Query* queries, int n, const Cache& cache, float scale) {
  for (; n >= Q; queries += Q, n -= Q) {
    attend<Q, T>(queries, cache, scale);
  }
  if constexpr (Q > 1) {
    attend_all<Q / 2, T>(queries, n, cache, scale);
  }
}

void attention_narrow(Share share, const Step& step, const KvLayout& layout, float scale) noexcept {
  const DenormalsAsZero mode;
  Query queries[QUERIES];
  each_unit(share, step, layout, QUERIES, queries, [&](const Query* unit, int n, const Cache& cache) {
    if (layout.dtype == BFLOAT16) {
      attend_all<QUERIES, uint16_t>(unit, n, cache, scale);
    } else {
      attend_all<QUERIES, int8_t>(unit, n, cache, scale);
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

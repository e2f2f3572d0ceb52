// Causal attention over paged bfloat16 or int8 KV on vectors: the bits of the matrix units (attention_amx.cpp).
//
// A unit is up to BLOCKS * QUERIES queries of one KV head. It goes once through the positions that any of its queries sees,
// a tile of 64 at a time, block by block: the queries of a block share every loaded pair, its blocks the tile in the nearest
// cache. Of scores the lanes are sixteen positions, of values sixteen dims; both products sum 32 terms at a time, even and
// odd ones alone. int8 elements are widened as they are loaded, which is exact. Where a query's maximum has not changed the
// correction is 1, and its results are left as they are. A block that sees nothing of a tile skips it; masks are only used
// where some query of a block sees a tile in part.
//
// Bytes: keys and values of the context once per unit. Operations: 4 * width per query and position, and one power. One
// token's queries are bound by memory bandwidth, many by FMA throughput: of two loads of a pair, one shift and one mask
// serve QUERIES FMA each.
#include "attention_tiles.h"

namespace baton {
namespace BATON_TIER {

static constexpr int BLOCKS = 8;
static constexpr int UNIT = BLOCKS * QUERIES;

// Bounds a unit's queries and results: BLOCKS blocks of heads up to this wide, fewer of wider ones.
static constexpr int UNIT_WIDTH = 128;

struct Work {
  float queries[UNIT * UNIT_WIDTH];  // rounded, [query][width]
  float results[UNIT * UNIT_WIDTH];
  float sums[UNIT][LANES];
  float maxima[UNIT];
  float weights[QUERIES][TILE];  // of a block, rounded, for the values
};

static thread_local Work work_of_thread;

// Some queries that are computed together, and the positions that they see.
struct Block {
  const Query* queries;
  int at;  // of the unit's queries
  int first;  // any query
  int last;
  int full_from;  // every query
  int full_to;
};

// The tile under way, what of it any query of the unit sees, and where the next one's keys and values lie.
template <class T>
struct Tile {
  int start;
  int from;  // positions of the tile
  int to;
  int begin;  // of its halves
  int end;
  int begin_group;
  int end_group;
  Half<T> halves[HALVES];
  const T* next_keys[HALVES];
  const T* next_values[HALVES];
};

// Asks for a line of the next tile with every line of the present one that is used: the tiles lie in blocks anywhere, and
// one tile is about as far ahead as memory needs.
template <class T>
static inline void ask_for(const T* pairs, int i) {
  if (sizeof(T) == 2 || i % 4 == 0) {
    __builtin_prefetch(pairs, 0, 2);  // into the second cache: the first one has too few requests under way
  }
}

// Scores of Q queries with sixteen keys, before any scale.
template <int Q, bool ASKS, class T>
static inline void score(const float* queries, const T* keys, const T* next, int width, Lanes* scores) {
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
      if (ASKS) {
        ask_for(next, i);
      }
      const Lanes first = evens(keys);
      const Lanes second = odds(keys);
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[q] = fma(all(queries[q * width + i]), first, even[q]);
        odd[q] = fma(all(queries[q * width + i + 1]), second, odd[q]);
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

// results += weights * values. Positions that nobody sees are left out: their slots may hold NaN, which a weight of 0 does
// not stop. What they would add is +0, which makes a -0 of very small products a +0.
template <int Q, bool ASKS, class T>
static inline void add_values(const Work& work, float* results, const Tile<T>& tile, int width) {
  for (int d = 0; d < width; d += LANES) {
    Lanes sums[Q];
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      sums[q] = load(results + q * width + d);
    }
    for (int h = tile.begin; h < tile.end; h++) {
      const int from = larger(tile.from, h * HALF);
      const int to = smaller(tile.to, h * HALF + HALF);
      const T* values = tile.halves[h].values + d * HALF - h * HALF * LANES;  // a position's pair begins at LANES times it
      const T* next = tile.next_values[h] + d * HALF - h * HALF * LANES;
      Lanes even[Q];
      Lanes odd[Q];
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[q] = zero();
        odd[q] = zero();
      }
      const auto add_even = [&](int i) {
        const Lanes first = evens(values + i * LANES);
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          even[q] = fma(all(work.weights[q][i]), first, even[q]);
        }
      };
      const auto add_odd = [&](int i) {
        const Lanes second = odds(values + i * LANES);
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          odd[q] = fma(all(work.weights[q][i + 1]), second, odd[q]);
        }
      };
      const auto add_pairs = [&](int i, int end) {
        for (; i < end; i += 2) {
          if (ASKS) {
            ask_for(next + i * LANES, i);
          }
          add_even(i);
          add_odd(i);
        }
      };
      if (to - from == HALF) {
        add_pairs(h * HALF, h * HALF + HALF);
      } else {
        if (from % 2 != 0) {
          add_odd(from - 1);
        }
        add_pairs(from + from % 2, to - to % 2);
        if (to % 2 != 0) {
          add_even(to - 1);
        }
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          even[q] = add(even[q], zero());
          odd[q] = add(odd[q], zero());
        }
      }
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        sums[q] = add(sums[q], add(even[q], odd[q]));
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      store(results + q * width + d, sums[q]);
    }
  }
}

// Scores to weights; maxima, sums and results of a block are brought up to date.
template <int Q, bool MASKED, class T>
static inline void weigh(Work& work, Lanes (&scores)[GROUPS][Q], const Tile<T>& tile, const Block& block, int width,
                         float scale) {
  const Lanes base = all(scale);
  const int begin = MASKED ? tile.begin_group : 0;
  const int end = MASKED ? tile.end_group : GROUPS;
  for (int q = 0; q < Q; q++) {
    const int first = block.queries[q].first - tile.start;
    const int past = block.queries[q].last + 1 - tile.start;
    const auto seen = [&](Lanes v, int g, Lanes other) {
      return MASKED ? within(v, larger(0, first - g * LANES), larger(0, smaller(LANES, past - g * LANES)), other) : v;
    };
    Lanes largest = all(-__builtin_inff());
    for (int g = begin; g < end; g++) {
      scores[g][q] = seen(scores[g][q], g, all(-__builtin_inff()));
      largest = larger_of(scores[g][q], largest);
    }
    float& maximum = work.maxima[block.at + q];
    const float before = maximum;
    const float scaled = max(largest) * scale;
    Lanes correction = all(1.0f);
    if (scaled > before) {
      maximum = scaled;
      correction = power(sub(all(before), all(maximum)));
      float* results = work.results + (block.at + q) * width;
      for (int d = 0; d < width; d += LANES) {
        store(results + d, mul(load(results + d), correction));
      }
    }
    Lanes weights[GROUPS];
    for (int g = 0; g < GROUPS; g++) {
      weights[g] = zero();
      if (g >= begin && g < end) {
        const Lanes weight = power(fms(scores[g][q], base, all(maximum)));
        weights[g] = seen(weight, g, zero());
        Lanes to_values = weights[g];
        if constexpr (sizeof(T) == 1) {  // masked behind the scale, which nobody may have written
          to_values = seen(mul(weight, load(tile.halves[g / 2].value_scales + g % 2 * LANES)), g, zero());
        }
        store(work.weights[q] + g * LANES, rounded(to_values));
      }
    }
    float* sums = work.sums[block.at + q];
    store(sums, fma(load(sums), correction, add(add(weights[0], weights[1]), add(weights[2], weights[3]))));
  }
}

// One tile for the queries of one block. ASKS: for the next tile.
template <int Q, bool ASKS, class T>
static inline void attend_tile(Work& work, const Tile<T>& tile, const Block& block, int width, float scale) {
  Lanes scores[GROUPS][Q];
  for (int g = tile.begin_group; g < tile.end_group; g++) {
    const Half<T>& half = tile.halves[g / 2];
    const int group = g % 2 * LANES * width;
    score<Q, ASKS>(work.queries + block.at * width, half.keys + group, tile.next_keys[g / 2] + group, width, scores[g]);
    if constexpr (sizeof(T) == 1) {
      for (int q = 0; q < Q; q++) {
        scores[g][q] = mul(scores[g][q], load(half.key_scales + g % 2 * LANES));
      }
    }
  }
  if (tile.from == 0 && tile.to == TILE && tile.start >= block.full_from && tile.start + TILE - 1 <= block.full_to) {
    weigh<Q, false>(work, scores, tile, block, width, scale);
  } else {
    weigh<Q, true>(work, scores, tile, block, width, scale);
  }
  add_values<Q, ASKS>(work, work.results + block.at * width, tile, width);
}

// Cuts n queries into blocks of at most Q; `blocks` has room for them.
template <int Q>
static inline int cut(const Query* queries, int n, int at, Block* blocks) {
  int count = 0;
  for (; n - at >= Q; at += Q) {
    Block& block = blocks[count++];
    block = {queries + at, at, queries[at].first, queries[at].last, queries[at].first, queries[at].last};
    for (int q = 1; q < Q; q++) {
      const Query& query = queries[at + q];
      block.first = smaller(block.first, query.first);
      block.last = larger(block.last, query.last);
      block.full_from = larger(block.full_from, query.first);
      block.full_to = smaller(block.full_to, query.last);
    }
  }
  if constexpr (Q > 1) {
    count += cut<Q / 2>(queries, n, at, blocks + count);
  }
  return count;
}

// All of a unit's blocks, the ones of Q queries first, go through a tile.
template <int Q, bool ASKS, class T>
static inline void all_blocks(Work& work, const Tile<T>& tile, const Block* blocks, int n, int at, int width, float scale) {
  bool asks = ASKS;
  for (; n - at >= Q; at += Q, blocks++) {
    if (tile.start > blocks->last || tile.start + TILE <= blocks->first) {
      continue;
    }
    if (asks) {
      attend_tile<Q, true>(work, tile, *blocks, width, scale);
    } else {
      attend_tile<Q, false>(work, tile, *blocks, width, scale);
    }
    asks = false;
  }
  if constexpr (Q > 1) {
    if (asks) {
      all_blocks<Q / 2, true>(work, tile, blocks, n, at, width, scale);
    } else {
      all_blocks<Q / 2, false>(work, tile, blocks, n, at, width, scale);
    }
  }
}

template <class T>
static void attend(const Query* queries, int n, const Cache& cache, const Unit* next, float scale) {
  Work& work = work_of_thread;
  const int dim = cache.layout.dim;
  const int width = cache.layout.width;
  for (int q = 0; q < n; q++) {
    for (int d = 0; d < width; d += LANES) {
      const int left = larger(0, smaller(LANES, dim - d));
      store(work.queries + q * width + d, rounded(load(queries[q].q + smaller(d, dim), left)));
      store(work.results + q * width + d, zero());
    }
    work.maxima[q] = LOWEST;
    store(work.sums[q], zero());
  }
  Block blocks[BLOCKS + QUERIES];
  const int count = cut<QUERIES>(queries, n, 0, blocks);
  int first = queries[0].first;
  int last = queries[0].last;
  for (int i = 0; i < count; i++) {
    first = smaller(first, blocks[i].first);
    last = larger(last, blocks[i].last);
  }
  for (int start = first / TILE * TILE; start <= last; start += TILE) {
    Tile<T> tile;
    tile.start = start;
    tile.from = larger(0, first - start);
    tile.to = smaller(TILE, last + 1 - start);
    tile.begin = tile.from / HALF;
    tile.end = (tile.to + HALF - 1) / HALF;
    tile.begin_group = tile.from / LANES;
    tile.end_group = (tile.to + LANES - 1) / LANES;
    for (int h = tile.begin; h < tile.end; h++) {
      tile.halves[h] = half_at<T>(cache, start + h * HALF);
    }
    const bool goes_on = start + TILE <= last || next == nullptr;
    const Cache coming = goes_on ? cache : Cache{cache.layout, next->layer_head, next->table};
    const int coming_start = goes_on ? start + TILE : next->queries[0].first / TILE * TILE;
    const int coming_last = goes_on ? last : next->queries[next->n - 1].last;
    for (int h = tile.begin; h < tile.end; h++) {
      const Half<T> ahead = half_at<T>(coming, smaller(coming_start + h * HALF, coming_last) / HALF * HALF);
      tile.next_keys[h] = ahead.keys;
      tile.next_values[h] = ahead.values;
    }
    all_blocks<QUERIES, true>(work, tile, blocks, n, 0, width, scale);
  }
  for (int q = 0; q < n; q++) {
    const Lanes inverse = all(1.0f / sum(load(work.sums[q])));
    for (int d = 0; d < dim; d += LANES) {
      store(queries[q].out + d, mul(load(work.results + q * width + d), inverse), smaller(LANES, dim - d));
    }
  }
}

void attention_narrow(Share share, const Step& step, const KvLayout& layout, float scale) noexcept {
  const DenormalsAsZero mode;
  const int most = larger(1, smaller(BLOCKS, BLOCKS * UNIT_WIDTH / layout.width)) * QUERIES;
  const float base = scale * LOG2_E;
  Query queries[2 * UNIT];
  each_unit(share, step, layout, most, queries, [&](const Query* unit, int n, const Cache& cache, const Unit* next) {
    if (layout.dtype == BFLOAT16) {
      attend<uint16_t>(unit, n, cache, next, base);
    } else {
      attend<int8_t>(unit, n, cache, next, base);
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

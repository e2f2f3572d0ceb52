// Causal attention over paged bfloat16 or int8 KV on vectors: the bits of the matrix units (attention_amx.cpp).
//
// A unit is up to BLOCKS * QUERIES queries of one KV head, or of several where one token has so few: their keys and values
// lie behind each other in memory. It goes once through the positions that any of its queries sees, a tile of 64 at a time,
// head by head, block by block: the queries of a block share every loaded pair, its blocks the tile in the nearest cache. Of
// scores the lanes are sixteen positions, of values sixteen dims; both products sum 32 terms at a time, even and odd ones
// alone. int8 elements are widened as they are loaded, which is exact. Where a query's maximum has not changed the
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
// one tile is about as far ahead as memory needs. Always inline: a function that only prefetches is dropped by the compiler
// as one without effect.
template <class T>
__attribute__((always_inline)) static inline void ask_for(const T* pairs, int i) {
  if (sizeof(T) == 2 || i % 4 == 0) {
    __builtin_prefetch(pairs, 0, 2);  // into the second cache: the first one has too few requests under way
  }
}

// Whether Q queries take both halves of a tile side by side, as far as registers go: that hides the latency of FMA, shares
// what is loaded of a query, and memory is asked for in more pages at once. Two places in one page were slower.
template <int Q>
static constexpr bool SIDE_BY_SIDE = Q <= QUERIES_OF_TWO;

// Scores of Q queries with sixteen keys of each of N halves, before any scale.
template <int Q, int N, bool ASKS, class T>
static inline void score(const float* queries, const T* const (&keys)[N], const T* const (&next)[N], int width,
                         Lanes (&scores)[N][Q]) {
#pragma GCC unroll 2
  for (int h = 0; h < N; h++) {
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      scores[h][q] = zero();
    }
  }
  for (int d = 0; d < width; d += DEPTH) {
    Lanes even[N][Q];
    Lanes odd[N][Q];
#pragma GCC unroll 2
    for (int h = 0; h < N; h++) {
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[h][q] = zero();
        odd[h][q] = zero();
      }
    }
    for (int i = d; i < d + DEPTH; i += 2) {
      Lanes first[N];
      Lanes second[N];
#pragma GCC unroll 2
      for (int h = 0; h < N; h++) {
        if (ASKS) {
          ask_for(next[h] + i * LANES, i);
        }
        first[h] = evens(keys[h] + i * LANES);
        second[h] = odds(keys[h] + i * LANES);
      }
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        const Lanes to_first = all(queries[q * width + i]);
        const Lanes to_second = all(queries[q * width + i + 1]);
#pragma GCC unroll 2
        for (int h = 0; h < N; h++) {
          even[h][q] = fma(to_first, first[h], even[h][q]);
          odd[h][q] = fma(to_second, second[h], odd[h][q]);
        }
      }
    }
#pragma GCC unroll 2
    for (int h = 0; h < N; h++) {
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        scores[h][q] = add(scores[h][q], add(even[h][q], odd[h][q]));
      }
    }
  }
}

// Scores of Q queries with all groups of keys of a tile that are seen.
template <int Q, bool ASKS, class T>
static inline void score_tile(const float* queries, const Tile<T>& tile, int width, Lanes (&scores)[GROUPS][Q]) {
  if constexpr (SIDE_BY_SIDE<Q>) {
    if (tile.begin_group == 0 && tile.end_group == GROUPS) {
      for (int group = 0; group < GROUPS / HALVES; group++) {
        const int at = group * LANES * width;
        Lanes both[HALVES][Q];
        score<Q, HALVES, ASKS>(queries, {tile.halves[0].keys + at, tile.halves[1].keys + at},
                               {tile.next_keys[0] + at, tile.next_keys[1] + at}, width, both);
        for (int q = 0; q < Q; q++) {
          scores[group][q] = both[0][q];
          scores[GROUPS / HALVES + group][q] = both[1][q];
        }
      }
      return;
    }
  }
  for (int g = tile.begin_group; g < tile.end_group; g++) {
    const int at = g % 2 * LANES * width;
    Lanes one[1][Q];
    score<Q, 1, ASKS>(queries, {tile.halves[g / 2].keys + at}, {tile.next_keys[g / 2] + at}, width, one);
    for (int q = 0; q < Q; q++) {
      scores[g][q] = one[0][q];
    }
  }
}

// results += weights * values of a tile that is seen as a whole, both halves side by side.
template <int Q, bool ASKS, class T>
static inline void add_all_values(const Work& work, float* results, const Tile<T>& tile, int width) {
  for (int d = 0; d < width; d += LANES) {
    Lanes even[HALVES][Q];
    Lanes odd[HALVES][Q];
#pragma GCC unroll 2
    for (int h = 0; h < HALVES; h++) {
#pragma GCC unroll 8
      for (int q = 0; q < Q; q++) {
        even[h][q] = zero();
        odd[h][q] = zero();
      }
    }
    for (int i = 0; i < HALF; i += 2) {
#pragma GCC unroll 2
      for (int h = 0; h < HALVES; h++) {
        const int at = d * HALF + i * LANES;
        if (ASKS) {
          ask_for(tile.next_values[h] + at, i);
        }
        const Lanes first = evens(tile.halves[h].values + at);
        const Lanes second = odds(tile.halves[h].values + at);
#pragma GCC unroll 8
        for (int q = 0; q < Q; q++) {
          even[h][q] = fma(all(work.weights[q][h * HALF + i]), first, even[h][q]);
          odd[h][q] = fma(all(work.weights[q][h * HALF + i + 1]), second, odd[h][q]);
        }
      }
    }
#pragma GCC unroll 8
    for (int q = 0; q < Q; q++) {
      Lanes sum = load(results + q * width + d);
#pragma GCC unroll 2
      for (int h = 0; h < HALVES; h++) {
        sum = add(sum, add(even[h][q], odd[h][q]));
      }
      store(results + q * width + d, sum);
    }
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
  score_tile<Q, ASKS>(work.queries + block.at * width, tile, width, scores);
  if constexpr (sizeof(T) == 1) {
    for (int g = tile.begin_group; g < tile.end_group; g++) {
      const Lanes scales = load(tile.halves[g / 2].key_scales + g % 2 * LANES);
      for (int q = 0; q < Q; q++) {
        scores[g][q] = mul(scores[g][q], scales);
      }
    }
  }
  const bool whole = tile.from == 0 && tile.to == TILE;
  if (whole && tile.start >= block.full_from && tile.start + TILE - 1 <= block.full_to) {
    weigh<Q, false>(work, scores, tile, block, width, scale);
  } else {
    weigh<Q, true>(work, scores, tile, block, width, scale);
  }
  float* results = work.results + block.at * width;
  if constexpr (SIDE_BY_SIDE<Q>) {
    if (whole) {
      add_all_values<Q, ASKS>(work, results, tile, width);
      return;
    }
  }
  add_values<Q, ASKS>(work, results, tile, width);
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

// The halves of a tile in the unit's first head, as far as it has positions up to `last`; beyond that, those of `last`.
template <class T>
static inline void find_halves(const Cache& cache, int start, int last, Half<T>* halves) {
  for (int h = 0; h < HALVES; h++) {
    halves[h] = half_at<T>(cache, smaller(start + h * HALF, last) / HALF * HALF);
  }
}

// The same half in the head behind.
template <class T>
static inline Half<T> of_next_head(const Half<T>& half, int64_t head_bytes) {
  const int64_t elements = head_bytes / static_cast<int64_t>(sizeof(T));
  Half<T> next = {half.keys + elements, half.values + elements, nullptr, nullptr};
  if constexpr (sizeof(T) == 1) {
    const int64_t floats = head_bytes / static_cast<int64_t>(sizeof(float));
    next.key_scales = half.key_scales + floats;
    next.value_scales = half.value_scales + floats;
  }
  return next;
}

template <class T>
static void attend(const Unit& unit, const Unit* next, const KvLayout& layout, float scale) {
  Work& work = work_of_thread;
  const int dim = layout.dim;
  const int width = layout.width;
  const Query* queries = unit.queries;
  for (int q = 0; q < unit.n; q++) {
    for (int d = 0; d < width; d += LANES) {
      const int left = larger(0, smaller(LANES, dim - d));
      store(work.queries + q * width + d, rounded(load(queries[q].q + smaller(d, dim), left)));
      store(work.results + q * width + d, zero());
    }
    work.maxima[q] = LOWEST;
    store(work.sums[q], zero());
  }
  Block blocks[UNIT];
  const int n = unit.n / unit.heads;
  int count = 0;
  for (int head = 0; head < unit.heads; head++) {
    count = cut<QUERIES>(queries + head * n, n, 0, blocks + head * count);
    for (int i = 0; i < count; i++) {
      blocks[head * count + i].at += head * n;
    }
  }
  int first = queries[0].first;
  int last = queries[0].last;
  for (int i = 0; i < count; i++) {
    first = smaller(first, blocks[i].first);
    last = larger(last, blocks[i].last);
  }
  const Cache cache = {layout, unit.layer_head, unit.table};
  Half<T> coming[HALVES];
  find_halves(cache, first / TILE * TILE, last, coming);
  for (int start = first / TILE * TILE; start <= last; start += TILE) {
    Tile<T> tile;
    tile.start = start;
    tile.from = larger(0, first - start);
    tile.to = smaller(TILE, last + 1 - start);
    tile.begin = tile.from / HALF;
    tile.end = (tile.to + HALF - 1) / HALF;
    tile.begin_group = tile.from / LANES;
    tile.end_group = (tile.to + LANES - 1) / LANES;
    Half<T> after[HALVES];
    if (start + TILE <= last || next == nullptr) {
      find_halves(cache, start + TILE, last, after);
    } else {
      find_halves(Cache{layout, next->layer_head, next->table}, next->queries[0].first / TILE * TILE,
                  next->queries[next->n - 1].last, after);
    }
    for (int head = 0; head < unit.heads; head++) {
      for (int h = 0; h < HALVES; h++) {
        tile.halves[h] = coming[h];
        coming[h] = head + 1 < unit.heads ? of_next_head(coming[h], layout.head_bytes) : after[h];
        tile.next_keys[h] = coming[h].keys;
        tile.next_values[h] = coming[h].values;
      }
      all_blocks<QUERIES, true>(work, tile, blocks + head * count, n, 0, width, scale);
    }
  }
  for (int q = 0; q < unit.n; q++) {
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
  each_unit(share, step, layout, most, true, queries, [&](const Unit& unit, const Unit* next) {
    if (layout.dtype == BFLOAT16) {
      attend<uint16_t>(unit, next, layout, base);
    } else {
      attend<int8_t>(unit, next, layout, base);
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

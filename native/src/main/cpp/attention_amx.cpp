// Causal attention over paged bfloat16 or int8 KV on the matrix units: products by tdpbf16ps, weights on AVX-512.
//
// A unit is up to ROW_TILES * 16 queries of one KV head of one sequence, neighbouring tokens and the heads of their group,
// in tiles of 16 rows (FlashAttention-2's blocks of queries: Dao, "FlashAttention-2", 2023). It goes once through the
// positions that any of its queries sees, a tile of 64 at a time: scores of 16 rows, [4][16 rows][16 positions], by W / 32
// tdpbf16ps each; their maxima by a tree over the rows; weights, rounded to bfloat16 in [2][16 rows][32 positions]; values,
// 2 tdpbf16ps for each 16 dims, on results that stay in memory, [W / 16][16 rows][16 dims]. W is the head's width in the
// cache (kv_layout.h). Where no maximum has changed the correction is 1, and results are left as they are. Row tiles that
// see nothing of a tile skip it; masks are only used in tiles that some row sees in part. int8 keys and values are widened
// once for all rows of the unit.
//
// Products and weights take turns: while the matrix unit works, vectors of 512 bits are left one of their two ports, and
// this is what weights are bound by. Putting a tile of sums away keeps the matrix unit busy as long as a product.
//
// The next keys and values are asked for in small portions all the time. Where a unit has fewer than sixteen queries, as in
// decode, tiles have no more rows, and missing rows are not weighed.
//
// A query's bits depend on none of the others: each row of a tile is summed alone, and a tile that a row does not see adds
// zeros with a correction of 1.
//
// Bytes: keys and values of the context once per unit. Operations: 4 * W per query and position on the matrix units (16
// cycles for 16384 of them), one power for each on the vector units, about 12 instructions for 16 of them. One
// token's queries are bound by memory bandwidth.

#include <type_traits>

#include "attention_tiles.h"
#include "matrix_unit.h"

namespace baton {
namespace BATON_MATRIX_TIER {

using namespace avx512;

static constexpr int ROWS = 16;
static constexpr int ROW_TILES = 8;
static constexpr int UNIT = ROWS * ROW_TILES;
static constexpr int MATRIX = ROWS * DEPTH;  // bfloat16 elements of a tile
static constexpr int SUMS = ROWS * LANES;    // float32 elements of a tile

// Bounds a unit's queries and results: ROW_TILES tiles of heads up to this wide, fewer of wider ones.
static constexpr int UNIT_WIDTH = 128;

// How many tiles before their use few rows ask for int8 keys and values: two are as many bytes as one of bfloat16.
static constexpr int TILES_AHEAD = 2;

static constexpr unsigned QUERY_TILES = 0x1f;  // of queries, weights and sums; the others are of keys and values

struct alignas(64) MatrixWork {
  uint16_t queries[UNIT * UNIT_WIDTH];  // [row tile][W / 32][16 rows][32]
  float results[UNIT * UNIT_WIDTH];     // [row tile][W / 16][16 rows][16]
  float sums[UNIT][LANES];
  float maxima[UNIT];
  float scores[GROUPS][SUMS];
  uint16_t weights[HALVES][MATRIX];
  float corrections[ROWS];
  uint16_t seen[HALVES][HALF * MAX_HEAD_DIM];
  uint16_t keys[TILE * MAX_HEAD_DIM];  // int8 widened
  uint16_t values[TILE * MAX_HEAD_DIM];
};

static thread_local MatrixWork work;

// What the rows of a row tile see: each row, and all of them.
struct Seen {
  int first[ROWS];
  int last[ROWS];
  int least;  // any row
  int most;
  int full_from;  // every row
  int full_to;
};

// The tile under way.
struct Tile {
  int start;
  int begin;  // of its halves
  int end;
  Half<uint16_t> halves[HALVES];
};

// The next tile's keys and values, asked for in small portions while the present one is worked on: they lie in blocks
// anywhere. Line by line from all of its parts in turn, so that the processor's own prefetching runs in several pages at a
// time. NEAR: into the first-level cache, where a tile of one row tile leaves room for them.
template <bool NEAR>
class Ahead {
 public:
  // `start`: of the next tile; past `last` there is nothing to ask for. `rows` times it will be told to.
  template <class T>
  Ahead(const T*, const Cache& cache, int start, int last, int rows)
      : bytes_(HALF * cache.layout.width * static_cast<int>(sizeof(T))) {
    for (int h = 0; h < HALVES && start + h * HALF <= last; h++) {
      const int from = start + h * HALF;
      const uint8_t* head = cache.head(from);
      parts_[count_++] = reinterpret_cast<const uint8_t*>(cache.layout.keys<T>(head, cache.slot(from)));
      parts_[count_++] = reinterpret_cast<const uint8_t*>(cache.layout.values<T>(head, cache.slot(from)));
    }
    portion_ = (bytes_ / 64 + rows - 1) / rows;
  }

  void ask() {
    for (int i = 0; i < portion_ && at_ < bytes_; i++, at_ += 64) {
      for (int part = 0; part < count_; part++) {
        _mm_prefetch(parts_[part] + at_, NEAR ? _MM_HINT_T0 : _MM_HINT_T1);
      }
    }
  }

 private:
  const uint8_t* parts_[2 * HALVES];
  int count_ = 0;
  int bytes_;
  int portion_;
  int at_ = 0;
};

// scores = queries of one row tile * keys. ASKS: for the next tile, width / 16 times where this one is whole.
template <bool ASKS>
static inline void score(const uint16_t* queries, const Tile& tile, int width, float (*scores)[SUMS], Ahead<ASKS>& ahead) {
  const int group = LANES * width;
  const bool both = tile.begin == 0 && tile.end == HALVES;
  const uint16_t* near = tile.halves[tile.begin].keys;
  const uint16_t* far = tile.halves[tile.end - 1].keys;
  _tile_zero(0);
  _tile_zero(1);
  if (both) {
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int d = 0; d < width; d += DEPTH) {
    const int at = d * LANES;
    _tile_loadd(4, queries + at, 64);
    _tile_loadd(5, near + at, 64);
    if (ASKS) {
      ahead.ask();
    }
    _tile_dpbf16ps(0, 4, 5);
    _tile_loadd(6, near + group + at, 64);
    _tile_dpbf16ps(1, 4, 6);
    if (both) {
      _tile_loadd(7, far + at, 64);
      _tile_dpbf16ps(2, 4, 7);
      if (ASKS) {
        ahead.ask();
      }
      _tile_loadd(5, far + group + at, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_stored(0, scores[tile.begin * 2], 64);
  _tile_stored(1, scores[tile.begin * 2 + 1], 64);
  if (both) {
    _tile_stored(2, scores[2], 64);
    _tile_stored(3, scores[3], 64);
  }
}

// results of one row tile += weights * values. ASKS: for the next tile, 4 times for 64 dims where this one is whole.
template <bool ASKS>
static inline void add_values(float* results, const Tile& tile, int width, Ahead<ASKS>& ahead) {
  int d = 0;
  for (; d + 64 <= width; d += 64) {
    float* to = results + d * ROWS;
    _tile_loadd(0, to, 64);
    _tile_loadd(1, to + SUMS, 64);
    _tile_loadd(2, to + 2 * SUMS, 64);
    _tile_loadd(3, to + 3 * SUMS, 64);
    for (int h = tile.begin; h < tile.end; h++) {
      const uint16_t* values = tile.halves[h].values + d * HALF;
      _tile_loadd(4, work.weights[h], 64);
      _tile_loadd(5, values, 64);
      _tile_dpbf16ps(0, 4, 5);
      if (ASKS) {
        ahead.ask();
      }
      _tile_loadd(6, values + VALUE_GROUP, 64);
      _tile_dpbf16ps(1, 4, 6);
      if (ASKS) {
        ahead.ask();
      }
      _tile_loadd(7, values + 2 * VALUE_GROUP, 64);
      _tile_dpbf16ps(2, 4, 7);
      _tile_loadd(5, values + 3 * VALUE_GROUP, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
    _tile_stored(0, to, 64);
    _tile_stored(1, to + SUMS, 64);
    _tile_stored(2, to + 2 * SUMS, 64);
    _tile_stored(3, to + 3 * SUMS, 64);
  }
  for (; d < width; d += 32) {
    float* to = results + d * ROWS;
    _tile_loadd(0, to, 64);
    _tile_loadd(1, to + SUMS, 64);
    for (int h = tile.begin; h < tile.end; h++) {
      const uint16_t* values = tile.halves[h].values + d * HALF;
      _tile_loadd(4, work.weights[h], 64);
      _tile_loadd(5, values, 64);
      _tile_dpbf16ps(0, 4, 5);
      _tile_loadd(6, values + VALUE_GROUP, 64);
      _tile_dpbf16ps(1, 4, 6);
    }
    _tile_stored(0, to, 64);
    _tile_stored(1, to + SUMS, 64);
  }
}

// Positions [from, to) of sixteen, as bits.
static inline __mmask16 lanes_of(int from, int to) {
  return static_cast<__mmask16>(first_lanes(larger(0, smaller(LANES, to))) & ~first_lanes(larger(0, smaller(LANES, from))));
}

static inline __mmask16 seen_of(const Seen& seen, int row, int at) {
  return lanes_of(seen.first[row] - at, seen.last[row] + 1 - at);
}

// The largest element of each of sixteen vectors.
static inline __m512 row_maxima(__m512* v) {
  for (int i = 0; i < 8; i++) {  // rows i and i + 8: halves of 256 bits
    v[i] = _mm512_max_ps(_mm512_shuffle_f32x4(v[i], v[i + 8], 0x44), _mm512_shuffle_f32x4(v[i], v[i + 8], 0xee));
  }
  for (int i = 0; i < 4; i++) {  // rows i, i + 8, i + 4, i + 12: quarters
    v[i] = _mm512_max_ps(_mm512_shuffle_f32x4(v[i], v[i + 4], 0x88), _mm512_shuffle_f32x4(v[i], v[i + 4], 0xdd));
  }
  for (int i = 0; i < 2; i++) {
    v[i] = _mm512_max_ps(_mm512_shuffle_ps(v[i], v[i + 2], 0x44), _mm512_shuffle_ps(v[i], v[i + 2], 0xee));
  }
  const __m512 all = _mm512_max_ps(_mm512_shuffle_ps(v[0], v[1], 0x88), _mm512_shuffle_ps(v[0], v[1], 0xdd));
  // Lane 4 * q + e holds row [0, 8, 4, 12][q] + [0, 2, 1, 3][e].
  const __m512i order = _mm512_setr_epi32(0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15);
  return _mm512_permutexvar_ps(order, all);
}

// Scores of one row tile to weights; its maxima, sums and results are brought up to date. FEW: of its first `few` rows.
template <bool MASKED, bool SCALED, bool FEW, bool NEAR>
static inline void weigh(float (*scores)[SUMS], const Tile& tile, const Half<int8_t>* scaled, const Seen& seen, int row_tile,
                         int few, int width, float scale, Ahead<NEAR>& ahead) {
  const int rows = FEW ? few : ROWS;
  const __m512 base = _mm512_set1_ps(scale);
  const __m512 nothing = _mm512_set1_ps(-__builtin_inff());
  const int begin = MASKED ? tile.begin * 2 : 0;
  const int end = MASKED ? tile.end * 2 : GROUPS;
  __m512 key_scales[GROUPS];
  __m512 value_scales[GROUPS];
  if constexpr (SCALED) {
    for (int g = begin; g < end; g++) {
      key_scales[g] = _mm512_loadu_ps(scaled[g / 2].key_scales + g % 2 * LANES);
      value_scales[g] = _mm512_loadu_ps(scaled[g / 2].value_scales + g % 2 * LANES);
    }
  }
  __m512 largest[ROWS];
  if constexpr (FEW) {
    for (int row = rows; row < ROWS; row++) {
      largest[row] = nothing;
    }
  }
#pragma GCC unroll 16
  for (int row = 0; row < rows; row++) {
    __m512 most = nothing;
#pragma GCC unroll 4
    for (int g = begin; g < end; g++) {
      __m512 score = _mm512_load_ps(scores[g] + row * LANES);
      if constexpr (SCALED) {
        score = _mm512_mul_ps(score, key_scales[g]);
        _mm512_store_ps(scores[g] + row * LANES, score);
      }
      if constexpr (MASKED) {
        score = _mm512_mask_blend_ps(seen_of(seen, row, tile.start + g * LANES), nothing, score);
      }
      most = _mm512_max_ps(score, most);
    }
    largest[row] = most;
  }
  float* maxima = work.maxima + row_tile * ROWS;
  const __m512 before = _mm512_load_ps(maxima);
  const __m512 maximum = _mm512_max_ps(_mm512_mul_ps(row_maxima(largest), base), before);
  const bool changed = _mm512_cmp_ps_mask(maximum, before, _CMP_NEQ_UQ) != 0;
  _mm512_store_ps(work.corrections, changed ? power({_mm512_sub_ps(before, maximum)}).v : _mm512_set1_ps(1.0f));
  if (changed) {
    _mm512_store_ps(maxima, maximum);
    float* results = work.results + row_tile * ROWS * width;
    for (int d = 0; d < width; d += LANES, results += SUMS) {
#pragma GCC unroll 16
      for (int row = 0; row < rows; row++) {
        float* at = results + row * LANES;
        _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), _mm512_set1_ps(work.corrections[row])));
      }
    }
  }
#pragma GCC unroll 2
  for (int row = 0; row < rows; row++) {
    if constexpr (!(FEW && SCALED)) {
      ahead.ask();
    }
    const __m512 largest_seen = _mm512_set1_ps(maxima[row]);
    __m512 weights[GROUPS];
#pragma GCC unroll 4
    for (int g = 0; g < GROUPS; g++) {
      weights[g] = _mm512_setzero_ps();
      if (g >= begin && g < end) {
        weights[g] = power({_mm512_fmsub_ps(_mm512_load_ps(scores[g] + row * LANES), base, largest_seen)}).v;
        if constexpr (MASKED) {
          weights[g] = _mm512_maskz_mov_ps(seen_of(seen, row, tile.start + g * LANES), weights[g]);
        }
      }
    }
    float* sums = work.sums[row_tile * ROWS + row];
    const __m512 weight = _mm512_add_ps(_mm512_add_ps(weights[0], weights[1]), _mm512_add_ps(weights[2], weights[3]));
    _mm512_store_ps(sums, _mm512_fmadd_ps(_mm512_load_ps(sums), _mm512_set1_ps(work.corrections[row]), weight));
    if constexpr (SCALED) {
#pragma GCC unroll 4
      for (int g = begin; g < end; g++) {
        weights[g] = _mm512_mul_ps(weights[g], value_scales[g]);
        if constexpr (MASKED) {  // a scale that nobody has written
          weights[g] = _mm512_maskz_mov_ps(seen_of(seen, row, tile.start + g * LANES), weights[g]);
        }
      }
    }
#pragma GCC unroll 2
    for (int h = 0; h < HALVES; h++) {
      _mm512_store_si512(work.weights[h] + row * DEPTH,
                         reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(weights[2 * h + 1], weights[2 * h])));
    }
  }
}

// ASKS: for as many elements from `soon` on, too.
template <bool ASKS>
static inline void widen_all(const int8_t* from, int n, uint16_t* to, const int8_t* soon) {
  for (int i = 0; i < n; i += 32) {
    if (ASKS && i % 64 == 0) {
      _mm_prefetch(soon + i, _MM_HINT_T1);
    }
    const __m512 low = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
    const __m512 high =
        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i + 16))));
    _mm512_store_si512(to + i, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
  }
}

// The queries of a row tile, rounded, missing rows and elements as zeros, and what they see.
static void stage(const Query* queries, int n, int dim, int width, int row_tile, Seen& seen) {
  seen.least = queries[0].first;
  seen.most = queries[0].last;
  seen.full_from = queries[0].first;
  seen.full_to = queries[0].last;
  for (int row = 0; row < ROWS; row++) {
    const Query& query = queries[smaller(row, n - 1)];
    seen.first[row] = query.first;
    seen.last[row] = query.last;
    seen.least = smaller(seen.least, query.first);
    seen.most = larger(seen.most, query.last);
    seen.full_from = larger(seen.full_from, query.first);
    seen.full_to = smaller(seen.full_to, query.last);
    work.maxima[row_tile * ROWS + row] = LOWEST;
    _mm512_store_ps(work.sums[row_tile * ROWS + row], _mm512_setzero_ps());
    for (int d = 0; d < width; d += DEPTH) {
      const int left = row < n ? dim - d : 0;
      const __m512 low = _mm512_maskz_loadu_ps(first_lanes(larger(0, left)), query.q + d);
      const __m512 high = _mm512_maskz_loadu_ps(first_lanes(larger(0, left - LANES)), query.q + d + LANES);
      uint16_t* to = work.queries + (row_tile * ROWS * width + d * ROWS) + row * DEPTH;
      _mm512_store_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)));
    }
  }
  float* results = work.results + row_tile * ROWS * width;
  for (int i = 0; i < ROWS * width; i += LANES) {
    _mm512_store_ps(results + i, _mm512_setzero_ps());
  }
}

static void finish(const Query* queries, int n, int dim, int width, int row_tile) {
  for (int row = 0; row < n; row++) {
    const __m512 inverse = _mm512_set1_ps(1.0f / sum(load(work.sums[row_tile * ROWS + row])));
    for (int d = 0; d < dim; d += LANES) {
      const float* from = work.results + row_tile * ROWS * width + d * ROWS + row * LANES;
      _mm512_mask_storeu_ps(queries[row].out + d, first_lanes(smaller(LANES, dim - d)),
                            _mm512_mul_ps(_mm512_load_ps(from), inverse));
    }
  }
}

// FEW: n is less than ROWS, as in a step that decodes, and the tiles are configured so.
template <bool SCALED, bool FEW>
static void attend(const Query* queries, int n, const Cache& cache, float scale) {
  constexpr bool ASKS = FEW && !SCALED;  // int8 is asked for while it is widened
  const int dim = cache.layout.dim;
  const int width = cache.layout.width;
  const int row_tiles = (n + ROWS - 1) / ROWS;
  Seen seen[ROW_TILES];
  int first = queries[0].first;
  int last = queries[0].last;
  for (int i = 0; i < row_tiles; i++) {
    stage(queries + i * ROWS, smaller(ROWS, n - i * ROWS), dim, width, i, seen[i]);
    first = smaller(first, seen[i].least);
    last = larger(last, seen[i].most);
  }
  for (int start = first / TILE * TILE; start <= last; start += TILE) {
    Tile tile;
    Half<int8_t> scaled[HALVES];
    tile.start = start;
    if constexpr (SCALED) {
      tile.end = halves_of(cache, start, first, last, scaled, &tile.begin, work.seen);
      for (int h = tile.begin; h < tile.end; h++) {
        tile.halves[h].keys = work.keys + h * HALF * width;
        tile.halves[h].values = work.values + h * HALF * width;
        const int soon = smaller(start + TILES_AHEAD * TILE + h * HALF, last);
        const uint8_t* head = cache.head(soon);
        const int slot = cache.slot(soon) / HALF * HALF;
        widen_all<FEW>(scaled[h].keys, HALF * width, work.keys + h * HALF * width, cache.layout.keys<int8_t>(head, slot));
        widen_all<FEW>(scaled[h].values, HALF * width, work.values + h * HALF * width,
                       cache.layout.values<int8_t>(head, slot));
      }
    } else {
      tile.end = halves_of(cache, start, first, last, tile.halves, &tile.begin, work.seen);
    }
    using Stored = std::conditional_t<SCALED, int8_t, uint16_t>;
    Ahead<ASKS> ahead(static_cast<const Stored*>(nullptr), cache, start + TILE, last,
                ASKS ? n + width / 16 + width / 64 * 4 : row_tiles * ROWS);
    for (int i = 0; i < row_tiles; i++) {
      if (start > seen[i].most || start + TILE <= seen[i].least) {
        continue;
      }
      score<ASKS>(work.queries + i * ROWS * width, tile, width, work.scores, ahead);
      const bool full =
          tile.begin == 0 && tile.end == HALVES && start >= seen[i].full_from && start + TILE - 1 <= seen[i].full_to;
      if (full) {
        weigh<false, SCALED, FEW>(work.scores, tile, scaled, seen[i], i, n, width, scale, ahead);
      } else {
        weigh<true, SCALED, FEW>(work.scores, tile, scaled, seen[i], i, n, width, scale, ahead);
      }
      add_values<ASKS>(work.results + i * ROWS * width, tile, width, ahead);
    }
  }
  for (int i = 0; i < row_tiles; i++) {
    finish(queries + i * ROWS, smaller(ROWS, n - i * ROWS), dim, width, i);
  }
}

void attention(Share share, float* out, int64_t out_stride, const float* q, int64_t q_stride, const uint8_t* layer, int32_t dtype,
               int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads, const int32_t* positions,
               const int32_t* sequences, const int32_t* tables, int32_t table_stride, int32_t tokens, float scale,
               int32_t window) noexcept {
  const KvLayout layout(dtype, block_tokens, kv_heads, head_dim);
  const Step step = {out,    out_stride,   q,      q_stride, layer, positions, sequences,
                     tables, table_stride, tokens, kv_heads, heads, window};
  if (dtype == FLOAT32) {
    avx512::attention(share, out, out_stride, q, q_stride, layer, dtype, block_tokens, kv_heads, head_dim, heads, positions,
                      sequences, tables, table_stride, tokens, scale, window);
    return;
  }
  const DenormalsAsZero mode;
  int configured = 0;
  const int row_tiles = larger(1, smaller(ROW_TILES, ROW_TILES * UNIT_WIDTH / layout.width));
  const float base = scale * LOG2_E;
  Query queries[2 * UNIT];
  each_unit(share, step, layout, row_tiles * ROWS, false, queries, [&](const Unit& unit, const Unit*) {
    const Cache cache = {layout, unit.layer_head, unit.table};
    const int n = unit.n;
    const int own_rows = smaller(n, ROWS);
    if (own_rows != configured) {
      const TileConfig config = config_of(QUERY_TILES, own_rows);
      _tile_loadconfig(&config);
      configured = own_rows;
    }
    if (n < ROWS) {
      dtype == BFLOAT16 ? attend<false, true>(unit.queries, n, cache, base) : attend<true, true>(unit.queries, n, cache, base);
    } else {
      dtype == BFLOAT16 ? attend<false, false>(unit.queries, n, cache, base) : attend<true, false>(unit.queries, n, cache, base);
    }
  });
  if (configured > 0) {
    _tile_release();
  }
}

}  // namespace BATON_MATRIX_TIER
}  // namespace baton

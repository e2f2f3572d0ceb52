// Into and out of the KV cache: rotated keys and values of a step, and slabs.
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// Rotates the pairs (i, i + dim / 2) of one head in place.
static inline void rotate(float* x, int dim, const float* cosines, const float* sines) {
  const int half = dim / 2;
  for (int d = 0; d < half; d += LANES) {
    const int n = smaller(LANES, half - d);
    const Lanes a = load(x + d, n);
    const Lanes b = load(x + half + d, n);
    const Lanes c = load(cosines + d, n);
    const Lanes s = load(sines + d, n);
    store(x + d, fms(a, c, mul(b, s)), n);
    store(x + half + d, fma(b, c, mul(a, s)), n);
  }
}

// q [tokens, heads * dim] is rotated in place, k [tokens, kv_heads * dim] too, then stored with v: a key into column
// `position % 16` of its tile, a value as a row. Bytes: q twice, k and v once, the cache's rows once; bound by memory.
template <class T>
static void store_token(const float* key, const float* value, T* head, int block_tokens, int slot, int dim) {
  T* keys = head + static_cast<int64_t>(slot / LANES) * LANES * dim + slot % LANES;
  T* values = head + static_cast<int64_t>(block_tokens + slot) * dim;
  for (int d = 0; d < dim; d++) {
    put(keys + d * LANES, key[d]);
    put(values + d, value[d]);
  }
}

void rope_store(Share share, float* q, int64_t q_stride, float* k, int64_t k_stride, const float* v, int64_t v_stride,
                const float* cosines, int64_t cosines_stride, const float* sines, int64_t sines_stride, uint8_t* layer,
                int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads,
                const int32_t* positions, const int32_t* sequences, const int32_t* tables, int32_t table_stride,
                int32_t tokens) noexcept {
  const int64_t head_stride = static_cast<int64_t>(2) * block_tokens * head_dim;
  for (int token = first_of(share, tokens); token < end_of(share, tokens); token++) {
    const int position = positions[token];
    const float* c = cosines + position * cosines_stride;
    const float* s = sines + position * sines_stride;
    for (int h = 0; h < heads; h++) {
      rotate(q + token * q_stride + static_cast<int64_t>(h) * head_dim, head_dim, c, s);
    }
    const int64_t block = tables[static_cast<int64_t>(sequences[token]) * table_stride + position / block_tokens];
    const int slot = position % block_tokens;
    for (int h = 0; h < kv_heads; h++) {
      float* key = k + token * k_stride + static_cast<int64_t>(h) * head_dim;
      const float* value = v + token * v_stride + static_cast<int64_t>(h) * head_dim;
      rotate(key, head_dim, c, s);
      const int64_t at = (block * kv_heads + h) * head_stride;
      if (dtype == BFLOAT16) {
        store_token(key, value, reinterpret_cast<uint16_t*>(layer) + at, block_tokens, slot, head_dim);
      } else {
        store_token(key, value, reinterpret_cast<float*>(layer) + at, block_tokens, slot, head_dim);
      }
    }
  }
}

static inline void move(const float* from, float* to) { __builtin_memcpy(to, from, 4); }
static inline void move(const uint16_t* from, uint16_t* to) { __builtin_memcpy(to, from, 2); }
static inline void move(const uint16_t* from, float* to) { put(to, get(from)); }
static inline void move(const float* from, uint16_t* to) { put(to, get(from)); }

// One row of `dim` elements, dense in the slab, `step` elements apart in the cache.
template <class T, class S>
static inline void copy_row(T* cached, int step, S* slab, int dim, bool to_slab) {
  if (to_slab) {
    for (int d = 0; d < dim; d++) {
      move(cached + static_cast<int64_t>(d) * step, slab + d);
    }
  } else {
    for (int d = 0; d < dim; d++) {
      move(slab + d, cached + static_cast<int64_t>(d) * step);
    }
  }
}

template <class T, class S>
static void copy(T* layer, int block_tokens, int kv_heads, int dim, const int32_t* table, int head, int heads,
                 int token_from, int token_to, S* slab, int64_t slab_head_stride, bool values, bool to_slab) {
  const int64_t head_stride = static_cast<int64_t>(2) * block_tokens * dim;
  for (int h = 0; h < heads; h++) {
    S* row = slab + h * slab_head_stride;
    for (int token = token_from; token < token_to; token++, row += dim) {
      const int slot = token % block_tokens;
      T* start = layer + (static_cast<int64_t>(table[token / block_tokens]) * kv_heads + head + h) * head_stride;
      if (values) {
        copy_row(start + static_cast<int64_t>(block_tokens + slot) * dim, 1, row, dim, to_slab);
      } else {
        copy_row(start + static_cast<int64_t>(slot / LANES) * LANES * dim + slot % LANES, LANES, row, dim, to_slab);
      }
    }
  }
}

// Keys or values of one layer: heads [head, head + heads) of the cache, positions [token_from, token_to), to or from
// [head][token][dim] at `slab`, which may have any alignment. Bytes: each element read once and written once; bound by
// memory for values, by one element a cycle for keys, which lie across.
void copy_kv(Share share, uint8_t* layer, int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, const void* table,
             int32_t head, int32_t heads, int32_t token_from, int32_t token_to, void* slab, int32_t slab_dtype,
             int64_t slab_head_stride, int32_t values, int32_t to_slab) noexcept {
  const int32_t* blocks = static_cast<const int32_t*>(table);
  const int first = first_of(share, heads);
  const int end = end_of(share, heads);
  const auto with = [&](auto* cached, auto* wire) {
    copy(cached, block_tokens, kv_heads, head_dim, blocks, head + first, end - first, token_from, token_to,
         wire + first * slab_head_stride, slab_head_stride, values != 0, to_slab != 0);
  };
  uint16_t* const narrow_layer = reinterpret_cast<uint16_t*>(layer);
  float* const wide_layer = reinterpret_cast<float*>(layer);
  if (dtype == BFLOAT16) {
    slab_dtype == BFLOAT16 ? with(narrow_layer, static_cast<uint16_t*>(slab))
                           : with(narrow_layer, static_cast<float*>(slab));
  } else {
    slab_dtype == BFLOAT16 ? with(wide_layer, static_cast<uint16_t*>(slab))
                           : with(wide_layer, static_cast<float*>(slab));
  }
}

}  // namespace BATON_TIER
}  // namespace baton

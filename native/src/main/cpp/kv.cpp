// Into and out of the KV cache: rotated keys and values of a step, and slabs.
#include "kv_layout.h"
#include "lanes.h"
#include "transpose.h"

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

// A row of bfloat16 as it lies in the cache: a key's pairs of dims 32 elements apart, a value's dims every second element.
static inline void put_key(uint16_t* keys, const KvLayout& layout, int slot, const uint16_t* row) {
  uint16_t* to = keys + static_cast<int64_t>(slot / LANES) * LANES * layout.width + slot % LANES * 2;
  for (int d = 0; d < layout.dim / 2 * 2; d += 2, to += 2 * LANES) {
    __builtin_memcpy(to, row + d, 4);
  }
  if (layout.dim % 2 != 0) {
    *to = row[layout.dim - 1];
  }
}

static inline void put_key(int8_t* keys, const KvLayout& layout, int slot, const int8_t* row) {
  int8_t* to = keys + static_cast<int64_t>(slot / LANES) * LANES * layout.width + slot % LANES * 2;
  for (int d = 0; d < layout.dim / 2 * 2; d += 2, to += 2 * LANES) {
    __builtin_memcpy(to, row + d, 2);
  }
  if (layout.dim % 2 != 0) {
    *to = row[layout.dim - 1];
  }
}

template <class T>
static inline void get_key(const T* keys, const KvLayout& layout, int slot, T* row) {
  const T* from = keys + static_cast<int64_t>(slot / LANES) * LANES * layout.width + slot % LANES * 2;
  for (int d = 0; d < layout.dim; d++) {
    row[d] = from[d / 2 * 2 * LANES + d % 2];
  }
}

// Dim 0 of a position's value; sixteen dims further on, 512 elements further on.
template <class T>
static inline T* value_at(T* values, const KvLayout& layout, int slot) {
  return values + static_cast<int64_t>(slot / 32) * 32 * layout.width + slot % 32 / 2 * 2 * LANES + slot % 2;
}

template <class T>
static inline void put_value(T* values, const KvLayout& layout, int slot, const T* row) {
  T* to = value_at(values, layout, slot);
  for (int d = 0; d < layout.dim; d += LANES, to += 32 * LANES) {
    const int n = smaller(LANES, layout.dim - d);
    for (int i = 0; i < n; i++) {
      to[2 * i] = row[d + i];
    }
  }
}

template <class T>
static inline void get_value(const T* values, const KvLayout& layout, int slot, T* row) {
  const T* from = value_at(values, layout, slot);
  for (int d = 0; d < layout.dim; d++) {
    row[d] = from[d / LANES * 32 * LANES + d % LANES * 2];
  }
}

// Eight bits and a scale of at most 16 significant bits: whatever is widened to float32 comes back as it was, because then
// the products with the scale, and the division by it, are exact. Rows that are not finite get a scale that is not.
static inline float quantize(const float* row, int dim, int8_t* to) {
  uint32_t largest = 0;
  for (int d = 0; d < dim; d++) {
    uint32_t bits;
    __builtin_memcpy(&bits, row + d, 4);
    bits &= 0x7fffffffu;
    largest = largest < bits ? bits : largest;
  }
  float scale;
  __builtin_memcpy(&scale, &largest, 4);
  uint32_t bits = 0;
  if (largest < 0x7f800000u) {
    scale /= 127.0f;
    __builtin_memcpy(&bits, &scale, 4);
    bits = (bits + 0x80) & ~0xffu;
    bits = bits < 0x00800000u ? 0 : bits;  // none of denormals
  } else {
    bits = 0x7fc00000u;
  }
  __builtin_memcpy(&scale, &bits, 4);
  if (bits == 0 || largest >= 0x7f800000u) {
    __builtin_memset(to, 0, dim);
    return scale;
  }
  const float inverse = 1.0f / scale;
  for (int d = 0; d < dim; d++) {
    const float rounded = row[d] * inverse + 12582912.0f;  // the nearest integer stands in the low bits
    uint32_t integer;
    __builtin_memcpy(&integer, &rounded, 4);
    to[d] = static_cast<int8_t>(integer & 0xff);
  }
  return scale;
}

static constexpr int MAX_DIM = 512;

static inline void narrow_key(uint16_t* keys, const KvLayout& layout, int slot, const float* row) {
  uint16_t narrowed[MAX_DIM + LANES];
  for (int d = 0; d < layout.dim; d += LANES) {
    narrow(narrowed + d, load(row + d, smaller(LANES, layout.dim - d)));
  }
  put_key(keys, layout, slot, narrowed);
}

static inline void narrow_value(uint16_t* values, const KvLayout& layout, int slot, const float* row) {
  uint16_t* to = value_at(values, layout, slot);
  for (int d = 0; d < layout.dim; d += LANES, to += 32 * LANES) {
    const int n = smaller(LANES, layout.dim - d);
    narrow_apart(to, load(row + d, n), n);
  }
}

// A row from float32 into the cache.
static inline void store_row(const float* row, bool value, uint8_t* head, const KvLayout& layout, int slot) {
  switch (layout.dtype) {
    case BFLOAT16: {
      uint16_t* keys = reinterpret_cast<uint16_t*>(head);
      value ? narrow_value(keys + static_cast<int64_t>(layout.tokens) * layout.width, layout, slot, row)
            : narrow_key(keys, layout, slot, row);
      return;
    }
    case INT8: {
      int8_t quantized[MAX_DIM];
      const float scale = quantize(row, layout.dim, quantized);
      int8_t* keys = reinterpret_cast<int8_t*>(head);
      value ? put_value(keys + static_cast<int64_t>(layout.tokens) * layout.width, layout, slot, quantized)
            : put_key(keys, layout, slot, quantized);
      layout.scales(head)[value ? layout.tokens + slot : slot] = scale;
      return;
    }
    default: {
      float* keys = reinterpret_cast<float*>(head);
      if (value) {
        __builtin_memcpy(keys + static_cast<int64_t>(layout.tokens + slot) * layout.dim, row, 4 * layout.dim);
        return;
      }
      float* to = keys + static_cast<int64_t>(slot / LANES) * LANES * layout.dim + slot % LANES;
      for (int d = 0; d < layout.dim; d++) {
        to[d * LANES] = row[d];
      }
    }
  }
}

// A row of the cache as float32.
static inline void load_row(const uint8_t* head, const KvLayout& layout, bool value, int slot, float* row) {
  const int64_t values = static_cast<int64_t>(layout.tokens) * layout.width;
  switch (layout.dtype) {
    case BFLOAT16: {
      uint16_t narrowed[MAX_DIM];
      const uint16_t* keys = reinterpret_cast<const uint16_t*>(head);
      value ? get_value(keys + values, layout, slot, narrowed) : get_key(keys, layout, slot, narrowed);
      for (int d = 0; d < layout.dim; d++) {
        row[d] = widen(narrowed[d]);
      }
      return;
    }
    case INT8: {
      int8_t quantized[MAX_DIM];
      const int8_t* keys = reinterpret_cast<const int8_t*>(head);
      value ? get_value(keys + values, layout, slot, quantized) : get_key(keys, layout, slot, quantized);
      const float scale = layout.scales(head)[value ? layout.tokens + slot : slot];
      for (int d = 0; d < layout.dim; d++) {
        row[d] = static_cast<float>(quantized[d]) * scale;
      }
      return;
    }
    default: {
      const float* keys = reinterpret_cast<const float*>(head);
      if (value) {
        __builtin_memcpy(row, keys + static_cast<int64_t>(layout.tokens + slot) * layout.dim, 4 * layout.dim);
        return;
      }
      const float* from = keys + static_cast<int64_t>(slot / LANES) * LANES * layout.dim + slot % LANES;
      for (int d = 0; d < layout.dim; d++) {
        row[d] = from[d * LANES];
      }
    }
  }
}

// Asks for the lines of a position's key and value, all those of a tile of keys: into the second cache, for the first one
// has too few requests under way. Always inline: a function that only prefetches is dropped by the compiler as one without
// effects.
__attribute__((always_inline)) static inline void ask_for(const uint8_t* head, const KvLayout& layout, int slot) {
  const int64_t element = layout.dtype == FLOAT32 ? 4 : layout.dtype == BFLOAT16 ? 2 : 1;
  const int64_t row = element * layout.width;
  const uint8_t* line = head + slot / LANES * LANES * row;
  for (const uint8_t* end = line + LANES * row; line < end; line += 64) {
    __builtin_prefetch(line, 1, 2);
  }
  const uint8_t* values = head + layout.tokens * row;
  if (layout.dtype == FLOAT32) {
    line = values + slot * row;
    for (const uint8_t* end = line + row; line < end; line += 64) {
      __builtin_prefetch(line, 1, 2);
    }
    return;
  }
  line = values + slot / 32 * 32 * row + slot % 32 / 2 * 2 * LANES * element;
  for (int d = 0; d < layout.width; d += LANES, line += 32 * LANES * element) {
    __builtin_prefetch(line, 1, 2);
  }
}

// q [tokens, heads * dim] is rotated in place, k [tokens, kv_heads * dim] too, then stored with v as the layout says.
// Bytes: q twice, k and v once, the cache's rows once. What takes the time is lines of the cache: of a bfloat16 key's each
// holds four bytes, and a decode step finds few of them in the processor's caches. So each token asks for those of the
// next one, unless it is its neighbour in a tile.
void rope_store(Share share, float* q, int64_t q_stride, float* k, int64_t k_stride, const float* v, int64_t v_stride,
                const float* cosines, int64_t cosines_stride, const float* sines, int64_t sines_stride, uint8_t* layer,
                int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads,
                const int32_t* positions, const int32_t* sequences, const int32_t* tables, int32_t table_stride,
                int32_t tokens) noexcept {
  const KvLayout layout(dtype, block_tokens, kv_heads, head_dim);
  const auto heads_of = [&](int token) {
    const int64_t block = tables[static_cast<int64_t>(sequences[token]) * table_stride + positions[token] / block_tokens];
    return layer + block * layout.block_bytes;
  };
  const int end = end_of(share, tokens);
  for (int token = first_of(share, tokens); token < end; token++) {
    const int position = positions[token];
    const int slot = position % block_tokens;
    uint8_t* const to = heads_of(token);
    if (token == first_of(share, tokens)) {
      for (int h = 0; h < kv_heads; h++) {
        ask_for(to + h * layout.head_bytes, layout, slot);
      }
    }
    const float* c = cosines + position * cosines_stride;
    const float* s = sines + position * sines_stride;
    for (int h = 0; h < heads; h++) {
      rotate(q + token * q_stride + static_cast<int64_t>(h) * head_dim, head_dim, c, s);
    }
    const int next = token + 1;
    const bool ask = next < end && (sequences[next] != sequences[token] || positions[next] % LANES == 0);
    const uint8_t* const soon = ask ? heads_of(next) : nullptr;
    for (int h = 0; h < kv_heads; h++) {
      if (ask) {
        ask_for(soon + h * layout.head_bytes, layout, positions[next] % block_tokens);
      }
      float* key = k + token * k_stride + static_cast<int64_t>(h) * head_dim;
      rotate(key, head_dim, c, s);
      uint8_t* head = to + h * layout.head_bytes;
      store_row(key, false, head, layout, slot);
      store_row(v + token * v_stride + static_cast<int64_t>(h) * head_dim, true, head, layout, slot);
    }
  }
}

// A row as a slab holds it: dense, int8 followed by its scale; any alignment.
static inline int64_t slab_row_bytes(int32_t dtype, int dim) {
  return dtype == FLOAT32 ? 4 * dim : dtype == BFLOAT16 ? 2 * dim : dim + 4;
}

static inline void to_slab_row(const float* row, int32_t dtype, int dim, uint8_t* slab) {
  switch (dtype) {
    case BFLOAT16:
      for (int d = 0; d < dim; d++) {
        put(reinterpret_cast<uint16_t*>(slab) + d, row[d]);
      }
      return;
    case INT8: {
      const float scale = quantize(row, dim, reinterpret_cast<int8_t*>(slab));
      __builtin_memcpy(slab + dim, &scale, 4);
      return;
    }
    default:
      __builtin_memcpy(slab, row, 4 * dim);
  }
}

static inline void from_slab_row(const uint8_t* slab, int32_t dtype, int dim, float* row) {
  switch (dtype) {
    case BFLOAT16:
      for (int d = 0; d < dim; d++) {
        row[d] = get(reinterpret_cast<const uint16_t*>(slab) + d);
      }
      return;
    case INT8: {
      float scale;
      __builtin_memcpy(&scale, slab + dim, 4);
      for (int d = 0; d < dim; d++) {
        row[d] = static_cast<float>(static_cast<int8_t>(slab[d])) * scale;
      }
      return;
    }
    default:
      __builtin_memcpy(row, slab, 4 * dim);
  }
}

// A row between cache and slab of one narrow dtype, bit for bit.
template <class T>
static inline void copy_row(T* keys, const KvLayout& layout, bool value, int slot, uint8_t* slab, bool to_slab) {
  T row[MAX_DIM];
  T* values = keys + static_cast<int64_t>(layout.tokens) * layout.width;
  if (to_slab) {
    value ? get_value(values, layout, slot, row) : get_key(keys, layout, slot, row);
    __builtin_memcpy(slab, row, sizeof(T) * layout.dim);
  } else {
    __builtin_memcpy(row, slab, sizeof(T) * layout.dim);
    value ? put_value(values, layout, slot, row) : put_key(keys, layout, slot, row);
  }
}

static inline void copy_row(uint8_t* head, const KvLayout& layout, bool value, int slot, uint8_t* slab, int32_t slab_dtype,
                            bool to_slab) {
  if (layout.dtype == BFLOAT16 && slab_dtype == BFLOAT16) {
    copy_row(reinterpret_cast<uint16_t*>(head), layout, value, slot, slab, to_slab);
    return;
  }
  if (layout.dtype == INT8 && slab_dtype == INT8) {
    copy_row(reinterpret_cast<int8_t*>(head), layout, value, slot, slab, to_slab);
    float* scale = layout.scales(head) + (value ? layout.tokens + slot : slot);
    to_slab ? __builtin_memcpy(slab + layout.dim, scale, 4) : __builtin_memcpy(scale, slab + layout.dim, 4);
    return;
  }
  float row[MAX_DIM];
  if (to_slab) {
    load_row(head, layout, value, slot, row);
    to_slab_row(row, slab_dtype, layout.dim, slab);
  } else {
    from_slab_row(slab, slab_dtype, layout.dim, row);
    store_row(row, value, head, layout, slot);
  }
}

// Positions that are copied together: a tile of values, two of keys.
static constexpr int TILE = 32;

// A tile of one head, bfloat16 on both sides, between cache and rows of a multiple of 32 elements: a key's pairs of elements
// are words of a transposed tile of 16 positions. What comes in is written past the caches, for it is read a step later at
// the soonest, with all the rest of the context: half the bytes on the memory's bus, and the slab stays in the cache.
static inline void copy_keys(uint16_t* keys, const KvLayout& layout, uint16_t* rows, bool to_slab) {
  for (int position = 0; position < TILE; position += LANES) {
    uint16_t* tile = keys + static_cast<int64_t>(position) * layout.width;
    uint16_t* row = rows + static_cast<int64_t>(position) * layout.dim;
    for (int d = 0; d < layout.dim; d += 2 * LANES) {
      to_slab ? move_back(row + d, layout.dim, tile + d * LANES)
              : move_transposed(tile + d * LANES, row + d, layout.dim, true);
    }
  }
}

// As above; a word of values holds an even position's element and its successor's.
static inline void copy_values(uint16_t* values, const KvLayout& layout, uint16_t* rows, bool to_slab) {
  for (int position = 0; position < TILE; position += 2) {
    uint16_t* even_row = rows + static_cast<int64_t>(position) * layout.dim;
    for (int d = 0; d < layout.dim; d += LANES) {
      uint16_t* tile = values + d * TILE + position * LANES;
      uint32_t words[LANES];
      uint16_t even[LANES];
      uint16_t odd[LANES];
      if (to_slab) {
        __builtin_memcpy(words, tile, sizeof(words));
        for (int i = 0; i < LANES; i++) {
          even[i] = static_cast<uint16_t>(words[i]);
          odd[i] = static_cast<uint16_t>(words[i] >> 16);
        }
        __builtin_memcpy(even_row + d, even, sizeof(even));
        __builtin_memcpy(even_row + layout.dim + d, odd, sizeof(odd));
      } else {
        __builtin_memcpy(even, even_row + d, sizeof(even));
        __builtin_memcpy(odd, even_row + layout.dim + d, sizeof(odd));
        for (int i = 0; i < LANES; i++) {
          words[i] = even[i] | static_cast<uint32_t>(odd[i]) << 16;
        }
        stream(reinterpret_cast<float*>(tile), load(reinterpret_cast<const float*>(words)));
      }
    }
  }
}

// Keys or values of one layer: heads [head, head + heads) of the cache, positions [token_from, token_to), to or from
// [head][token][dim] at `slab`, which may have any alignment. Bytes: each element read once and written once. Whole tiles of
// bfloat16 go by lines, near the speed of memory; other rows are bound by one element a cycle, because a row's elements lie
// apart in the cache.
void copy_kv(Share share, uint8_t* layer, int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, const void* table,
             int32_t head, int32_t heads, int32_t token_from, int32_t token_to, void* slab, int32_t slab_dtype,
             int64_t slab_head_bytes, int32_t values, int32_t to_slab) noexcept {
  const int32_t* blocks = static_cast<const int32_t*>(table);
  const KvLayout layout(dtype, block_tokens, kv_heads, head_dim);
  const int64_t row_bytes = slab_row_bytes(slab_dtype, head_dim);
  const bool lines = dtype == BFLOAT16 && slab_dtype == BFLOAT16 && head_dim % (2 * LANES) == 0 &&
                     reinterpret_cast<uintptr_t>(layer) % 64 == 0;
  for (int h = first_of(share, heads); h < end_of(share, heads); h++) {
    uint8_t* row = static_cast<uint8_t*>(slab) + h * slab_head_bytes;
    for (int token = token_from; token < token_to;) {
      const int slot = token % block_tokens;
      uint8_t* start = layer + blocks[token / block_tokens] * layout.block_bytes + (head + h) * layout.head_bytes;
      if (lines && token % TILE == 0 && token_to - token >= TILE) {
        uint16_t* first = reinterpret_cast<uint16_t*>(start) +
                          (static_cast<int64_t>(values != 0 ? block_tokens : 0) + slot) * layout.width;
        uint16_t* rows = reinterpret_cast<uint16_t*>(row);
        values != 0 ? copy_values(first, layout, rows, to_slab != 0) : copy_keys(first, layout, rows, to_slab != 0);
        token += TILE;
        row += TILE * row_bytes;
      } else {
        copy_row(start, layout, values != 0, slot, row, slab_dtype, to_slab != 0);
        token++;
        row += row_bytes;
      }
    }
  }
  settle_streams();
}

}  // namespace BATON_TIER
}  // namespace baton

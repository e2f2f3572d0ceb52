// Where a KV cache holds what. A layer is [block][kv head][keys, values (, scales)], a block `tokens` positions, a multiple
// of 32.
//
// float32: keys [tile of 16 positions][dim][16], values [position][dim].
//
// bfloat16 and int8, for products by the bfloat16 rule, `width` being the head's elements filled up with zeros to a
// multiple of 32: keys [tile of 16 positions][width / 2][16 positions][2], values [tile of 32 positions][width / 16]
// [pair of positions][16 dims][2]. So sixteen rows of keys, or of a values' tile, are what the matrix units read, and one
// row is sixteen pairs for a vector. int8 has after them a float32 scale for each key, then for each value.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

struct KvLayout {
  int32_t dtype;
  int tokens;  // of a block
  int dim;
  int width;  // elements of a row in the cache
  int64_t head_bytes;
  int64_t block_bytes;

  KvLayout(int32_t dtype, int tokens, int kv_heads, int dim)
      : dtype(dtype), tokens(tokens), dim(dim), width(dtype == FLOAT32 ? dim : (dim + 31) / 32 * 32) {
    const int64_t row = dtype == FLOAT32 ? 4 * width : dtype == BFLOAT16 ? 2 * width : width + 4;
    head_bytes = 2 * row * tokens;
    block_bytes = head_bytes * kv_heads;
  }

  template <class T>
  const T* keys(const uint8_t* head, int slot) const {
    return reinterpret_cast<const T*>(head) + static_cast<int64_t>(slot) * width;
  }
  template <class T>
  const T* values(const uint8_t* head, int slot) const {
    return reinterpret_cast<const T*>(head) + static_cast<int64_t>(tokens + slot) * width;
  }
  // Of the keys; those of the values begin `tokens` later.
  float* scales(uint8_t* head) const { return reinterpret_cast<float*>(head + static_cast<int64_t>(2) * tokens * width); }
  const float* scales(const uint8_t* head) const { return scales(const_cast<uint8_t*>(head)); }
};

}  // namespace BATON_TIER
}  // namespace baton

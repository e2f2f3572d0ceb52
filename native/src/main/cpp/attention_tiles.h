// The arithmetic of attention over bfloat16 and int8 KV, which vectors and matrix units share; the rule itself stands in
// the package documentation of dev.baton.device.
#pragma once

#include "attention.h"
#include "pairs.h"

namespace baton {
namespace BATON_TIER {

// Positions between two corrections of the maximum, and those of a product with values.
static constexpr int TILE = 64;
static constexpr int HALF = DEPTH;
static constexpr int HALVES = TILE / HALF;
static constexpr int GROUPS = TILE / LANES;

static constexpr float LOG2_E = 1.44269504f;
static constexpr float LOWEST = -3.40282347e+38f;  // the maximum before any position

// The half tiles of one tile that a unit reads, and the values of each.
template <class T>
struct Half {
  const T* keys;
  const T* values;
  const float* key_scales;  // int8 only
  const float* value_scales;
};

// Sixteen columns of a product of values begin this many elements apart.
static constexpr int VALUE_GROUP = HALF * LANES;

// Copies the values of a half tile with zeros for positions outside [from, to): slots that nobody has written may hold
// NaN, which a weight of 0 does not stop.
static inline void copy_seen(const uint16_t* values, int width, int from, int to, uint16_t* seen) {
  const int lines = width / LANES * HALF / 2;  // of 16 pairs of two positions
  for (int line = 0; line < lines; line++) {
    const int position = line % (HALF / 2) * 2;
    const bool even = position >= from && position < to;
    const bool odd = position + 1 >= from && position + 1 < to;
    const uint32_t mask = (even ? 0xffffu : 0u) | (odd ? 0xffff0000u : 0u);
    for (int i = 0; i < 2 * LANES; i += 2) {
      uint32_t pair;
      __builtin_memcpy(&pair, values + line * 2 * LANES + i, 4);
      pair &= mask;
      __builtin_memcpy(seen + line * 2 * LANES + i, &pair, 4);
    }
  }
}

// The half tile from position `from`.
template <class T>
static inline Half<T> half_at(const Cache& cache, int from) {
  const uint8_t* head = cache.head(from);
  const int slot = cache.slot(from);
  Half<T> half = {cache.layout.keys<T>(head, slot), cache.layout.values<T>(head, slot), nullptr, nullptr};
  if constexpr (sizeof(T) == 1) {
    half.key_scales = cache.layout.scales(head) + slot;
    half.value_scales = half.key_scales + cache.layout.tokens;
  }
  return half;
}

// The half tiles from position `start` of which a unit that sees [first, last] sees any position: their number is returned,
// from which of the tile's they begin is put in *begin. `seen` has room for each half's values, cleaned where needed.
template <class T>
static inline int halves_of(const Cache& cache, int start, int first, int last, Half<T>* halves, int* begin,
                            uint16_t (*seen)[HALF * MAX_HEAD_DIM]) {
  *begin = first >= start + HALF ? 1 : 0;
  int h = *begin;
  for (; h < HALVES && start + h * HALF <= last; h++) {
    const int from = start + h * HALF;
    Half<T>& half = halves[h];
    half = half_at<T>(cache, from);
    if constexpr (sizeof(T) == 2) {
      if (first > from || last < from + HALF - 1) {
        copy_seen(half.values, cache.layout.width, first - from, last + 1 - from, seen[h]);
        half.values = seen[h];
      }
    }
  }
  return h;
}

}  // namespace BATON_TIER
}  // namespace baton

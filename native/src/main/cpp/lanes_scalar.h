// Sixteen lanes in plain C++, for any processor. Without a fused multiply-add instruction the C library computes fmaf
// exactly, slowly.
#pragma once

#include <cstdint>

namespace baton {
namespace BATON_TIER {

constexpr int TILE_ROWS = 4;      // rows of x that share a loaded weight
constexpr int GROUPS_ONE = 1;     // groups of 16 outputs side by side, for one row
constexpr int GROUPS_MANY = 1;    // and for many rows
constexpr int PAIR_ROWS = 4;      // rows that share a weight in tiles
constexpr int GROUP_ROWS = 4;     // and for one group of it at a time
constexpr int PANEL_ROWS = 4;
constexpr int PAIR_GROUPS = 1;    // groups of it side by side
constexpr int DEPTH_ONE = 1;      // tiles of depth side by side, for one row
constexpr int QUERIES = 4;        // queries that share loaded keys and values
constexpr int QUERIES_OF_TWO = 1;  // and two places of them at once

struct Lanes {
  float v[16];
};

#define BATON_EACH(expression)     \
  Lanes result;                    \
  for (int i = 0; i < 16; i++) {   \
    result.v[i] = expression;      \
  }                                \
  return result;

static inline Lanes all(float value) { BATON_EACH(value) }
static inline Lanes zero() { return all(0.0f); }
static inline Lanes load(const float* p) { BATON_EACH(p[i]) }
static inline Lanes fma(const Lanes& a, const Lanes& b, const Lanes& c) {
  BATON_EACH(__builtin_fmaf(a.v[i], b.v[i], c.v[i]))
}
static inline Lanes fms(const Lanes& a, const Lanes& b, const Lanes& c) {
  BATON_EACH(__builtin_fmaf(a.v[i], b.v[i], -c.v[i]))
}
static inline Lanes add(const Lanes& a, const Lanes& b) { BATON_EACH(a.v[i] + b.v[i]) }
static inline Lanes sub(const Lanes& a, const Lanes& b) { BATON_EACH(a.v[i] - b.v[i]) }
static inline Lanes mul(const Lanes& a, const Lanes& b) { BATON_EACH(a.v[i] * b.v[i]) }
static inline Lanes div(const Lanes& a, const Lanes& b) { BATON_EACH(a.v[i] / b.v[i]) }
// x < y ? a : b
static inline Lanes if_less(const Lanes& x, const Lanes& y, const Lanes& a, const Lanes& b) {
  BATON_EACH(x.v[i] < y.v[i] ? a.v[i] : b.v[i])
}
// lane number in [from, to) ? v : other
static inline Lanes within(const Lanes& v, int from, int to, const Lanes& other) {
  BATON_EACH(i >= from && i < to ? v.v[i] : other.v[i])
}
// 2^n of an n that stands in the low bits of a float near 1.5 * 2^23
static inline Lanes power_of_two(const Lanes& rounded) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, &rounded.v[i], 4);
    bits = (bits << 23) + (127u << 23);
    __builtin_memcpy(&result.v[i], &bits, 4);
  }
  return result;
}

static inline Lanes load(const uint16_t* p) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    __builtin_memcpy(&result.v[i], &bits, 4);
  }
  return result;
}
// Sixteen pairs of bfloat16: the first ones and the second ones.
static inline void load_pairs(const uint16_t* p, Lanes& even, Lanes& odd) {
  for (int i = 0; i < 16; i++) {
    const uint32_t low = static_cast<uint32_t>(p[2 * i]) << 16;
    const uint32_t high = static_cast<uint32_t>(p[2 * i + 1]) << 16;
    __builtin_memcpy(&even.v[i], &low, 4);
    __builtin_memcpy(&odd.v[i], &high, 4);
  }
}
// To bfloat16 and back: to nearest even, a NaN stays a quiet NaN. Integer arithmetic, so denormals are kept.
static inline Lanes rounded(const Lanes& v) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, &v.v[i], 4);
    bits = (bits & 0x7fffffffu) > 0x7f800000u ? bits | 0x400000u : bits + 0x7fff + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    __builtin_memcpy(&result.v[i], &bits, 4);
  }
  return result;
}
// The first n lanes; the others are 0 and their memory is not touched.
static inline Lanes load(const float* p, int n) { BATON_EACH(i < n ? p[i] : 0.0f) }
static inline Lanes load(const uint16_t* p, int n) {
  uint16_t bits[16] = {};
  for (int i = 0; i < n; i++) {
    bits[i] = p[i];
  }
  return load(bits);
}
static inline void store(float* p, const Lanes& v) {
  for (int i = 0; i < 16; i++) {
    p[i] = v.v[i];
  }
}
// A whole line at once past the caches, where the tier can; p is aligned to 64 bytes.
static inline void stream(float* p, const Lanes& v) { store(p, v); }
// Orders what was streamed before what is stored next.
static inline void settle_streams() {}
static inline void store(float* p, const Lanes& v, int n) {
  for (int i = 0; i < n; i++) {
    p[i] = v.v[i];
  }
}

// To sixteen bfloat16, rounded as above.
static inline void narrow(uint16_t* to, const Lanes& v) {
  const Lanes r = rounded(v);
  for (int i = 0; i < 16; i++) {
    uint32_t bits;
    __builtin_memcpy(&bits, &r.v[i], 4);
    to[i] = static_cast<uint16_t>(bits >> 16);
  }
}
// The first n of them to every second element; those between are not touched, they may be another thread's.
static inline void narrow_apart(uint16_t* to, const Lanes& v, int n) {
  uint16_t bits[16];
  narrow(bits, v);
  for (int i = 0; i < n; i++) {
    to[2 * i] = bits[i];
  }
}

// Sum by halves: j + (j + 8), then 4, 2, 1.
static inline float sum(const Lanes& v) {
  Lanes s = v;
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; j++) {
      s.v[j] = s.v[j] + s.v[j + half];
    }
  }
  return s.v[0];
}
// Maximum by halves, as `upper > lower ? upper : lower`.
static inline float max(const Lanes& v) {
  Lanes m = v;
  for (int half = 8; half > 0; half /= 2) {
    for (int j = 0; j < half; j++) {
      m.v[j] = m.v[j + half] > m.v[j] ? m.v[j + half] : m.v[j];
    }
  }
  return m.v[0];
}

#undef BATON_EACH

}  // namespace BATON_TIER
}  // namespace baton

// Sixteen float32 lanes, the vector in which every kernel is written. Each tier has its own header with the same
// functions; every function does the same IEEE operations in each, so that a kernel gives the same bits in all tiers.
//
// A kernel source is compiled once per tier, with BATON_TIER set to the tier's name and the tier's instruction flags. All
// of it lies in namespace baton::BATON_TIER and is static, and no inline function of the standard library is used: the
// linker could otherwise take one tier's copy for all.
#pragma once

#include <cstdint>

#include "kernels.h"

#if defined(BATON_TIER_AVX512)
#define BATON_TIER avx512
#include "lanes_avx512.h"
#elif defined(BATON_TIER_AVX2)
#if defined(BATON_TIER_AVX_VNNI)
#define BATON_TIER avx_vnni
#else
#define BATON_TIER avx2
#endif
#include "lanes_avx2.h"
#else
#define BATON_TIER scalar
#include "lanes_scalar.h"
#endif

namespace baton {
namespace BATON_TIER {

constexpr int LANES = 16;

// The units of a share are [first_of(share, units), end_of(share, units)).
static inline int first_of(Share share, int64_t units) { return static_cast<int>(units * share.part / share.parts); }
static inline int end_of(Share share, int64_t units) { return static_cast<int>(units * share.end / share.parts); }

static inline int smaller(int a, int b) { return a < b ? a : b; }
static inline int larger(int a, int b) { return a > b ? a : b; }

// bfloat16 to float32 is exact; back it rounds to nearest even, and a NaN stays a quiet NaN.
static inline float widen(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  __builtin_memcpy(&value, &wide, 4);
  return value;
}

static inline uint16_t narrow(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  }
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// One element, from or to memory of any alignment.
template <class T>
static inline float get(const T* from);
template <>
inline float get<float>(const float* from) {
  float value;
  __builtin_memcpy(&value, from, 4);
  return value;
}
template <>
inline float get<uint16_t>(const uint16_t* from) {
  uint16_t bits;
  __builtin_memcpy(&bits, from, 2);
  return widen(bits);
}
static inline void put(float* to, float value) { __builtin_memcpy(to, &value, 4); }
static inline void put(uint16_t* to, float value) {
  const uint16_t bits = narrow(value);
  __builtin_memcpy(to, &bits, 2);
}

// e^x: x = n ln 2 + r, Taylor's polynomial of degree 7 in r (error below one unit in the last place for |r| <= ln 2 / 2),
// times 2^n. 0 below -87, infinite above 88, NaN for NaN.
static inline Lanes exp(Lanes x) {
  const Lanes rounder = all(12582912.0f);  // adding it rounds to the nearest integer, which then stands in the low bits
  const Lanes rounded = fma(x, all(1.44269504f), rounder);
  const Lanes n = sub(rounded, rounder);
  Lanes r = fma(n, all(-0.693359375f), x);  // ln 2 in two parts; products with the first are exact
  r = fma(n, all(2.12194440e-4f), r);
  Lanes p = all(1.0f / 5040);
  p = fma(p, r, all(1.0f / 720));
  p = fma(p, r, all(1.0f / 120));
  p = fma(p, r, all(1.0f / 24));
  p = fma(p, r, all(1.0f / 6));
  p = fma(p, r, all(0.5f));
  p = fma(p, r, all(1.0f));
  p = fma(p, r, all(1.0f));
  Lanes result = mul(p, power_of_two(rounded));
  result = if_less(x, all(-87.0f), zero(), result);
  return if_less(all(88.0f), x, all(__builtin_inff()), result);
}

}  // namespace BATON_TIER
}  // namespace baton

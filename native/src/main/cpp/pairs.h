// What products in bfloat16 need beside lanes.h: sixteen pairs of narrow elements as two vectors of float32, and the power
// of two of attention's weights.
//
// The bfloat16 rule of a product (the processor's tdpbf16ps): 32 terms at a time, the even and the odd terms alone, each by
// fma in order from 0, then sum + (even + odd); denormal inputs and results count as 0. Whoever computes by it holds a
// DenormalsAsZero.
#pragma once

#include "denormals.h"
#include "lanes.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace baton {
namespace BATON_TIER {

// Terms that the bfloat16 rule takes together.
constexpr int DEPTH = 32;

// The first and the second elements of sixteen pairs, and `a > b ? a : b`.
#if defined(BATON_TIER_AVX512)
static inline Lanes evens(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
}
static inline Lanes odds(const uint16_t* p) {
  return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
static inline __m512i pair_words(const int8_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline Lanes evens(const int8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(pair_words(p), 24), 24))};
}
static inline Lanes odds(const int8_t* p) { return {_mm512_cvtepi32_ps(_mm512_srai_epi32(pair_words(p), 8))}; }
static inline Lanes larger_of(Lanes a, Lanes b) { return {_mm512_max_ps(a.v, b.v)}; }
#elif defined(BATON_TIER_AVX2)
static inline __m256i eight_words(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
static inline Lanes evens(const uint16_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(eight_words(p), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(eight_words(p + 16), 16))};
}
static inline Lanes odds(const uint16_t* p) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
  return {_mm256_castsi256_ps(_mm256_and_si256(eight_words(p), upper)),
          _mm256_castsi256_ps(_mm256_and_si256(eight_words(p + 16), upper))};
}
static inline __m256i eight_pairs(const int8_t* p) {
  return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline __m256 first_of_pairs(__m256i words) {
  return _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words, 24), 24));
}
static inline Lanes evens(const int8_t* p) { return {first_of_pairs(eight_pairs(p)), first_of_pairs(eight_pairs(p + 16))}; }
static inline Lanes odds(const int8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_srai_epi32(eight_pairs(p), 8)),
          _mm256_cvtepi32_ps(_mm256_srai_epi32(eight_pairs(p + 16), 8))};
}
static inline Lanes larger_of(Lanes a, Lanes b) { return {_mm256_max_ps(a.a, b.a), _mm256_max_ps(a.b, b.b)}; }
#else
static inline Lanes every_second(const uint16_t* p) {
  uint16_t bits[16];
  for (int i = 0; i < 16; i++) {
    bits[i] = p[2 * i];
  }
  return load(bits);
}
static inline Lanes evens(const uint16_t* p) { return every_second(p); }
static inline Lanes odds(const uint16_t* p) { return every_second(p + 1); }
static inline Lanes every_second(const int8_t* p) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = p[2 * i];
  }
  return result;
}
static inline Lanes evens(const int8_t* p) { return every_second(p); }
static inline Lanes odds(const int8_t* p) { return every_second(p + 1); }
static inline Lanes larger_of(const Lanes& a, const Lanes& b) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  }
  return result;
}
#endif

// 2^x for x up to about 0: x = n + r, a polynomial of degree 4 in r (relative error 3e-6, a hundredth of what rounding the
// weights to bfloat16 costs; exactly 1 for r = 0), times 2^n. 2^-126 below -126, NaN for NaN.
#if defined(BATON_TIER_AVX512)
static inline Lanes power(Lanes v) {
  const __m512 x = _mm512_max_ps(_mm512_set1_ps(-126.0f), v.v);
  const __m512 r = _mm512_reduce_ps(x, 0);
  __m512 p = _mm512_set1_ps(0.00958285294f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.0559064262f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.240240991f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693124175f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return {_mm512_scalef_ps(p, _mm512_sub_ps(x, r))};
}
#else
static inline Lanes power(Lanes x) {
  const Lanes rounder = all(12582912.0f);  // adding it rounds to the nearest integer, which then stands in the low bits
  x = larger_of(all(-126.0f), x);
  const Lanes rounded = add(x, rounder);
  const Lanes r = sub(x, sub(rounded, rounder));
  Lanes p = all(0.00958285294f);
  p = fma(p, r, all(0.0559064262f));
  p = fma(p, r, all(0.240240991f));
  p = fma(p, r, all(0.693124175f));
  p = fma(p, r, all(1.0f));
  return mul(p, power_of_two(rounded));
}
#endif

}  // namespace BATON_TIER
}  // namespace baton

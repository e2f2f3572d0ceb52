// Sixteen whole numbers as two vectors of AVX2, and how products of bytes read their operands.
#pragma once

#include <immintrin.h>

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

struct Sums {
  __m256i a;
  __m256i b;
};

static inline Sums all_sums(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
static inline Lanes to_float(Sums sums) { return {_mm256_cvtepi32_ps(sums.a), _mm256_cvtepi32_ps(sums.b)}; }
static inline Sums to_int(Lanes x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }
static inline Sums add(Sums x, Sums y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
static inline Sums magnitude_bits(Lanes x) {
  const __m256i mask = _mm256_set1_epi32(0x7fffffff);
  return {_mm256_and_si256(_mm256_castps_si256(x.a), mask), _mm256_and_si256(_mm256_castps_si256(x.b), mask)};
}
static inline Sums larger(Sums x, Sums y) { return {_mm256_max_epi32(x.a, y.a), _mm256_max_epi32(x.b, y.b)}; }
static inline int32_t largest(Sums sums) {
  const __m256i eight = _mm256_max_epi32(sums.a, sums.b);
  __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
static inline int32_t sum(Sums sums) {
  const __m256i eight = _mm256_add_epi32(sums.a, sums.b);
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}
static inline __m256i clamp(__m256i v, int32_t least, int32_t most) {
  return _mm256_max_epi32(_mm256_min_epi32(v, _mm256_set1_epi32(most)), _mm256_set1_epi32(least));
}
static inline Sums clamp(Sums sums, int32_t least, int32_t most) {
  return {clamp(sums.a, least, most), clamp(sums.b, least, most)};
}
static inline void store_bytes(int8_t* to, Sums sums) {
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(sums.a, sums.b), 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
}
static inline Sums shift_or(Sums x, int shift, Sums y) {
  const __m128i count = _mm_cvtsi32_si128(shift);
  return {_mm256_or_si256(_mm256_sll_epi32(x.a, count), y.a), _mm256_or_si256(_mm256_sll_epi32(x.b, count), y.b)};
}
static inline void store(int32_t* to, Sums sums) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), sums.a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 8), sums.b);
}
static inline Sums load(const int32_t* from) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 8))};
}

static inline __m256i half_line(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
static inline __m256i quad_of(const int8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm256_set1_epi32(quad);
}

}  // namespace BATON_TIER
}  // namespace baton

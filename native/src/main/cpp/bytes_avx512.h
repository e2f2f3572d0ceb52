// Products of bytes by VNNI: vpdpbusd adds four products of an unsigned and a signed byte to each of sixteen sums.
#pragma once

#include <immintrin.h>

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

constexpr int BYTE_ROWS_8 = 8;  // 16 sums and 2 weights
constexpr int BYTE_ROWS_4 = 4;  // 8 sums, 8 results and 4 weights

struct Sums {
  __m512i v;
};

static inline Sums all_sums(int32_t value) { return {_mm512_set1_epi32(value)}; }
static inline Lanes to_float(Sums sums) { return {_mm512_cvtepi32_ps(sums.v)}; }
static inline Sums to_int(Lanes x) { return {_mm512_cvtps_epi32(x.v)}; }
static inline Sums add(Sums a, Sums b) { return {_mm512_add_epi32(a.v, b.v)}; }
static inline int32_t sum(Sums sums) { return _mm512_reduce_add_epi32(sums.v); }
static inline Sums clamp(Sums sums, int32_t least, int32_t most) {
  return {_mm512_max_epi32(_mm512_min_epi32(sums.v, _mm512_set1_epi32(most)), _mm512_set1_epi32(least))};
}
static inline void store_bytes(int8_t* to, Sums sums) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(sums.v));
}
static inline Sums shift_or(Sums a, int shift, Sums b) {
  return {_mm512_or_si512(_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(shift)), b.v)};
}
static inline void store(int32_t* to, Sums sums) { _mm512_storeu_si512(to, sums.v); }
static inline Sums load(const int32_t* from) { return {_mm512_loadu_si512(from)}; }

static inline __m512i quad_of(const int8_t* x) {
  int32_t quad;
  __builtin_memcpy(&quad, x, 4);
  return _mm512_set1_epi32(quad);
}

template <int R>
static inline void multiply_8(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2]) {
#pragma GCC unroll 16
  for (int quad = 0; quad < 16; quad++) {
    const __m512i first = _mm512_loadu_si512(weight + quad * 64);
    const __m512i second = _mm512_loadu_si512(weight + 1024 + quad * 64);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512i input = quad_of(x + r * 64 + quad * 4);
      sums[r][0].v = _mm512_dpbusd_epi32(sums[r][0].v, first, input);
      sums[r][1].v = _mm512_dpbusd_epi32(sums[r][1].v, second, input);
    }
  }
}

template <int R>
static inline void multiply_4(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2]) {
  const __m512i nibble = _mm512_set1_epi8(15);
#pragma GCC unroll 8
  for (int quad = 0; quad < 8; quad++) {
    const __m512i first = _mm512_loadu_si512(weight + quad * 64);
    const __m512i second = _mm512_loadu_si512(weight + 512 + quad * 64);
    const __m512i first_low = _mm512_and_si512(first, nibble);
    const __m512i first_high = _mm512_and_si512(_mm512_srli_epi16(first, 4), nibble);
    const __m512i second_low = _mm512_and_si512(second, nibble);
    const __m512i second_high = _mm512_and_si512(_mm512_srli_epi16(second, 4), nibble);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512i low = quad_of(x + r * 64 + quad * 4);
      const __m512i high = quad_of(x + r * 64 + quad * 4 + 32);
      sums[r][0].v = _mm512_dpbusd_epi32(sums[r][0].v, first_low, low);
      sums[r][1].v = _mm512_dpbusd_epi32(sums[r][1].v, second_low, low);
      sums[r][0].v = _mm512_dpbusd_epi32(sums[r][0].v, first_high, high);
      sums[r][1].v = _mm512_dpbusd_epi32(sums[r][1].v, second_high, high);
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

// Products of bytes by VNNI: vpdpbusd adds four products of an unsigned and a signed byte to each of sixteen sums.
#pragma once

#include <immintrin.h>

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

constexpr int BYTE_ROWS_8 = 12;  // 24 sums, 2 weights and inputs
constexpr int BYTE_ROWS_4 = 6;  // 24 sums of groups, 4 weights and 2 inputs
constexpr int FEW_ROWS_8 = 12;
constexpr int FEW_ROWS_4 = 6;
constexpr bool WIDENS_4 = true;  // many rows go by weights of four bits that have been made bytes

struct Sums {
  __m512i v;
};

static inline Sums all_sums(int32_t value) { return {_mm512_set1_epi32(value)}; }
static inline Lanes to_float(Sums sums) { return {_mm512_cvtepi32_ps(sums.v)}; }
static inline Sums to_int(Lanes x) { return {_mm512_cvtps_epi32(x.v)}; }
static inline Sums add(Sums a, Sums b) { return {_mm512_add_epi32(a.v, b.v)}; }
static inline Sums magnitude_bits(Lanes x) {
  return {_mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x7fffffff))};
}
static inline Sums larger(Sums a, Sums b) { return {_mm512_max_epi32(a.v, b.v)}; }
static inline int32_t largest(Sums sums) { return _mm512_reduce_max_epi32(sums.v); }
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

// Not the intrinsic: GCC 12 copies the sums of that to other registers, or to memory and back.
static inline void add_products(__m512i& sums, __m512i weight, __m512i x) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(weight), "v"(x));
}

template <int R, class Ask>
static inline void multiply_8(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2], const Ask& ask) {
#pragma GCC unroll 16
  for (int quad = 0; quad < 16; quad++) {
    if (quad % 4 == 0) {
      ask(quad / 4);
    }
    const __m512i first = _mm512_loadu_si512(weight + quad * 64);
    const __m512i second = _mm512_loadu_si512(weight + 1024 + quad * 64);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const __m512i input = quad_of(x + r * 64 + quad * 4);
      add_products(sums[r][0].v, first, input);
      add_products(sums[r][1].v, second, input);
    }
  }
}

// The high nibbles stand sixteen times too high in their bytes; as the sum of 32 products of four bits and eight fits 16
// bits, a group's two sums become the words of one lane, and vpdpwssd multiplies both by their factors.
template <int R, class Ask>
static inline void multiply_4(const uint8_t* weight, const int8_t* x, const int32_t* group_sums, Sums (&sums)[R][2],
                              const Ask& ask) {
  const __m512i low_nibble = _mm512_set1_epi8(15);
  const __m512i high_nibble = _mm512_set1_epi8(static_cast<char>(0xf0));
  __m512i low[R][2];
  __m512i high[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    low[r][0] = low[r][1] = _mm512_set1_epi32(group_sums[2 * r]);
    high[r][0] = high[r][1] = _mm512_slli_epi32(_mm512_set1_epi32(group_sums[2 * r + 1]), 4);
  }
#pragma GCC unroll 8
  for (int quad = 0; quad < 8; quad++) {
    if (quad % 2 == 0) {
      ask(quad / 2);
    }
    const __m512i first = _mm512_loadu_si512(weight + quad * 64);
    const __m512i second = _mm512_loadu_si512(weight + 512 + quad * 64);
    const __m512i first_low = _mm512_and_si512(first, low_nibble);
    const __m512i first_high = _mm512_and_si512(first, high_nibble);
    const __m512i second_low = _mm512_and_si512(second, low_nibble);
    const __m512i second_high = _mm512_and_si512(second, high_nibble);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512i for_low = quad_of(x + r * 64 + quad * 4);
      const __m512i for_high = quad_of(x + r * 64 + quad * 4 + 32);
      add_products(low[r][0], first_low, for_low);
      add_products(low[r][1], second_low, for_low);
      add_products(high[r][0], first_high, for_high);
      add_products(high[r][1], second_high, for_high);
    }
  }
#pragma GCC unroll 2
  for (int g = 0; g < 2; g++) {
    const __m512i factors =
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weight + 1024 + g * 32)));
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, low[r][g], _mm512_slli_epi32(high[r][g], 12));
      sums[r][g].v = _mm512_dpwssd_epi32(sums[r][g].v, both, factors);
    }
  }
}

// Weights of four bits of a pair of tiles, times their factors, as those of eight bits are kept: + 128. Two nibbles of a
// word are multiplied at once by their factor; a product below zero borrows from the byte above it, which the addition of
// 128 - 8 * factor pays back, for every byte of the result is from 8 to 248. Calls ask(line) for each line before it is
// read, for requests that come together wait for one another.
template <class Ask>
static inline void widen(const uint8_t* from, uint8_t* to, const Ask& ask) {
  const __m512i nibble = _mm512_set1_epi8(15);
  const __m512i low_words =
      _mm512_set_epi64(0x0d0c0d0c09080908, 0x0504050401000100, 0x0d0c0d0c09080908, 0x0504050401000100,
                       0x0d0c0d0c09080908, 0x0504050401000100, 0x0d0c0d0c09080908, 0x0504050401000100);
  const __m512i high_words = _mm512_add_epi8(low_words, _mm512_set1_epi8(2));
  ask(from + 1024);
  for (int half = 0; half < 2; half++) {
    const __m512i factors =
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 1024 + half * 32)));
    const __m512i bases =
        _mm512_sub_epi16(_mm512_set1_epi16(128 * 257), _mm512_mullo_epi16(factors, _mm512_set1_epi16(8 * 257)));
    const __m512i low_factors = _mm512_shuffle_epi8(factors, low_words);
    const __m512i high_factors = _mm512_shuffle_epi8(factors, high_words);
    const __m512i low_bases = _mm512_shuffle_epi8(bases, low_words);
    const __m512i high_bases = _mm512_shuffle_epi8(bases, high_words);
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; quad++) {
      const uint8_t* at = from + half * 512 + quad * 64;
      ask(at);
      const __m512i line = _mm512_loadu_si512(at);
      const __m512i low = _mm512_mullo_epi16(_mm512_and_si512(line, nibble), low_factors);
      const __m512i high = _mm512_mullo_epi16(_mm512_and_si512(_mm512_srli_epi16(line, 4), nibble), high_factors);
      uint8_t* put = to + half * 1024 + quad * 64;
      _mm512_storeu_si512(put, _mm512_add_epi16(low, low_bases));
      _mm512_storeu_si512(put + 512, _mm512_add_epi16(high, high_bases));
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

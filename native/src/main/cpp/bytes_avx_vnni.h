// Products of bytes by AVX-VNNI, which processors without AVX-512 have: as bytes_avx512.h, by vectors of half the width.
#pragma once

#include "sums_avx2.h"

namespace baton {
namespace BATON_TIER {

constexpr int BYTE_ROWS_8 = 6;  // 12 sums, 2 weights and an input: two a cycle take ten sums, as each waits five cycles
constexpr int BYTE_ROWS_4 = 4;
constexpr int FEW_ROWS_8 = 4;
constexpr int FEW_ROWS_4 = 4;
constexpr bool WIDENS_4 = true;

// To each of eight sums four products of an unsigned byte of `weight` and a signed one of `x`. Not the intrinsic: around that
// GCC 12 moves all sums to memory and back.
static inline void add_products(__m256i& sums, __m256i weight, __m256i x) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sums) : "x"(weight), "x"(x));
}

// One tile of the two after the other: the sums of six rows by sixteen outputs are twelve registers. Inputs are read again
// for the second tile, for there is no register to keep them in.
template <int R, class Ask>
static inline void multiply_8(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2], const Ask& ask) {
#pragma GCC unroll 1
  for (int g = 0; g < 2; g++) {
    __m256i own[R][2];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      own[r][0] = sums[r][g].a;
      own[r][1] = sums[r][g].b;
    }
    for (int four = 0; four < 16; four += 4) {
      if (four % 8 == 0) {
        ask(g * 2 + four / 8);
      }
#pragma GCC unroll 4
      for (int quad = four; quad < four + 4; quad++) {
        const __m256i first = half_line(weight + g * 1024 + quad * 64);
        const __m256i second = half_line(weight + g * 1024 + quad * 64 + 32);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
          const __m256i input = quad_of(x + r * 64 + quad * 4);
          add_products(own[r][0], first, input);
          add_products(own[r][1], second, input);
        }
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      sums[r][g] = {own[r][0], own[r][1]};
    }
  }
}

// The sums of a group's low and of its high nibbles, the latter sixteen times too large, as the words of one lane: both are
// multiplied by their factors at once.
template <int R, class Ask>
static inline void multiply_4(const uint8_t* weight, const int8_t* x, const int32_t* group_sums, Sums (&sums)[R][2],
                              const Ask& ask) {
  const __m256i low_nibble = _mm256_set1_epi8(15);
  const __m256i high_nibble = _mm256_set1_epi8(static_cast<char>(0xf0));
#pragma GCC unroll 1
  for (int g = 0; g < 2; g++) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      ask(g * 2 + half);
      __m256i low[R];
      __m256i high[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        low[r] = _mm256_set1_epi32(group_sums[2 * r]);
        high[r] = _mm256_slli_epi32(_mm256_set1_epi32(group_sums[2 * r + 1]), 4);
      }
#pragma GCC unroll 8
      for (int quad = 0; quad < 8; quad++) {
        const __m256i line = half_line(weight + g * 512 + quad * 64 + half * 32);
        const __m256i lows = _mm256_and_si256(line, low_nibble);
        const __m256i highs = _mm256_and_si256(line, high_nibble);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          const int8_t* from = x + r * 64 + quad * 4;
          add_products(low[r], lows, quad_of(from));
          add_products(high[r], highs, quad_of(from + 32));
        }
      }
      const __m256i factors = _mm256_cvtepi8_epi16(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(weight + 1024 + g * 32 + half * 16)));
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const __m256i both = _mm256_blend_epi16(low[r], _mm256_slli_epi32(high[r], 12), 0xaa);
        __m256i& to = half == 0 ? sums[r][g].a : sums[r][g].b;
        to = _mm256_dpwssd_avx_epi32(to, both, factors);
      }
    }
  }
}

// As that of bytes_avx512.h, which tells how.
template <class Ask>
static inline void widen(const uint8_t* from, uint8_t* to, const Ask& ask) {
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i low_words =
      _mm256_set_epi64x(0x0d0c0d0c09080908, 0x0504050401000100, 0x0d0c0d0c09080908, 0x0504050401000100);
  const __m256i high_words = _mm256_add_epi8(low_words, _mm256_set1_epi8(2));
  ask(from + 1024);
  for (int quarter = 0; quarter < 4; quarter++) {
    const int g = quarter / 2;
    const int half = quarter % 2;
    const __m256i factors = _mm256_cvtepi8_epi16(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 1024 + g * 32 + half * 16)));
    const __m256i bases =
        _mm256_sub_epi16(_mm256_set1_epi16(128 * 257), _mm256_mullo_epi16(factors, _mm256_set1_epi16(8 * 257)));
    const __m256i low_factors = _mm256_shuffle_epi8(factors, low_words);
    const __m256i high_factors = _mm256_shuffle_epi8(factors, high_words);
    const __m256i low_bases = _mm256_shuffle_epi8(bases, low_words);
    const __m256i high_bases = _mm256_shuffle_epi8(bases, high_words);
#pragma GCC unroll 8
    for (int quad = 0; quad < 8; quad++) {
      const uint8_t* at = from + g * 512 + quad * 64 + half * 32;
      if (half == 0) {
        ask(at);
      }
      const __m256i line = half_line(at);
      const __m256i low = _mm256_mullo_epi16(_mm256_and_si256(line, nibble), low_factors);
      const __m256i high = _mm256_mullo_epi16(_mm256_and_si256(_mm256_srli_epi16(line, 4), nibble), high_factors);
      uint8_t* put = to + g * 1024 + quad * 64 + half * 32;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(put), _mm256_add_epi16(low, low_bases));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(put + 512), _mm256_add_epi16(high, high_bases));
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

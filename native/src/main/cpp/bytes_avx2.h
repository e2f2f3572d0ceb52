// Products of bytes with AVX2. Eight-bit weights do not fit vpmaddubsw, whose sums of two products saturate at 16 bits;
// they are widened to 16 bits, the even and the odd bytes of a line alone, and multiplied by vpmaddwd. Four-bit ones fit:
// eight sums of two products are 8 * 2 * 15 * 127 = 30480 at most.
#pragma once

#include "sums_avx2.h"

namespace baton {
namespace BATON_TIER {

constexpr int BYTE_ROWS_8 = 2;
constexpr int BYTE_ROWS_4 = 4;
constexpr int FEW_ROWS_8 = 2;
constexpr int FEW_ROWS_4 = 4;
constexpr bool WIDENS_4 = false;

template <int R, class Ask>
static inline void multiply_8(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2], const Ask& ask) {
  const __m256i low_bytes = _mm256_set1_epi16(255);
  for (int quad = 0; quad < 16; quad++) {
    if (quad % 4 == 0) {
      ask(quad / 4);
    }
    __m256i even_x[R];
    __m256i odd_x[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) {
      const __m256i input = quad_of(x + r * 64 + quad * 4);
      even_x[r] = _mm256_srai_epi16(_mm256_slli_epi16(input, 8), 8);
      odd_x[r] = _mm256_srai_epi16(input, 8);
    }
    const auto half = [&](const uint8_t* from, int r, __m256i to) {
      const __m256i line = half_line(from);
      const __m256i even = _mm256_and_si256(line, low_bytes);
      const __m256i odd = _mm256_srli_epi16(line, 8);
      return _mm256_add_epi32(to, _mm256_add_epi32(_mm256_madd_epi16(even, even_x[r]), _mm256_madd_epi16(odd, odd_x[r])));
    };
#pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
      const uint8_t* from = weight + g * 1024 + quad * 64;
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        sums[r][g].a = half(from, r, sums[r][g].a);
        sums[r][g].b = half(from + 32, r, sums[r][g].b);
      }
    }
  }
}

template <int R, class Ask>
static inline void multiply_4(const uint8_t* weight, const int8_t* x, const int32_t* group_sums, Sums (&sums)[R][2],
                              const Ask& ask) {
  const __m256i nibble = _mm256_set1_epi8(15);
#pragma GCC unroll 2
  for (int g = 0; g < 2; g++) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
      ask(g * 2 + half);
      __m256i low_sums[R];
      __m256i high_sums[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        low_sums[r] = _mm256_setzero_si256();
        high_sums[r] = _mm256_setzero_si256();
      }
      for (int quad = 0; quad < 8; quad++) {
        const __m256i line = half_line(weight + g * 512 + quad * 64 + half * 32);
        const __m256i low = _mm256_and_si256(line, nibble);
        const __m256i high = _mm256_and_si256(_mm256_srli_epi16(line, 4), nibble);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          const int8_t* from = x + r * 64 + quad * 4;
          low_sums[r] = _mm256_add_epi16(low_sums[r], _mm256_maddubs_epi16(low, quad_of(from)));
          high_sums[r] = _mm256_add_epi16(high_sums[r], _mm256_maddubs_epi16(high, quad_of(from + 32)));
        }
      }
      // Words [low, high] of eight outputs; then either alone, twice.
      const __m256i factors = _mm256_cvtepi8_epi16(
          _mm_loadu_si128(reinterpret_cast<const __m128i*>(weight + 1024 + g * 32 + half * 16)));
      const __m256i low_factors = _mm256_blend_epi16(factors, _mm256_slli_epi32(factors, 16), 0xaa);
      const __m256i high_factors = _mm256_blend_epi16(_mm256_srli_epi32(factors, 16), factors, 0xaa);
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) {
        const __m256i eights = _mm256_set1_epi32((group_sums[2 * r] & 0xffff) | group_sums[2 * r + 1] * 65536);
        __m256i& to = half == 0 ? sums[r][g].a : sums[r][g].b;
        to = _mm256_add_epi32(_mm256_add_epi32(to, _mm256_madd_epi16(eights, factors)),
                              _mm256_add_epi32(_mm256_madd_epi16(low_sums[r], low_factors),
                                               _mm256_madd_epi16(high_sums[r], high_factors)));
      }
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

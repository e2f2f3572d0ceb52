// Sixteen lanes as one AVX-512 register (F, BW, DQ, VL). The functions are described in lanes_scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace baton {
namespace BATON_TIER {

constexpr int TILE_ROWS = 6;    // 24 sums, 4 weights and a broadcast in 32 registers
constexpr int GROUPS_ONE = 8;   // 8 sums hide the latency of FMA
constexpr int GROUPS_MANY = 4;
constexpr int PAIR_ROWS = 6;    // 24 sums, 4 weights and 2 broadcasts in 32 registers
constexpr int GROUP_ROWS = 12;  // 24 sums, 2 weights; inputs are broadcast from memory
constexpr int PANEL_ROWS = 6;   // the same, the weights widened before
constexpr int PAIR_GROUPS = 2;
constexpr int DEPTH_ONE = 2;    // 8 sums hide the latency of FMA
constexpr int QUERIES = 8;
constexpr int QUERIES_OF_TWO = 4;  // 16 sums, 4 keys or values, and broadcasts in 32 registers

struct Lanes {
  __m512 v;
};

static inline Lanes all(float value) { return {_mm512_set1_ps(value)}; }
static inline Lanes zero() { return {_mm512_setzero_ps()}; }
static inline Lanes load(const float* p) { return {_mm512_loadu_ps(p)}; }
static inline Lanes fma(Lanes a, Lanes b, Lanes c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline Lanes fms(Lanes a, Lanes b, Lanes c) { return {_mm512_fmsub_ps(a.v, b.v, c.v)}; }
static inline Lanes add(Lanes a, Lanes b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline Lanes sub(Lanes a, Lanes b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline Lanes mul(Lanes a, Lanes b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline Lanes div(Lanes a, Lanes b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline Lanes if_less(Lanes x, Lanes y, Lanes a, Lanes b) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(x.v, y.v, _CMP_LT_OQ), b.v, a.v)};
}

// Bits of the first n lanes, 0 <= n.
static inline __mmask16 first_lanes(int n) { return static_cast<__mmask16>(n >= 16 ? 0xffff : (1u << n) - 1); }
static inline Lanes within(Lanes v, int from, int to, Lanes other) {
  const __mmask16 mask = static_cast<__mmask16>(first_lanes(to) & ~first_lanes(from));
  return {_mm512_mask_blend_ps(mask, other.v, v.v)};
}
static inline Lanes power_of_two(Lanes rounded) {
  const __m512i n = _mm512_slli_epi32(_mm512_castps_si512(rounded.v), 23);
  return {_mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(127 << 23)))};
}

static inline Lanes widen(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
static inline Lanes load(const uint16_t* p) { return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
static inline void load_pairs(const uint16_t* p, Lanes& even, Lanes& odd) {
  const __m512i bits = _mm512_loadu_si512(p);
  even = {_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16))};
  odd = {_mm512_castsi512_ps(_mm512_and_si512(bits, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
static inline Lanes rounded(Lanes v) {
  const __m512i bits = _mm512_castps_si512(v.v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __m512i either = _mm512_mask_mov_epi32(up, _mm512_cmp_ps_mask(v.v, v.v, _CMP_UNORD_Q), quiet);
  return {_mm512_castsi512_ps(_mm512_and_si512(either, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
static inline Lanes load(const float* p, int n) { return {_mm512_maskz_loadu_ps(first_lanes(n), p)}; }
static inline Lanes load(const uint16_t* p, int n) { return widen(_mm256_maskz_loadu_epi16(first_lanes(n), p)); }
static inline void store(float* p, Lanes v) { _mm512_storeu_ps(p, v.v); }
static inline void stream(float* p, Lanes v) { _mm512_stream_ps(p, v.v); }
static inline void settle_streams() { _mm_sfence(); }
static inline void store(float* p, Lanes v, int n) { _mm512_mask_storeu_ps(p, first_lanes(n), v.v); }

// Rounded to bfloat16, as the low halves of 32-bit words.
static inline __m512i narrow_words(Lanes v) { return _mm512_srli_epi32(_mm512_castps_si512(rounded(v).v), 16); }
static inline void narrow(uint16_t* to, Lanes v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi32_epi16(narrow_words(v)));
}
static inline void narrow_apart(uint16_t* to, Lanes v, int n) {
  _mm512_mask_storeu_epi16(to, n >= 16 ? 0x55555555u : 0x55555555u & ((1u << 2 * n) - 1), narrow_words(v));
}

static inline float sum(Lanes v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v.v), _mm512_extractf32x8_ps(v.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float max(Lanes v) {
  const __m256 eight = _mm256_max_ps(_mm512_extractf32x8_ps(v.v, 1), _mm512_castps512_ps256(v.v));
  const __m128 four = _mm_max_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
  const __m128 two = _mm_max_ps(_mm_movehl_ps(four, four), four);
  return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two));
}

}  // namespace BATON_TIER
}  // namespace baton

// Sixteen lanes as two AVX2 registers, with FMA. The functions are described in lanes_scalar.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace baton {
namespace BATON_TIER {

constexpr int TILE_ROWS = 6;    // 12 sums, 2 weights and a broadcast in 16 registers
constexpr int GROUPS_ONE = 4;   // 8 sums hide the latency of FMA
constexpr int GROUPS_MANY = 1;
constexpr int PAIR_ROWS = 2;    // 8 sums, 4 weights and 2 broadcasts in 16 registers
constexpr int GROUP_ROWS = 2;   // there are no registers for more
constexpr int PANEL_ROWS = 3;   // 12 sums, 2 weights and a broadcast
constexpr int PAIR_GROUPS = 1;
constexpr int DEPTH_ONE = 1;    // 8 sums hide the latency of FMA
constexpr int QUERIES = 4;
constexpr int QUERIES_OF_TWO = 1;

struct Lanes {
  __m256 a;
  __m256 b;
};

static inline Lanes all(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
static inline Lanes zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
static inline Lanes load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline Lanes fma(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}
static inline Lanes fms(Lanes x, Lanes y, Lanes z) {
  return {_mm256_fmsub_ps(x.a, y.a, z.a), _mm256_fmsub_ps(x.b, y.b, z.b)};
}
static inline Lanes add(Lanes x, Lanes y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
static inline Lanes sub(Lanes x, Lanes y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
static inline Lanes mul(Lanes x, Lanes y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
static inline Lanes div(Lanes x, Lanes y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
static inline Lanes if_less(Lanes x, Lanes y, Lanes a, Lanes b) {
  return {_mm256_blendv_ps(b.a, a.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
          _mm256_blendv_ps(b.b, a.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}

// All bits set in the lanes of [from, to), for the eight lanes that begin at `first`.
static inline __m256i lane_mask(int from, int to, int first) {
  const __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(first));
  return _mm256_and_si256(_mm256_cmpgt_epi32(lane, _mm256_set1_epi32(from - 1)),
                          _mm256_cmpgt_epi32(_mm256_set1_epi32(to), lane));
}
static inline Lanes within(Lanes v, int from, int to, Lanes other) {
  return {_mm256_blendv_ps(other.a, v.a, _mm256_castsi256_ps(lane_mask(from, to, 0))),
          _mm256_blendv_ps(other.b, v.b, _mm256_castsi256_ps(lane_mask(from, to, 8)))};
}

static inline __m256 power_of_two(__m256 rounded) {
  const __m256i n = _mm256_slli_epi32(_mm256_castps_si256(rounded), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(127 << 23)));
}
static inline Lanes power_of_two(Lanes rounded) { return {power_of_two(rounded.a), power_of_two(rounded.b)}; }

static inline __m256 widen_eight(const uint16_t* p) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}
static inline Lanes load(const uint16_t* p) { return {widen_eight(p), widen_eight(p + 8)}; }
static inline __m256 upper_bits(__m256i bits) {
  return _mm256_castsi256_ps(_mm256_and_si256(bits, _mm256_set1_epi32(static_cast<int>(0xffff0000u))));
}
static inline void load_pairs(const uint16_t* p, Lanes& even, Lanes& odd) {
  const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 16));
  even = {_mm256_castsi256_ps(_mm256_slli_epi32(a, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(b, 16))};
  odd = {upper_bits(a), upper_bits(b)};
}
static inline __m256 rounded(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return upper_bits(_mm256_blendv_epi8(up, quiet, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q))));
}
static inline Lanes rounded(Lanes v) { return {rounded(v.a), rounded(v.b)}; }
static inline Lanes load(const float* p, int n) {
  return {_mm256_maskload_ps(p, lane_mask(0, n, 0)), _mm256_maskload_ps(p + 8, lane_mask(0, n, 8))};
}
static inline Lanes load(const uint16_t* p, int n) {
  uint16_t bits[16] = {};
  for (int i = 0; i < n && i < 16; i++) {
    bits[i] = p[i];
  }
  return load(bits);
}
static inline void store(float* p, Lanes v) {
  _mm256_storeu_ps(p, v.a);
  _mm256_storeu_ps(p + 8, v.b);
}
static inline void stream(float* p, Lanes v) {
  _mm256_stream_ps(p, v.a);
  _mm256_stream_ps(p + 8, v.b);
}
static inline void settle_streams() { _mm_sfence(); }
static inline void store(float* p, Lanes v, int n) {
  _mm256_maskstore_ps(p, lane_mask(0, n, 0), v.a);
  _mm256_maskstore_ps(p + 8, lane_mask(0, n, 8), v.b);
}

static inline void narrow(uint16_t* to, Lanes v) {
  const Lanes r = rounded(v);
  const __m256i words = _mm256_packus_epi32(_mm256_srli_epi32(_mm256_castps_si256(r.a), 16),
                                            _mm256_srli_epi32(_mm256_castps_si256(r.b), 16));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm256_permute4x64_epi64(words, 0xd8));
}
static inline void narrow_apart(uint16_t* to, Lanes v, int n) {
  uint16_t bits[16];
  narrow(bits, v);
  for (int i = 0; i < n && i < 16; i++) {
    to[2 * i] = bits[i];
  }
}

static inline float sum(Lanes v) {
  const __m256 eight = _mm256_add_ps(v.a, v.b);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float max(Lanes v) {
  const __m256 eight = _mm256_max_ps(v.b, v.a);
  const __m128 four = _mm_max_ps(_mm256_extractf128_ps(eight, 1), _mm256_castps256_ps128(eight));
  const __m128 two = _mm_max_ps(_mm_movehl_ps(four, four), four);
  return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(two), two));
}

}  // namespace BATON_TIER
}  // namespace baton

// Sixteen rows of a checkpoint turned into columns, sixteen 32-bit words of each at a time: what packing consists of. Reads
// whole lines of sixteen rows, writes whole lines; about four shuffles a line.
#pragma once

#include "checkpoint.h"
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

#if defined(BATON_TIER_AVX512)

// Row i, lane j to row j, lane i; bits only move.
static inline void transpose(Lanes (&rows)[LANES]) {
  __m512i pairs[LANES];
#pragma GCC unroll 8
  for (int i = 0; i < LANES; i += 2) {
    const __m512i a = _mm512_castps_si512(rows[i].v);
    const __m512i b = _mm512_castps_si512(rows[i + 1].v);
    pairs[i] = _mm512_unpacklo_epi32(a, b);
    pairs[i + 1] = _mm512_unpackhi_epi32(a, b);
  }
  __m512i quads[LANES];
#pragma GCC unroll 4
  for (int i = 0; i < LANES; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // quads[4 * g + c]: in its 128-bit part p, column 4 * p + c of rows 4 * g to 4 * g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    const __m512i low_even = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x88);  // parts 0 and 2 of rows 0 to 7
    const __m512i low_odd = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xdd);   // parts 1 and 3
    const __m512i high_even = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x88);
    const __m512i high_odd = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xdd);
    rows[c].v = _mm512_castsi512_ps(_mm512_shuffle_i32x4(low_even, high_even, 0x88));
    rows[4 + c].v = _mm512_castsi512_ps(_mm512_shuffle_i32x4(low_odd, high_odd, 0x88));
    rows[8 + c].v = _mm512_castsi512_ps(_mm512_shuffle_i32x4(low_even, high_even, 0xdd));
    rows[12 + c].v = _mm512_castsi512_ps(_mm512_shuffle_i32x4(low_odd, high_odd, 0xdd));
  }
}

#elif defined(BATON_TIER_AVX2)

static inline void transpose_eight(__m256 (&r)[8]) {
  __m256 pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  __m256 quads[8];
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
    quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
    quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
    quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {
    r[c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x20);
    r[4 + c] = _mm256_permute2f128_ps(quads[c], quads[4 + c], 0x31);
  }
}

static inline void transpose(Lanes (&rows)[LANES]) {
  __m256 first[2][8];
  __m256 second[2][8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    first[0][i] = rows[i].a;
    first[1][i] = rows[8 + i].a;
    second[0][i] = rows[i].b;
    second[1][i] = rows[8 + i].b;
  }
#pragma GCC unroll 2
  for (int half = 0; half < 2; half++) {
    transpose_eight(first[half]);
    transpose_eight(second[half]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) {
    rows[i] = {first[0][i], first[1][i]};
    rows[8 + i] = {second[0][i], second[1][i]};
  }
}

#else

static inline void transpose(Lanes (&rows)[LANES]) {
  for (int i = 0; i < LANES; i++) {
    for (int j = 0; j < i; j++) {
      uint32_t a;
      uint32_t b;
      __builtin_memcpy(&a, &rows[i].v[j], 4);
      __builtin_memcpy(&b, &rows[j].v[i], 4);
      __builtin_memcpy(&rows[i].v[j], &b, 4);
      __builtin_memcpy(&rows[j].v[i], &a, 4);
    }
  }
}

#endif

// The first n elements of a checkpoint's row as float32; the others are 0.
template <class T>
static inline Lanes read_row(const T* from, int n) {
  return load(from, n);
}
template <>
inline Lanes read_row<Half>(const Half* from, int n) {
  float values[LANES];
  for (int i = 0; i < LANES; i++) {
    values[i] = i < n ? get(from + i) : 0.0f;
  }
  return load(values);
}

// to[i][j] = element i of row j, for `columns` (at most 16) elements of `rows` (at most 16) rows; zeros elsewhere.
template <class T>
static inline void read_transposed(float (*to)[LANES], const T* from, int64_t stride, int rows, int columns) {
  Lanes block[LANES];
#pragma GCC unroll 16
  for (int j = 0; j < LANES; j++) {
    block[j] = j < rows ? read_row(from + j * stride, columns) : zero();
  }
  transpose(block);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    store(to[i], block[i]);
  }
}

// to[i][j] = elements 2i and 2i + 1 of row j, as they are, for 32 elements of 16 rows of bfloat16. `past` writes past the
// caches, to whole lines.
static inline void move_transposed(uint16_t* to, const uint16_t* from, int64_t stride, bool past = false) {
  Lanes block[LANES];
#pragma GCC unroll 16
  for (int j = 0; j < LANES; j++) {
    block[j] = load(reinterpret_cast<const float*>(from + j * stride));
  }
  transpose(block);
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    float* line = reinterpret_cast<float*>(to) + i * LANES;
    past ? stream(line, block[i]) : store(line, block[i]);
  }
}

// The reverse of move_transposed: elements 2i and 2i + 1 of row j of `to` are from[i][j].
static inline void move_back(uint16_t* to, int64_t stride, const uint16_t* from) {
  Lanes block[LANES];
#pragma GCC unroll 16
  for (int i = 0; i < LANES; i++) {
    block[i] = load(reinterpret_cast<const float*>(from) + i * LANES);
  }
  transpose(block);
#pragma GCC unroll 16
  for (int j = 0; j < LANES; j++) {
    store(reinterpret_cast<float*>(to + j * stride), block[j]);
  }
}

}  // namespace BATON_TIER
}  // namespace baton

// The matrix unit in software, on AVX-512: the instructions that the kernels use, with the bits that Intel's manual (volume 2,
// chapter "Intel AMX instruction set") gives them, and with its faults: what the processor would refuse ends the process
// here, too, with a message. A thread has its own tiles and their configuration, as it does there.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace baton {
namespace emulated {

constexpr int TILES = 8;
constexpr int MOST_ROWS = 16;
constexpr int MOST_BYTES = 64;

struct Unit {
  TileConfig config;
  alignas(64) uint8_t tiles[TILES][MOST_ROWS][MOST_BYTES];
};

inline thread_local Unit unit;

[[noreturn]] static inline void fault(const char* instruction, const char* why) {
  std::fprintf(stderr, "baton: the emulated matrix unit refuses %s: %s\n", instruction, why);
  std::abort();
}

static inline void release() { std::memset(static_cast<void*>(&unit), 0, sizeof unit); }

static inline void configure(const void* from) {
  TileConfig wanted;
  std::memcpy(&wanted, from, sizeof wanted);
  release();
  if (wanted.palette == 0) {
    return;
  }
  if (wanted.palette != 1 || wanted.start_row != 0) {
    fault("ldtilecfg", "palette is not 1, or the first row not 0");
  }
  for (uint8_t byte : wanted.reserved) {
    if (byte != 0) {
      fault("ldtilecfg", "a reserved byte is not 0");
    }
  }
  for (int tile = 0; tile < 16; tile++) {
    const bool none = wanted.bytes[tile] == 0 && wanted.rows[tile] == 0;
    if (tile >= TILES ? !none : wanted.bytes[tile] > MOST_BYTES || wanted.rows[tile] > MOST_ROWS) {
      fault("ldtilecfg", "a tile is larger than 16 rows of 64 bytes, or there are more than eight");
    }
  }
  unit.config = wanted;
}

static inline int rows_of(int tile) { return unit.config.rows[tile]; }
static inline int bytes_of(int tile) { return unit.config.bytes[tile]; }

static inline void require_configured(int tile, const char* instruction) {
  if (unit.config.palette == 0 || rows_of(tile) == 0 || bytes_of(tile) == 0) {
    fault(instruction, "the tile is not configured");
  }
}

static inline void zero(int tile) {
  require_configured(tile, "tilezero");
  std::memset(unit.tiles[tile], 0, sizeof unit.tiles[tile]);
}

static inline void load(int tile, const void* from, int64_t stride) {
  require_configured(tile, "tileloadd");
  std::memset(unit.tiles[tile], 0, sizeof unit.tiles[tile]);
  for (int row = 0; row < rows_of(tile); row++) {
    std::memcpy(unit.tiles[tile][row], static_cast<const uint8_t*>(from) + row * stride, bytes_of(tile));
  }
}

static inline void store(int tile, void* to, int64_t stride) {
  require_configured(tile, "tilestored");
  for (int row = 0; row < rows_of(tile); row++) {
    std::memcpy(static_cast<uint8_t*>(to) + row * stride, unit.tiles[tile][row], bytes_of(tile));
  }
}

static inline void require_shapes(int sums, int a, int b, const char* instruction) {
  require_configured(sums, instruction);
  require_configured(a, instruction);
  require_configured(b, instruction);
  if (sums == a || sums == b || a == b) {
    fault(instruction, "a tile is named twice");
  }
  if (bytes_of(sums) % 4 != 0 || bytes_of(a) % 4 != 0 || bytes_of(b) % 4 != 0 || rows_of(sums) != rows_of(a) ||
      bytes_of(sums) != bytes_of(b) || bytes_of(a) / 4 != rows_of(b)) {
    fault(instruction, "the tiles' shapes do not fit each other");
  }
}

// Sums of a row's [from, to) of four bytes, each by ADD(sums, element of a, row of b).
template <class Add>
static inline void each_row(int sums, int a, int b, Add add) {
  const __mmask16 columns = static_cast<__mmask16>((1u << bytes_of(sums) / 4) - 1);
  for (int row = 0; row < rows_of(sums); row++) {
    void* to = unit.tiles[sums][row];
    _mm512_store_si512(to, _mm512_maskz_mov_epi32(columns, add(_mm512_load_si512(to), unit.tiles[a][row], unit.tiles[b])));
  }
}

// Pairs of bfloat16: the even and the odd terms alone, each by fma in order, then sum + (even + odd); denormals are zeros.
// Not inlined: the mode that its arithmetic runs in is its caller's.
__attribute__((noinline)) static void add_pairs(int sums, int a, int b) {
  const int depth = rows_of(b);
  each_row(sums, a, b, [depth](__m512i sum, const uint8_t* left, const uint8_t (*right)[MOST_BYTES]) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    __m512 even = _mm512_setzero_ps();
    __m512 odd = _mm512_setzero_ps();
    for (int k = 0; k < depth; k++) {
      int32_t pair;
      std::memcpy(&pair, left + 4 * k, sizeof pair);
      const __m512i x = _mm512_set1_epi32(pair);
      const __m512i w = _mm512_load_si512(right[k]);
      even = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(w, 16)),
                             even);
      odd = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(x, upper)),
                            _mm512_castsi512_ps(_mm512_and_si512(w, upper)), odd);
    }
    return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(sum), _mm512_add_ps(even, odd)));
  });
}

static inline void multiply_pairs(int sums, int a, int b) {
  require_shapes(sums, a, b, "tdpbf16ps");
  constexpr uint32_t DENORMALS_AS_ZERO = 1u << 15 | 1u << 6;
  constexpr uint32_t ROUNDING = 3u << 13;  // 0: to the nearest, whatever the thread has
  const uint32_t before = _mm_getcsr();
  _mm_setcsr((before & ~ROUNDING) | DENORMALS_AS_ZERO);
  add_pairs(sums, a, b);
  _mm_setcsr(before);
}

// Fours of bytes, those of `a` with a sign, those of `b` without; sums wrap.
static inline void multiply_bytes(int sums, int a, int b) {
  require_shapes(sums, a, b, "tdpbsud");
  const int depth = rows_of(b);
  each_row(sums, a, b, [depth](__m512i sum, const uint8_t* left, const uint8_t (*right)[MOST_BYTES]) {
    for (int k = 0; k < depth; k++) {
      int32_t four;
      std::memcpy(&four, left + 4 * k, sizeof four);
      sum = _mm512_dpbusd_epi32(sum, _mm512_load_si512(right[k]), _mm512_set1_epi32(four));
    }
    return sum;
  });
}

}  // namespace emulated
}  // namespace baton

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stream_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#undef _tile_dpbsud
#define _tile_loadconfig(from) baton::emulated::configure(from)
#define _tile_release() baton::emulated::release()
#define _tile_zero(tile) baton::emulated::zero(tile)
#define _tile_loadd(tile, from, stride) baton::emulated::load(tile, from, stride)
#define _tile_stream_loadd(tile, from, stride) baton::emulated::load(tile, from, stride)
#define _tile_stored(tile, to, stride) baton::emulated::store(tile, to, stride)
#define _tile_dpbf16ps(sums, a, b) baton::emulated::multiply_pairs(sums, a, b)
#define _tile_dpbsud(sums, a, b) baton::emulated::multiply_bytes(sums, a, b)

// What a processor can do at best, for measurements to be held against; nothing of a model uses these kernels.
//
// multiply_peak(arithmetic, rounds, done): products whose operands stay in registers or the nearest cache, in enough
// independent chains to hide their latency; arithmetic 0 = fma of float32, 1 = bfloat16, 2 = bytes. Without matrix units
// bfloat16 is multiplied by fma after widening, so its peak is that of fma. done[0] gets the operations done (a
// multiplication and an addition are two), done[1] something that depends on the results.
//
// read_memory(memory, bytes, streams, done): reads every byte once, as 1, 2 or 4 streams that advance together; more than
// one lets the processor ask for more pages at a time. done[0] gets the bytes read: whole lines only.
//
// Both do all their work for any share: a thread measures for itself.
#include "bytes.h"

namespace baton {
namespace BATON_TIER {

#if defined(BATON_TIER_AVX512)
static constexpr int CHAINS = 24;
static constexpr int BYTE_CHAINS = 12;  // more than two a cycle for five cycles
#elif defined(BATON_TIER_AVX2)
static constexpr int CHAINS = 6;  // of two registers each; 16 there are
#if defined(BATON_TIER_AVX_VNNI)
static constexpr int BYTE_CHAINS = 12;
#else
static constexpr int BYTE_CHAINS = 6;
#endif
#else
static constexpr int CHAINS = 4;
#endif

static constexpr int TURNS = 64;  // within a round
static constexpr int64_t LINE = 64;

static int64_t multiply_floats(int64_t rounds, int64_t* sink) {
  const Lanes a = all(1e-3f);
  const Lanes b = all(0.5f);
  Lanes chains[CHAINS];
  for (int i = 0; i < CHAINS; i++) {
    chains[i] = all(static_cast<float>(i));
  }
  for (int64_t turn = 0; turn < rounds * TURNS; turn++) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; i++) {
      chains[i] = fma(a, b, chains[i]);
    }
  }
  float all_sums = 0;
  for (int i = 0; i < CHAINS; i++) {
    all_sums += sum(chains[i]);
  }
  *sink = static_cast<int64_t>(all_sums);
  return rounds * TURNS * CHAINS * LANES * 2;
}

#if defined(BATON_TIER_AVX512)
static int64_t multiply_bytes(int64_t rounds, int64_t* sink) {
  const __m512i weight = _mm512_set1_epi8(3);
  const __m512i input = _mm512_set1_epi8(-1);
  __m512i chains[BYTE_CHAINS];
#pragma GCC unroll 12
  for (int i = 0; i < BYTE_CHAINS; i++) {
    chains[i] = _mm512_set1_epi32(i);
  }
  for (int64_t turn = 0; turn < rounds * TURNS; turn++) {
#pragma GCC unroll 12
    for (int i = 0; i < BYTE_CHAINS; i++) {
      // Not the intrinsic: GCC 12 copies the sums of that to other registers, or to memory and back.
      __asm__("vpdpbusd %2, %1, %0" : "+v"(chains[i]) : "v"(weight), "v"(input));
    }
  }
  __m512i all_chains = _mm512_setzero_si512();
#pragma GCC unroll 12
  for (int i = 0; i < BYTE_CHAINS; i++) {
    all_chains = _mm512_add_epi32(all_chains, chains[i]);
  }
  *sink = _mm512_reduce_add_epi32(all_chains);
  return rounds * TURNS * BYTE_CHAINS * 64 * 2;
}
#elif defined(BATON_TIER_AVX2)
// Where there is no vpdpbusd, exact sums of products of bytes are those of words, vpmaddwd's, which takes two of them.
static int64_t multiply_bytes(int64_t rounds, int64_t* sink) {
#if defined(BATON_TIER_AVX_VNNI)
  constexpr int BYTES = 32;
  const __m256i weight = _mm256_set1_epi8(3);
  const __m256i input = _mm256_set1_epi8(-1);
#else
  constexpr int BYTES = 16;
  const __m256i weight = _mm256_set1_epi16(3);
  const __m256i input = _mm256_set1_epi16(-1);
#endif
  __m256i chains[BYTE_CHAINS];
#pragma GCC unroll 12
  for (int i = 0; i < BYTE_CHAINS; i++) {
    chains[i] = _mm256_set1_epi32(i);
  }
  for (int64_t turn = 0; turn < rounds * TURNS; turn++) {
#pragma GCC unroll 12
    for (int i = 0; i < BYTE_CHAINS; i++) {
#if defined(BATON_TIER_AVX_VNNI)
      __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(chains[i]) : "x"(weight), "x"(input));
#else
      __m256i products;
      __asm__("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+x"(chains[i]), "=&x"(products) : "x"(weight), "x"(input));
#endif
    }
  }
  __m256i all_chains = _mm256_setzero_si256();
#pragma GCC unroll 12
  for (int i = 0; i < BYTE_CHAINS; i++) {
    all_chains = _mm256_add_epi32(all_chains, chains[i]);
  }
  *sink = sum(Sums{all_chains, _mm256_setzero_si256()});
  return rounds * TURNS * BYTE_CHAINS * BYTES * 2;
}
#else
static int64_t multiply_bytes(int64_t rounds, int64_t* sink) {
  alignas(64) uint8_t weight[PAIR_BYTES_8];
  alignas(64) int8_t x[BYTE_ROWS_8 * TILE_INPUTS];
  for (int i = 0; i < PAIR_BYTES_8; i++) {
    weight[i] = static_cast<uint8_t>(i);
  }
  for (int i = 0; i < BYTE_ROWS_8 * TILE_INPUTS; i++) {
    x[i] = static_cast<int8_t>(i);
  }
  Sums sums[BYTE_ROWS_8][2];
  for (int r = 0; r < BYTE_ROWS_8; r++) {
    sums[r][0] = sums[r][1] = all_sums(0);
  }
  for (int64_t round = 0; round < rounds; round++) {
    multiply_8<BYTE_ROWS_8>(weight, x, sums, [](int) {});
    for (int r = 0; r < BYTE_ROWS_8; r++) {
      sums[r][0] = clamp(sums[r][0], -(1 << 24), 1 << 24);
      sums[r][1] = clamp(sums[r][1], -(1 << 24), 1 << 24);
    }
    __asm__ volatile("" : : "r"(weight), "r"(x) : "memory");
  }
  int64_t result = 0;
  for (int r = 0; r < BYTE_ROWS_8; r++) {
    result += sum(sums[r][0]) + sum(sums[r][1]);
  }
  *sink = result;
  return rounds * BYTE_ROWS_8 * TILE_INPUTS * PAIR_OUTPUTS * 2;
}
#endif

void multiply_peak(Share, int32_t arithmetic, int64_t rounds, void* done) noexcept {
  int64_t* results = static_cast<int64_t*>(done);
  results[0] = arithmetic == 2 ? multiply_bytes(rounds, results + 1) : multiply_floats(rounds, results + 1);
}

// The widest vector that the tier has, or several that make a line.
typedef uint64_t Line __attribute__((vector_size(LINE)));

template <int STREAMS>
static int64_t read_lines(const uint8_t* memory, int64_t bytes, int64_t* sink) {
  constexpr int UNROLLED = 4;
  const int64_t part = bytes / STREAMS / (UNROLLED * LINE) * (UNROLLED * LINE);
  Line seen[STREAMS] = {};
  for (int64_t at = 0; at < part; at += UNROLLED * LINE) {
#pragma GCC unroll 4
    for (int s = 0; s < STREAMS; s++) {
#pragma GCC unroll 4
      for (int i = 0; i < UNROLLED; i++) {
        Line line;
        __builtin_memcpy(&line, memory + s * part + at + i * LINE, LINE);
        seen[s] ^= line;
      }
    }
  }
  uint64_t mixed = 0;
  for (int s = 0; s < STREAMS; s++) {
    for (int i = 0; i < 8; i++) {
      mixed ^= seen[s][i];
    }
  }
  *sink = static_cast<int64_t>(mixed);
  return part * STREAMS;
}

void read_memory(Share, const void* memory, int64_t bytes, int32_t streams, void* done) noexcept {
  const uint8_t* from = static_cast<const uint8_t*>(memory);
  int64_t* results = static_cast<int64_t*>(done);
  switch (streams) {
    case 1:
      results[0] = read_lines<1>(from, bytes, results + 1);
      break;
    case 2:
      results[0] = read_lines<2>(from, bytes, results + 1);
      break;
    default:
      results[0] = read_lines<4>(from, bytes, results + 1);
  }
}

}  // namespace BATON_TIER
}  // namespace baton

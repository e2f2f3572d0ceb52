// The one table of the library's kernels. The C++ declarations, the dispatch table of every tier and the C ABI come from
// it; Java reads names and parameter lists from the library and builds its calls from them.
#pragma once

#include <cstdint>

namespace baton {

// A kernel does one share of its work: units [units * part / parts, units * end / parts), a unit being what no two
// threads may cut: some output columns of a product, a row, a KV head of some tokens. A unit's bits do not depend on the
// share that it is in.
struct Share {
  int32_t part;
  int32_t end;
  int32_t parts;
};

}  // namespace baton

// Every kernel takes a Share before the parameters below; Java gives a team and the number of parts instead (team.h).
//
// How Java passes a parameter: `void*` as a memory segment that is kept alive during the call (memory that is not the
// device's own), any other pointer as a bare address, int32_t, int64_t and float as themselves.
//
// dtype numbers: 0 = float32, 1 = bfloat16, 2 = float16 (checkpoints only), 3 = int8 (KV only). Strides are in elements. A
// `layer` points to one layer of a KV cache, laid out as kv_layout.h says. `products` are `count` times seven int64, see
// products.h. Float32 weights are multiplied by linear and packed by pack_linear; bfloat16 weights by linear_tiles and
// pack_tiles, with inputs from stage_inputs; quantized ones by linear_int8 and linear_int4, with inputs from
// quantize_inputs and their scales behind them.
#define BATON_KERNELS(KERNEL)                                                                                          \
  KERNEL(linear, (const int64_t* products, int32_t count, const float* x, int64_t x_stride, int32_t rows,              \
                  int32_t inputs, const int32_t* borders, int32_t ranges))                                             \
  KERNEL(linear_tiles, (const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,                   \
                        const int32_t* borders, int32_t ranges))                                                       \
  KERNEL(attention, (float* out, int64_t out_stride, const float* q, int64_t q_stride, const uint8_t* layer,           \
                     int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads,           \
                     const int32_t* positions, const int32_t* sequences, const int32_t* tables, int32_t table_stride,  \
                     int32_t tokens, float scale, int32_t window))                                                     \
  KERNEL(rope_store, (float* q, int64_t q_stride, float* k, int64_t k_stride, const float* v, int64_t v_stride,        \
                      const float* cosines, int64_t cosines_stride, const float* sines, int64_t sines_stride,          \
                      uint8_t* layer, int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim,         \
                      int32_t heads, const int32_t* positions, const int32_t* sequences, const int32_t* tables,        \
                      int32_t table_stride, int32_t tokens))                                                           \
  KERNEL(rms_norm, (float* out, int64_t out_stride, const float* x, int64_t x_stride, const float* weight,             \
                    int32_t group, float epsilon, int32_t rows, int32_t width))                                        \
  KERNEL(silu_multiply, (float* out, int64_t out_stride, const float* gate, int64_t gate_stride, const float* up,      \
                         int64_t up_stride, int32_t rows, int32_t width))                                              \
  KERNEL(add, (float* x, int64_t x_stride, const float* y, int64_t y_stride, int32_t rows, int32_t width))             \
  KERNEL(gather_rows, (float* out, int64_t out_stride, const uint8_t* table, int32_t dtype, int64_t table_stride,      \
                       const int32_t* indices, int32_t rows, int32_t width))                                           \
  KERNEL(sum_ranks, (const int64_t* parts, const int64_t* strides, int32_t ranks, int32_t rows, int32_t from,          \
                     int32_t to))                                                                                      \
  KERNEL(combine_rows, (float* out, int64_t out_stride, const float* x, int64_t x_stride, const int32_t* slots,        \
                        const float* weights, int32_t choices, int32_t rows, int32_t width))                           \
  KERNEL(row_peaks, (float* peaks, const float* logits, int32_t width, int32_t rows))                                  \
  KERNEL(row_best, (uint8_t* best, const float* peaks, const float* logits, int32_t width, int32_t rows))              \
  KERNEL(row_exponentials, (float* sums, const float* logits, int32_t width, const uint8_t* views, int32_t count))     \
  KERNEL(row_weights, (int64_t* sums, const float* logits, int32_t width, const uint8_t* draws, int32_t count))        \
  KERNEL(row_draw, (int32_t* tokens, const float* logits, const float* peaks, int32_t width, const int64_t* sums,      \
                    const uint8_t* draws, int32_t count, int32_t* scratch))                                            \
  KERNEL(row_ranks, (int32_t* ids, int32_t* reached, const float* logits, const float* peaks, int32_t width,           \
                     const uint8_t* rankings, int32_t count, int32_t most, int32_t* scratch))                          \
  KERNEL(convert, (uint8_t* out, int32_t out_dtype, const void* in, int32_t in_dtype, int64_t in_stride, int32_t rows, \
                   int32_t columns))                                                                                   \
  KERNEL(pack_linear, (uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, int32_t outputs,          \
                       int32_t inputs, int32_t first, int32_t step))                                                   \
  KERNEL(stage_inputs, (uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,           \
                        const int32_t* borders, int32_t ranges, int32_t rows))                                         \
  KERNEL(pack_tiles, (uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, const int32_t* borders,    \
                      int32_t ranges, int32_t outputs, int32_t first, int32_t step))                                   \
  KERNEL(gather_packed, (float* out, int64_t out_stride, const int64_t* shards, int32_t format, int32_t inputs,        \
                         const int32_t* indices, int32_t rows))                                                        \
  KERNEL(find_unusable, (int64_t* found, const void* in, int32_t in_dtype, int64_t in_stride, int32_t rows,            \
                         int32_t columns))                                                                             \
  KERNEL(quantize_inputs, (uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,        \
                           const int32_t* borders, int32_t ranges, int32_t groups, int32_t rows))                      \
  KERNEL(linear_int8, (const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,                    \
                       const int32_t* borders, int32_t ranges))                                                        \
  KERNEL(linear_int4, (const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,                    \
                       const int32_t* borders, int32_t ranges))                                                        \
  KERNEL(pack_int8, (uint8_t* packed, float* scales, const void* in, int32_t in_dtype, int64_t in_stride,              \
                     int32_t columns, int32_t column, const int32_t* borders, int32_t ranges, int32_t outputs,         \
                     int32_t first, int32_t step))                                                                     \
  KERNEL(pack_int4, (uint8_t* packed, float* scales, const void* in, int32_t in_dtype, int64_t in_stride,              \
                     int32_t columns, int32_t column, const int32_t* borders, int32_t ranges, int32_t outputs,         \
                     int32_t first, int32_t step))                                                                     \
  KERNEL(copy_kv, (uint8_t* layer, int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim,            \
                   const void* table, int32_t head, int32_t heads, int32_t token_from, int32_t token_to, void* slab,   \
                   int32_t slab_dtype, int64_t slab_head_bytes, int32_t values, int32_t to_slab))         \
  KERNEL(multiply_peak, (int32_t arithmetic, int64_t rounds, void* done))                                              \
  KERNEL(read_memory, (const void* memory, int64_t bytes, int32_t streams, void* done))

// The tiers of lanes.h, then all, from the slowest to the fastest: the emulated one is never the fastest that runs.
#if defined(__x86_64__)
#define BATON_LANES_TIERS(TIER) TIER(scalar) TIER(avx2) TIER(avx512)
#define BATON_TIERS(TIER) TIER(scalar) TIER(avx2) TIER(avx_vnni) TIER(amx_emulated) TIER(avx512) TIER(amx)
#else
#define BATON_LANES_TIERS(TIER) TIER(scalar)
#define BATON_TIERS(TIER) TIER(scalar)
#endif

namespace baton {

constexpr int32_t FLOAT32 = 0;
constexpr int32_t BFLOAT16 = 1;
constexpr int32_t FLOAT16 = 2;
constexpr int32_t INT8 = 3;

#define BATON_LIST(...) __VA_ARGS__
#define BATON_DECLARE(name, parameters) void name(Share share, BATON_LIST parameters) noexcept;
#define BATON_DECLARE_TIER(tier)  \
  namespace tier {                \
  BATON_KERNELS(BATON_DECLARE)    \
  }
BATON_LANES_TIERS(BATON_DECLARE_TIER)
#undef BATON_DECLARE_TIER

#if defined(__x86_64__)
// AVX-VNNI: products of bytes are of their own, the others are the AVX2 tier's.
namespace avx_vnni {
using namespace avx2;
void quantize_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,
                     const int32_t* borders, int32_t ranges, int32_t groups, int32_t rows) noexcept;
void linear_int8(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept;
void linear_int4(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,
                 const int32_t* borders, int32_t ranges) noexcept;
void multiply_peak(Share share, int32_t arithmetic, int64_t rounds, void* done) noexcept;
void read_memory(Share share, const void* memory, int64_t bytes, int32_t streams, void* done) noexcept;
}  // namespace avx_vnni

// The matrix units, and their emulation for tests (matrix_unit.h): products and attention are of their own, the others are
// the AVX-512 tier's.
#define BATON_DECLARE_MATRIX_TIER(tier)                                                                                 \
  namespace tier {                                                                                                      \
  using namespace avx512;                                                                                               \
  void linear_tiles(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,          \
                    const int32_t* borders, int32_t ranges) noexcept;                                                  \
  void stage_inputs(Share share, uint8_t* staged, const float* x, int64_t x_stride, const float* norm, float epsilon,  \
                    const int32_t* borders, int32_t ranges, int32_t rows) noexcept;                                    \
  void linear_int8(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,           \
                   const int32_t* borders, int32_t ranges) noexcept;                                                   \
  void linear_int4(Share share, const int64_t* products, int32_t count, const uint8_t* staged, int32_t rows,           \
                   const int32_t* borders, int32_t ranges) noexcept;                                                   \
  void attention(Share share, float* out, int64_t out_stride, const float* q, int64_t q_stride, const uint8_t* layer,  \
                 int32_t dtype, int32_t block_tokens, int32_t kv_heads, int32_t head_dim, int32_t heads,               \
                 const int32_t* positions, const int32_t* sequences, const int32_t* tables, int32_t table_stride,      \
                 int32_t tokens, float scale, int32_t window) noexcept;                                                \
  }
BATON_DECLARE_MATRIX_TIER(amx_emulated)
BATON_DECLARE_MATRIX_TIER(amx)
#undef BATON_DECLARE_MATRIX_TIER
namespace amx {
void multiply_peak(Share share, int32_t arithmetic, int64_t rounds, void* done) noexcept;
}  // namespace amx
#endif
#undef BATON_DECLARE

}  // namespace baton

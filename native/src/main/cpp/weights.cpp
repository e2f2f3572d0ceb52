// From a checkpoint's rows to device tensors and packed weights; run once, at load, bound by memory and conversion. The
// checkpoint's data may have any alignment.
#include "checkpoint.h"
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// Calls `with` with the two pointers in their true types.
template <class F>
static inline void by_types(uint8_t* out, int32_t out_dtype, const void* in, int32_t in_dtype, const F& with) {
  const auto inner = [&](auto* to) { by_type(in, in_dtype, [&](const auto* from) { with(to, from); }); };
  out_dtype == BFLOAT16 ? inner(reinterpret_cast<uint16_t*>(out)) : inner(reinterpret_cast<float*>(out));
}

// out [rows, columns], dense, from rows that are in_stride elements apart.
void convert(Share share, uint8_t* out, int32_t out_dtype, const void* in, int32_t in_dtype, int64_t in_stride, int32_t rows,
             int32_t columns) noexcept {
  by_types(out, out_dtype, in, in_dtype, [&](auto* to, const auto* from) {
    for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
      for (int c = 0; c < columns; c++) {
        put(to + static_cast<int64_t>(row) * columns + c, get(from + row * in_stride + c));
      }
    }
  });
}

// packed [pair][2][inputs][16] float32 (see linear.cpp) from rows of outputs; missing outputs become zeros. Group g goes
// to half (first + g * step) % 2 of pair (first + g * step) / 2, as in pack_tiles.
void pack_linear(Share share, uint8_t* packed, const void* in, int32_t in_dtype, int64_t in_stride, int32_t outputs,
                 int32_t inputs, int32_t first, int32_t step) noexcept {
  by_type(in, in_dtype, [&](const auto* from) {
    const int groups = (outputs + LANES - 1) / LANES;
    for (int group = first_of(share, groups); group < end_of(share, groups); group++) {
      const int n = smaller(LANES, outputs - group * LANES);
      const auto* rows = from + static_cast<int64_t>(group) * LANES * in_stride;
      float* to = reinterpret_cast<float*>(packed) + static_cast<int64_t>(first + group * step) * LANES * inputs;
      for (int k = 0; k < inputs; k++, to += LANES) {
        for (int j = 0; j < LANES; j++) {
          to[j] = j < n ? get(rows + j * in_stride + k) : 0.0f;
        }
      }
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

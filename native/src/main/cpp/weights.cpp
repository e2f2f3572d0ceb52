// From a checkpoint's rows to device tensors and packed weights; run once, at load, bound by memory and conversion. The
// checkpoint's data may have any alignment.
#include "checkpoint.h"
#include "lanes.h"
#include "transpose.h"

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
      const int whole = inputs / LANES * LANES;
      for (int k = 0; k < whole; k += LANES, to += LANES * LANES) {
        read_transposed(reinterpret_cast<float(*)[LANES]>(to), rows + k, in_stride, n, LANES);
      }
      for (int k = whole; k < inputs; k++, to += LANES) {
        for (int j = 0; j < LANES; j++) {
          to[j] = j < n ? get(rows + j * in_stride + k) : 0.0f;
        }
      }
    }
  });
}

// The place, row * columns + column, of the first element that is infinite or no number, to *found, else -1. Bytes: all
// rows read once; bound by memory. The one kernel that does not share its work.
void find_unusable(Share share, int64_t* found, const void* in, int32_t in_dtype, int64_t in_stride, int32_t rows,
                   int32_t columns) noexcept {
  if (share.part > 0) {
    return;
  }
  *found = -1;
  by_type(in, in_dtype, [&](const auto* from) {
    for (int row = 0; row < rows && *found < 0; row++, from += in_stride) {
      // What is twice as large is infinite from 2^127 on; 0 times that is 0 of any sign, or no number.
      const auto twice = [](Lanes v) { return add(v, v); };
      Lanes faults[4] = {zero(), zero(), zero(), zero()};
      int c = 0;
      for (; c + 4 * LANES <= columns; c += 4 * LANES) {
        for (int i = 0; i < 4; i++) {
          faults[i] = fma(twice(read_row(from + c + i * LANES, LANES)), zero(), faults[i]);
        }
      }
      for (; c < columns; c += LANES) {
        faults[0] = fma(twice(read_row(from + c, smaller(LANES, columns - c))), zero(), faults[0]);
      }
      if (sum(add(add(faults[0], faults[1]), add(faults[2], faults[3]))) == 0.0f) {
        continue;
      }
      for (c = 0; *found < 0; c++) {
        if (2.0f * get(from + c) * 0.0f != 0.0f) {
          *found = static_cast<int64_t>(row) * columns + c;
        }
      }
    }
  });
}

}  // namespace BATON_TIER
}  // namespace baton

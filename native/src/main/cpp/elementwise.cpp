// Operations on rows of float32. All are bound by memory, or by the cache that their rows are in; bytes are said at each.
#include "norm.h"
#include "products.h"

namespace baton {
namespace BATON_TIER {

// out = x / sqrt(mean(x^2) + epsilon) * weight over each `group` of a row; out may be x. The squares are summed in sixteen
// lanes, added by halves. Bytes: x twice (the second time from the nearest cache), out once.
void rms_norm(Share share, float* out, int64_t out_stride, const float* x, int64_t x_stride, const float* weight, int32_t group,
              float epsilon, int32_t rows, int32_t width) noexcept {
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    for (int start = 0; start < width; start += group) {
      const float* from = x + row * x_stride + start;
      float* to = out + row * out_stride + start;
      const Lanes scale = norm_scale(from, group, epsilon);
      for (int c = 0; c < group; c += LANES) {
        const int n = smaller(LANES, group - c);
        store(to + c, mul(mul(load(from + c, n), scale), load(weight + c, n)), n);
      }
    }
  }
}

// out = gate / (1 + exp(-gate)) * up; out may be gate. Bytes: two rows read, one written; about 20 operations an element.
void silu_multiply(Share share, float* out, int64_t out_stride, const float* gate, int64_t gate_stride, const float* up,
                   int64_t up_stride, int32_t rows, int32_t width) noexcept {
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    for (int c = 0; c < width; c += LANES) {
      const int n = smaller(LANES, width - c);
      const Lanes g = load(gate + row * gate_stride + c, n);
      const Lanes u = load(up + row * up_stride + c, n);
      store(out + row * out_stride + c, mul(silu(g), u), n);
    }
  }
}

// x += y; a y_stride of 0 adds one row to all. Bytes: two rows read, one written.
void add(Share share, float* x, int64_t x_stride, const float* y, int64_t y_stride, int32_t rows, int32_t width) noexcept {
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    float* a = x + row * x_stride;
    const float* b = y + row * y_stride;
    for (int c = 0; c < width; c += LANES) {
      const int n = smaller(LANES, width - c);
      store(a + c, add(load(a + c, n), load(b + c, n)), n);
    }
  }
}

template <class T>
static void gather(float* out, int64_t out_stride, const T* table, int64_t table_stride, const int32_t* indices, int first_row,
                   int end_row, int width) {
  for (int row = first_row; row < end_row; row++) {
    const T* from = table + indices[row] * table_stride;
    for (int c = 0; c < width; c += LANES) {
      const int n = smaller(LANES, width - c);
      store(out + row * out_stride + c, load(from + c, n), n);
    }
  }
}

// out[i] = table[indices[i]], widened to float32. Bytes: one row read, one written.
void gather_rows(Share share, float* out, int64_t out_stride, const uint8_t* table, int32_t dtype, int64_t table_stride,
                 const int32_t* indices, int32_t rows, int32_t width) noexcept {
  if (dtype == BFLOAT16) {
    gather(out, out_stride, reinterpret_cast<const uint16_t*>(table), table_stride, indices, first_of(share, rows),
           end_of(share, rows), width);
  } else {
    gather(out, out_stride, reinterpret_cast<const float*>(table), table_stride, indices, first_of(share, rows),
           end_of(share, rows), width);
  }
}

template <int N>
static inline Lanes tree(const int64_t* parts, const int64_t* strides, int row, int column, int n) {
  if constexpr (N == 1) {
    return load(reinterpret_cast<const float*>(parts[0]) + row * strides[0] + column, n);
  } else {
    const Lanes left = tree<N / 2>(parts, strides, row, column, n);
    return add(left, tree<N / 2>(parts + N / 2, strides + N / 2, row, column, n));
  }
}

template <int N>
static void sum_all(const int64_t* parts, const int64_t* strides, int first_row, int end_row, int from, int to) {
  for (int row = first_row; row < end_row; row++) {
    for (int c = from; c < to; c += LANES) {
      const int n = smaller(LANES, to - c);
      const Lanes total = tree<N>(parts, strides, row, c, n);
      for (int r = 0; r < N; r++) {
        store(reinterpret_cast<float*>(parts[r]) + row * strides[r] + c, total, n);
      }
    }
  }
}

// The tree sum of columns [from, to) of all ranks' parts (2, 4 or 8 addresses), put into each of them. Bytes: ranks rows
// read, ranks rows written.
void sum_ranks(Share share, const int64_t* parts, const int64_t* strides, int32_t ranks, int32_t rows, int32_t from,
               int32_t to) noexcept {
  switch (ranks) {
    case 2:
      return sum_all<2>(parts, strides, first_of(share, rows), end_of(share, rows), from, to);
    case 4:
      return sum_all<4>(parts, strides, first_of(share, rows), end_of(share, rows), from, to);
    case 8:
      return sum_all<8>(parts, strides, first_of(share, rows), end_of(share, rows), from, to);
  }
}

}  // namespace BATON_TIER
}  // namespace baton

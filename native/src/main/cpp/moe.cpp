// Mixtures of experts: the products of a row's experts come together again.
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// out[row] = the sum over j of weights[row][j] * x[slots[row][j]]: the first a product, the others added by fma in order
// of j. Bytes: `choices` rows read, one written; two operations an element read. Bound by memory, or by the cache that
// the experts' results are in.
void combine_rows(Share share, float* out, int64_t out_stride, const float* x, int64_t x_stride, const int32_t* slots,
                  const float* weights, int32_t choices, int32_t rows, int32_t width) noexcept {
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    const int32_t* slot = slots + static_cast<int64_t>(row) * choices;
    const float* weight = weights + static_cast<int64_t>(row) * choices;
    for (int c = 0; c < width; c += LANES) {
      const int n = smaller(LANES, width - c);
      Lanes sum = mul(all(weight[0]), load(x + slot[0] * x_stride + c, n));
      for (int j = 1; j < choices; j++) {
        sum = fma(all(weight[j]), load(x + slot[j] * x_stride + c, n), sum);
      }
      store(out + row * out_stride + c, sum, n);
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

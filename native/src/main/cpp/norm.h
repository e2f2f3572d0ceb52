// The root-mean-square norm of one row, for the kernels that norm on their way.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// 1 / sqrt(mean(x^2) + epsilon) of n elements: the squares are summed in sixteen lanes, added by halves.
static inline Lanes norm_scale(const float* x, int n, float epsilon) {
  Lanes squares = zero();
  for (int c = 0; c < n; c += LANES) {
    const Lanes v = load(x + c, smaller(LANES, n - c));
    squares = fma(v, v, squares);
  }
  const float mean = sum(squares) / static_cast<float>(n);
  return all(1.0f / __builtin_sqrtf(mean + epsilon));
}

}  // namespace BATON_TIER
}  // namespace baton

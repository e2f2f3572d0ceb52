// The element types of a checkpoint's data, which may have any alignment.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// IEEE half precision, a type of its own so that it is not taken for bfloat16.
struct Half {
  uint16_t bits;
};

template <>
inline float get<Half>(const Half* from) {
  uint16_t half;
  __builtin_memcpy(&half, from, 2);
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = half >> 10 & 31u;
  const uint32_t fraction = half & 0x3ffu;
  uint32_t bits;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    __builtin_memcpy(&bits, &magnitude, 4);
    bits |= sign;
  } else {
    bits = sign | (exponent == 31 ? 255u : exponent + 112u) << 23 | fraction << 13;
    if (exponent == 31 && fraction != 0) {
      bits |= 0x400000u;  // a NaN becomes a quiet one
    }
  }
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// Calls `with` with the pointer in its true type.
template <class F>
static inline void by_type(const void* in, int32_t in_dtype, const F& with) {
  switch (in_dtype) {
    case FLOAT32:
      return with(static_cast<const float*>(in));
    case BFLOAT16:
      return with(static_cast<const uint16_t*>(in));
    case FLOAT16:
      return with(static_cast<const Half*>(in));
  }
}

}  // namespace BATON_TIER
}  // namespace baton

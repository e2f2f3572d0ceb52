// Rows of keys and values in eight bits and a scale, by the rule of all devices: the same bits as theirs.
#pragma once

#include "layouts.h"

namespace baton {

constexpr int kMostParts = 4;  // of 32 elements in a row; element 32 * i + lane is the lane's part i

// The scale of a row of eight bits: largest / 127 to sixteen significant bits; 0 where that is denormal, NaN where an
// element is infinite or no number.
DEVICE float scale_of(const float (&row)[kMostParts]) {
  float most = 0.0f;
  bool finite = true;
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    float magnitude = as_float(as_bits(row[i]) & 0x7fffffffu);
    finite = finite && as_bits(magnitude) < 0x7f800000u;
    most = larger(most, magnitude);
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    most = larger(most, lane_xor(most, mask));
  }
  if (vote(!finite) != 0) {
    return as_float(0x7fc00000u);
  }
  unsigned bits = (as_bits(most / 127.0f) + 128u) >> 8 << 8;
  return bits < 0x00800000u ? 0.0f : as_float(bits);
}

// To the nearest whole number, to even.
DEVICE int nearest(float x) {
  const float rounder = 12582912.0f;
  return static_cast<int>(x + rounder - rounder);
}

// An element in eight bits; `inverse` is 1 / scale.
DEVICE unsigned char eight_bits(float x, float scale, float inverse) {
  return static_cast<unsigned char>(scale > 0.0f ? nearest(x * inverse) : 0);
}

// Elements that are not there are 0 in `row`, and so become the fillings.
DEVICE void store_eight_bits(const KvLayer& layer, int block, int value, int head, int slot,
                             const float (&row)[kMostParts]) {
  Global<unsigned char> to = layer.bytes(block, value, head) + static_cast<long long>(slot) * layer.width;
  float scale = scale_of(row);
  float inverse = 1.0f / scale;
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    if (d < layer.width) {
      to[d] = eight_bits(row[i], scale, inverse);
    }
  }
  if (lane() == 0) {
    layer.scales(block, value, head)[slot] = scale;
  }
}

}  // namespace baton

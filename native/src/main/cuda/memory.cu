// Weights as they come from a checkpoint, and the ceilings of a memory. All move each byte once.

#include "layouts.h"

namespace baton {
namespace {

// dtype numbers: 0 = float32, 1 = bfloat16, 2 = float16.
DEVICE float half_to_float(unsigned short bits) {
  unsigned sign = static_cast<unsigned>(bits & 0x8000u) << 16;
  unsigned exponent = bits >> 10 & 31;
  unsigned fraction = bits & 0x3ffu;
  if (exponent == 31) {
    return as_float(sign | 0x7f800000u | fraction << 13);
  }
  if (exponent == 0) {
    float value = static_cast<float>(fraction) * 5.9604644775390625e-8f;
    return sign != 0 ? -value : value;
  }
  return as_float(sign | (exponent + 112) << 23 | fraction << 13);
}

DEVICE float element(Global<const unsigned char> from, int dtype, long long at) {
  if (dtype == 0) {
    return cast<const float>(from)[at];
  }
  bf16 bits = cast<const bf16>(from)[at];
  return dtype == 1 ? widen(bits) : half_to_float(bits.bits);
}

// A well-mixed number for each index (Steele, Lea and Flood's SplitMix, 2014).
DEVICE unsigned long long mixed(unsigned long long x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

}  // namespace
}  // namespace baton

using namespace baton;

// Rows of a checkpoint's slice to packed rows of bfloat16, fillings zero. group: 0 = row i to row i; 1 = a gate's rows
// to the first, 2 = the rows that it lets through to the second eight of every sixteen. Rows beyond `rows` become
// zeros.
KERNEL(128) pack_weight(Global<bf16> packed, Global<const unsigned char> from, int dtype, long long fromPitch, int rows,
                        int group, Packing packing) {
  int row = block_x();
  long long to = group == 0 ? row : row / 8 * 16 + (group - 1) * 8 + row % 8;
  for (int place = thread(); place < packing.pitch(); place += threads()) {
    int column = row < rows ? packing.column(place) : -1;
    float value = column >= 0 ? element(from, dtype, row * fromPitch + column) : 0.0f;
    packed[to * packing.pitch() + place] = round_float(value);
  }
}
BATON_KERNEL(pack_weight)

// The least place row * columns + column of an element of 2^127 or more, or no number; `first` is all ones before.
KERNEL(256) find_unusable(Global<unsigned long long> first, Global<const unsigned char> from, int dtype,
                          long long fromPitch, int rows, int columns) {
  for (long long row = block_x(); row < rows; row += blocks_x()) {
    for (int c = thread(); c < columns; c += threads()) {
      unsigned bits = as_bits(element(from, dtype, row * fromPitch + c));
      if ((bits & 0x7fffffffu) >= 0x7f000000u) {
        atomic_least(first, static_cast<unsigned long long>(row) * columns + c);
        break;
      }
    }
  }
}
BATON_KERNEL(find_unusable)

// A slice to a dense float32 or bfloat16 tensor.
KERNEL(256) convert_floats(Global<unsigned char> to, int toDtype, Global<const unsigned char> from, int fromDtype,
                           long long fromPitch, int rows, int columns) {
  int c = block_x() * threads() + thread();
  for (long long row = block_y(); row < rows && c < columns; row += blocks_y()) {
    float value = element(from, fromDtype, row * fromPitch + c);
    if (toDtype == 0) {
      cast<float>(to)[row * columns + c] = value;
    } else {
      cast<bf16>(to)[row * columns + c] = round_float(value);
    }
  }
}
BATON_KERNEL(convert_floats)

// Elements of `bytes` (2 or 4) of a random matrix whose rows have `pitch` of them, as RandomElements of the host has them:
// a part of word i of 64 bits, keep and base being applied to each whole word. Of `rows` rows `columns` from element
// `first` on, dense. Writes each byte once; forty operations an element.
KERNEL(256) random_elements(Global<unsigned char> to, int bytes, unsigned long long seed, unsigned long long keep,
                            unsigned long long base, long long first, long long pitch, int rows, int columns) {
  int c = block_x() * threads() + thread();
  for (long long row = block_y(); row < rows && c < columns; row += blocks_y()) {
    unsigned long long at = static_cast<unsigned long long>(first + row * pitch + c) * static_cast<unsigned>(bytes);
    unsigned long long word = (mixed(seed + at / 8 * 0x9e3779b97f4a7c15ull) & keep) + base;
    auto element = static_cast<unsigned>(word >> at % 8 * 8);
    if (bytes == 4) {
      cast<unsigned>(to)[row * columns + c] = element;
    } else {
      cast<bf16>(to)[row * columns + c].bits = static_cast<unsigned short>(element);
    }
  }
}
BATON_KERNEL(random_elements)

// Ceilings: a copy of `count` times sixteen bytes.
KERNEL(512) copy_bytes(Global<Words4> to, Global<const Words4> from, long long count) {
  long long step = static_cast<long long>(blocks_x()) * threads();
  long long i = static_cast<long long>(block_x()) * threads() + thread();
  for (; i + 3 * step < count; i += 4 * step) {
    Words4 part[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
      part[j] = from[i + j * step];
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
      to[i + j * step] = part[j];
    }
  }
  for (; i < count; i += step) {
    to[i] = from[i];
  }
}
BATON_KERNEL(copy_bytes)

// Ceilings: reads all and leaves the exclusive or of what each block saw.
KERNEL(512) read_bytes(Global<Words4> to, Global<const Words4> from, long long count) {
  long long step = static_cast<long long>(blocks_x()) * threads();
  long long i = static_cast<long long>(block_x()) * threads() + thread();
  Words4 seen = {0, 0, 0, 0};
  auto take = [&](const Words4& part) {
    seen = {seen.x ^ part.x, seen.y ^ part.y, seen.z ^ part.z, seen.w ^ part.w};
  };
  for (; i + 3 * step < count; i += 4 * step) {
    Words4 part[4];
    UNROLL
    for (int j = 0; j < 4; j++) {
      part[j] = from[i + j * step];
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
      take(part[j]);
    }
  }
  for (; i < count; i += step) {
    take(from[i]);
  }
  UNROLL
  for (int mask = 16; mask > 0; mask >>= 1) {
    take({lane_xor(seen.x, mask), lane_xor(seen.y, mask), lane_xor(seen.z, mask), lane_xor(seen.w, mask)});
  }
  Shared<Words4> shared = shared_at<Words4>(0);
  if (lane() == 0) {
    shared[warp()] = seen;
  }
  block_barrier();
  if (thread() == 0) {
    for (int i = 1; i < threads() / 32; i++) {
      take(shared[i]);
    }
    to[block_x()] = seen;
  }
}
BATON_KERNEL(read_bytes)

// KV between a rank's blocks and canonical slabs, [layer][k, v][head][token][dim]: each element is moved once, a warp
// for each row, so that both sides are read and written in whole lines.

#include "layouts.h"

namespace baton {
namespace {

constexpr int kFloat = 0;
constexpr int kBf16 = 1;
constexpr int kInt8 = 2;  // a row's elements, then its scale, a float32 at any address

constexpr int kMostParts = 4;  // of 32 elements in a row

DEVICE long long row_bytes(int dim, int type) {
  return type == kFloat ? dim * 4LL : type == kBf16 ? dim * 2LL : dim + 4LL;
}

DEVICE float scale_at(Global<const unsigned char> at) {
  return as_float(at[0] | static_cast<unsigned>(at[1]) << 8 | static_cast<unsigned>(at[2]) << 16 |
                  static_cast<unsigned>(at[3]) << 24);
}

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

struct Row {
  Global<bf16> cache;
  Global<unsigned char> slab;
  bool real;
};

DEVICE Row row_of(Global<unsigned char> slab, int type, const KvLayer& layer, long long layerBytes,
                  Global<const int> table, int layerFrom, int headFrom, int tokenFrom, int tokens, int slabHeads,
                  int slabHeadFrom) {
  int token = block_x() * (threads() / 32) + warp();
  Row row = {nullptr, nullptr, token < tokens};
  if (row.real) {
    int number = block_z() / 2;
    int value = block_z() % 2;
    int position = tokenFrom + token;
    Global<bf16> base = cast<bf16>(cast<unsigned char>(layer.base) + (layerFrom + number) * layerBytes);
    int block = table[position / layer.blockTokens];
    row.cache = base + layer.offset(block, value, headFrom + block_y(), position % layer.blockTokens);
    long long at = (static_cast<long long>(block_z()) * slabHeads + slabHeadFrom + block_y()) * tokens + token;
    row.slab = slab + at * row_bytes(layer.headDim, type);
  }
  return row;
}

}  // namespace
}  // namespace baton

using namespace baton;

KERNEL(256) kv_pack(Global<unsigned char> slab, int slabType, KvLayer layer, long long layerBytes,
                    Global<const int> table, int layerFrom, int headFrom, int tokenFrom, int tokens, int slabHeads,
                    int slabHeadFrom) {
  Row row = row_of(slab, slabType, layer, layerBytes, table, layerFrom, headFrom, tokenFrom, tokens, slabHeads,
                   slabHeadFrom);
  if (!row.real) {
    return;
  }
  float values[kMostParts];
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    values[i] = d < layer.headDim ? widen(row.cache[d]) : 0.0f;
  }
  float scale = slabType == kInt8 ? scale_of(values) : 1.0f;
  float inverse = 1.0f / scale;
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    if (d < layer.headDim) {
      if (slabType == kFloat) {
        cast<float>(row.slab)[d] = values[i];
      } else if (slabType == kBf16) {
        cast<bf16>(row.slab)[d] = round_float(values[i]);
      } else {
        row.slab[d] = static_cast<unsigned char>(scale > 0.0f ? nearest(values[i] * inverse) : 0);
      }
    }
  }
  if (slabType == kInt8 && lane() < 4) {
    row.slab[layer.headDim + lane()] = static_cast<unsigned char>(as_bits(scale) >> lane() * 8);
  }
}
BATON_KERNEL(kv_pack)

KERNEL(256) kv_unpack(Global<unsigned char> slab, int slabType, KvLayer layer, long long layerBytes,
                      Global<const int> table, int layerFrom, int headFrom, int tokenFrom, int tokens, int slabHeads,
                      int slabHeadFrom) {
  Row row = row_of(slab, slabType, layer, layerBytes, table, layerFrom, headFrom, tokenFrom, tokens, slabHeads,
                   slabHeadFrom);
  if (!row.real) {
    return;
  }
  float scale = slabType == kInt8 ? scale_at(row.slab + layer.headDim) : 1.0f;
  for (int d = lane(); d < layer.width; d += 32) {
    float value = 0.0f;
    if (d < layer.headDim) {
      value = slabType == kFloat  ? cast<float>(row.slab)[d]
              : slabType == kBf16 ? widen(cast<bf16>(row.slab)[d])
                                  : static_cast<float>(static_cast<signed char>(row.slab[d])) * scale;
    }
    row.cache[d] = round_float(value);
  }
}
BATON_KERNEL(kv_unpack)

// KV between a rank's blocks and canonical slabs, [layer][k, v][head][token][dim]: each element is moved once, a warp
// for each row, so that both sides are read and written in whole lines.

#include "eight_bits.h"

namespace baton {
namespace {

constexpr int kFloat = 0;
constexpr int kBf16 = 1;
constexpr int kInt8 = 2;  // a row's elements, then its scale, a float32 at any address

DEVICE long long row_bytes(int dim, int type) {
  return type == kFloat ? dim * 4LL : type == kBf16 ? dim * 2LL : dim + 4LL;
}

DEVICE float scale_at(Global<const unsigned char> at) {
  return as_float(at[0] | static_cast<unsigned>(at[1]) << 8 | static_cast<unsigned>(at[2]) << 16 |
                  static_cast<unsigned>(at[3]) << 24);
}

// Which row of the cache and of the slab a warp has.
struct Row {
  KvLayer layer;
  int block;
  int value;
  int head;
  int slot;
  Global<unsigned char> slab;
  bool real;
};

DEVICE Row row_of(Global<unsigned char> slab, int type, const KvLayer& layer, long long layerBytes,
                  Global<const int> table, int layerFrom, int headFrom, int tokenFrom, int tokens, int slabHeads,
                  int slabHeadFrom) {
  int token = block_x() * (threads() / 32) + warp();
  Row row = {layer, 0, block_z() % 2, headFrom + block_y(), 0, nullptr, token < tokens};
  if (row.real) {
    int position = tokenFrom + token;
    row.layer.base = cast<bf16>(cast<unsigned char>(layer.base) + (layerFrom + block_z() / 2) * layerBytes);
    row.block = table[position / layer.blockTokens];
    row.slot = position % layer.blockTokens;
    long long at = (static_cast<long long>(block_z()) * slabHeads + slabHeadFrom + block_y()) * tokens + token;
    row.slab = slab + at * row_bytes(layer.headDim, type);
  }
  return row;
}

// What the cache has, widened.
DEVICE void read_cache(float (&values)[kMostParts], const Row& row) {
  const KvLayer& layer = row.layer;
  Global<const unsigned char> bytes = layer.bytes(row.block, row.value, row.head);
  float scale = layer.inBytes != 0 ? layer.scales(row.block, row.value, row.head)[row.slot] : 1.0f;
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    values[i] = 0.0f;
    if (d < layer.headDim && layer.inBytes != 0) {
      values[i] = static_cast<float>(static_cast<signed char>(bytes[row.slot * layer.width + d])) * scale;
    } else if (d < layer.headDim) {
      values[i] = widen(layer.base[layer.offset(row.block, row.value, row.head, row.slot) + d]);
    }
  }
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
  read_cache(values, row);
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
        row.slab[d] = eight_bits(values[i], scale, inverse);
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
  float values[kMostParts];
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    values[i] = 0.0f;
    if (d < layer.headDim) {
      values[i] = slabType == kFloat  ? cast<float>(row.slab)[d]
                  : slabType == kBf16 ? widen(cast<bf16>(row.slab)[d])
                                      : static_cast<float>(static_cast<signed char>(row.slab[d])) * scale;
    }
  }
  if (layer.inBytes != 0) {
    store_eight_bits(row.layer, row.block, row.value, row.head, row.slot, values);
    return;
  }
  Global<bf16> to = row.layer.base + row.layer.offset(row.block, row.value, row.head, row.slot);
  UNROLL
  for (int i = 0; i < kMostParts; i++) {
    int d = i * 32 + lane();
    if (d < layer.width) {
      to[d] = round_float(values[i]);
    }
  }
}
BATON_KERNEL(kv_unpack)

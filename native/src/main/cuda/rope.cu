// Rotation of queries and keys, and the store of keys and values to a layer's blocks. Reads and writes each element
// once.

#include "eight_bits.h"

using namespace baton;

namespace {

struct Pair {
  float low;
  float high;
};

// Elements d and d + half of a head, Hugging Face's pairs.
DEVICE Pair rotate(float low, float high, float cos, float sin) {
  return {fma_float(low, cos, -(high * sin)), fma_float(high, cos, low * sin)};
}

// A token's keys and values in eight bits, a warp for each row.
DEVICE void store_rows(Global<const float> key, Global<const float> value, Global<const float> cos,
                       Global<const float> sin, const KvLayer& layer, int block, int slot) {
  int half = layer.headDim / 2;
  for (int row = warp(); row < 2 * layer.heads; row += threads() / 32) {
    int head = row / 2;
    int from = head * layer.headDim;
    float x[kMostParts];
    UNROLL
    for (int i = 0; i < kMostParts; i++) {
      int d = i * 32 + lane();
      x[i] = 0.0f;
      if (d < layer.headDim && row % 2 == 0) {
        int low = d < half ? d : d - half;
        Pair turned = rotate(key[from + low], key[from + low + half], cos[low], sin[low]);
        x[i] = d < half ? turned.low : turned.high;
      } else if (d < layer.headDim) {
        x[i] = value[from + d];
      }
    }
    store_eight_bits(layer, block, row % 2, head, slot, x);
  }
}

}  // namespace

KERNEL(128) rope_store(Global<float> q, int qPitch, Global<const float> k, int kPitch, Global<const float> v,
                       int vPitch, Global<const float> cos, Global<const float> sin, int heads, KvLayer layer,
                       Batch batch) {
  int token = block_x();
  if (token >= batch.counts[0]) {
    return;
  }
  int position = batch.positions[token];
  int half = layer.headDim / 2;
  Global<const float> c = cos + static_cast<long long>(position) * half;
  Global<const float> s = sin + static_cast<long long>(position) * half;
  Global<float> query = q + static_cast<long long>(token) * qPitch;
  for (int i = thread(); i < heads * half; i += threads()) {
    int at = i / half * layer.headDim + i % half;
    Pair turned = rotate(query[at], query[at + half], c[i % half], s[i % half]);
    query[at] = turned.low;
    query[at + half] = turned.high;
  }
  Global<const float> key = k + static_cast<long long>(token) * kPitch;
  Global<const float> value = v + static_cast<long long>(token) * vPitch;
  long long table = static_cast<long long>(batch.sequenceOf[token]) * batch.maxBlocks;
  int block = batch.tables[table + position / layer.blockTokens];
  int slot = position % layer.blockTokens;
  if (layer.inBytes != 0) {
    store_rows(key, value, c, s, layer, block, slot);
    return;
  }
  for (int i = thread(); i < layer.heads * half; i += threads()) {
    int head = i / half;
    int d = i % half;
    int at = head * layer.headDim + d;
    Pair turned = rotate(key[at], key[at + half], c[d], s[d]);
    Global<bf16> to = layer.base + layer.offset(block, 0, head, slot);
    to[d] = round_float(turned.low);
    to[d + half] = round_float(turned.high);
  }
  for (int i = thread(); i < layer.heads * layer.width; i += threads()) {
    int head = i / layer.width;
    int d = i % layer.width;
    bool real = d < layer.headDim;
    layer.base[layer.offset(block, 1, head, slot) + d] =
        round_float(real ? value[head * layer.headDim + d] : 0.0f);
    if (!real) {
      layer.base[layer.offset(block, 0, head, slot) + d] = round_float(0.0f);
    }
  }
}
BATON_KERNEL(rope_store)

// Rows of packed weights, as the embedding of a model whose output layer is its embedding.
#include "bytes.h"
#include "tiles.h"

namespace baton {
namespace BATON_TIER {

// out[i] = row indices[i] of the rows of all shards in order. A shard is its weight's address, that of its scales in eight
// and four bits, and the first row after it. `format` is 0 for float32 (see linear.cpp), 1 for bfloat16 (tiles.cpp), 8 and 4 for
// bytes and nibbles (bytes.h). Bytes: a line of 64 for each 1, 2 or 4 elements of a row: as slow as it is rare.
void gather_packed(Share share, float* out, int64_t out_stride, const int64_t* shards, int32_t format, int32_t inputs,
                   const int32_t* indices, int32_t rows) noexcept {
  for (int i = first_of(share, rows); i < end_of(share, rows); i++) {
    const int64_t* shard = shards;
    int64_t row = indices[i];
    for (; row >= shard[2]; shard += 3) {
    }
    row -= shard == shards ? 0 : shard[-1];
    const int64_t group = row / LANES;
    const int lane = static_cast<int>(row % LANES);
    const uint8_t* packed = reinterpret_cast<const uint8_t*>(shard[0]);
    float* to = out + i * out_stride;
    if (format == FLOAT32) {
      const float* from = reinterpret_cast<const float*>(packed) + group * inputs * LANES + lane;
      for (int k = 0; k < inputs; k++) {
        to[k] = from[static_cast<int64_t>(k) * LANES];
      }
    } else if (format == BFLOAT16) {
      const uint16_t* from = reinterpret_cast<const uint16_t*>(packed) + (group / 2 * tiles_of(inputs) * 2 + group % 2) * TILE;
      for (int k = 0; k < inputs; k++) {
        const int at = k % TILE_DEPTH;
        to[k] = widen(from[k / TILE_DEPTH * 2 * TILE + at / 2 * 32 + lane * 2 + at % 2]);
      }
    } else if (format == 8) {
      const uint8_t* from = packed + (group / 2 * byte_tiles(inputs) * 2 + group % 2) * 1024;
      const float scale = reinterpret_cast<const float*>(shard[1])[row];
      for (int k = 0; k < inputs; k++) {
        const int at = k % TILE_INPUTS;
        const int value = from[k / TILE_INPUTS * PAIR_BYTES_8 + at / 4 * 64 + lane * 4 + at % 4] - 128;
        to[k] = static_cast<float>(value) * scale;
      }
    } else {
      const uint8_t* from = packed + group / 2 * byte_tiles(inputs) * PAIR_BYTES_4;
      const float scale = reinterpret_cast<const float*>(shard[1])[row];
      for (int k = 0; k < inputs; k++) {
        const uint8_t* tile = from + k / TILE_INPUTS * PAIR_BYTES_4;
        const int at = k % GROUP_INPUTS;
        const int half = k % TILE_INPUTS / GROUP_INPUTS;
        const int both = tile[group % 2 * 512 + at / 4 * 64 + lane * 4 + at % 4];
        const int level = (half == 0 ? both & 15 : both >> 4) - 8;
        const int factor = reinterpret_cast<const int8_t*>(tile + FACTORS)[(group % 2 * LANES + lane) * 2 + half];
        to[k] = static_cast<float>(level * factor) * scale;
      }
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

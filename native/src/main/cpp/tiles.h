// Sizes of the tiles in which products with bfloat16 weights are summed.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

static constexpr int TILE_DEPTH = 32;            // inputs
static constexpr int TILE = LANES * TILE_DEPTH;  // elements

static inline int tiles_of(int inputs) { return (inputs + TILE_DEPTH - 1) / TILE_DEPTH; }

// Every canonical range is filled up to whole tiles.
static inline int tiles_of(const int32_t* borders, int ranges) {
  int tiles = 0;
  for (int range = 0; range < ranges; range++) {
    tiles += tiles_of(borders[range + 1] - borders[range]);
  }
  return tiles;
}

}  // namespace BATON_TIER
}  // namespace baton

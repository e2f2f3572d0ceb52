// What all products share: how sixteen terms become fragments, how ranges are added, what becomes of a sum.
//
// A tile of 32 inputs is multiplied in two steps of sixteen terms: lane (g, t) of a fragment reads the sixteen bytes of
// inputs 8t to 8t + 7 of its row, of which the first four are its terms in the first step and the last four in the
// second. So all fragments are whole 16-byte loads from rows as they lie in memory, whether from shared memory or not,
// and every product has the same order of terms.
#pragma once

#include "packed.h"

namespace baton {

constexpr int kTerms = 32;      // inputs of a tile
constexpr int kTileRows = 16;   // rows of weight of a tile
constexpr int kMostRanges = 8;

DEVICE void multiply_terms(float (&sums)[4], const Words4& low, const Words4& high, const Words4& x) {
  const unsigned first[4] = {low.x, high.x, low.y, high.y};
  mma(sums, first, x.x, x.y);
  const unsigned second[4] = {low.z, high.z, low.w, high.w};
  mma(sums, second, x.z, x.w);
}

// Adds 1, 2, 4 or 8 sums as a binary tree of neighbours.
DEVICE float add_ranges(float (&sums)[kMostRanges], int ranges) {
  UNROLL
  for (int step = 1; step < kMostRanges; step *= 2) {
    UNROLL
    for (int i = 0; i + step < kMostRanges; i += 2 * step) {
      if (i + step < ranges) {
        sums[i] += sums[i + step];
      }
    }
  }
  return sums[0];
}

// The product that a tile of all belongs to.
DEVICE int product_of(const Products& products, int tile) {
  int number = 0;
  while (number + 1 < products.count && tile >= products.of[number + 1].firstTile) {
    number++;
  }
  return number;
}

// Rows of weight that exist, of both gate and up.
DEVICE int weight_rows(const Product& product) {
  return product.mode == GATE ? (product.outputs + 7) / 8 * 16 : product.outputs;
}

// What becomes of the sum at row `at` (0 to 15; 0 to 7 for a gate, with the sum that it lets through) of a tile.
DEVICE void finish(const Product& product, const Packing& rounded, int tile, int at, int row, float sum, float up) {
  int output = product.mode == GATE ? tile * 8 + at : tile * 16 + at;
  if (output >= product.outputs) {
    return;
  }
  float value = product.bias != nullptr ? sum + product.bias[output] : sum;
  if (product.mode == GATE) {
    value = gated(value, product.upBias != nullptr ? up + product.upBias[output] : up);
    if (product.rounded != nullptr) {
      put_rounded(product.rounded, rounded, row, output, value);
    }
  }
  if (product.out != nullptr) {
    Global<float> to = product.out + (static_cast<long long>(row) * product.outPitch + output);
    *to = product.mode == ADD ? *to + value : value;
  }
}

}  // namespace baton

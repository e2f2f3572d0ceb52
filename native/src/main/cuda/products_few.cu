// Products of few rows, bound by reading the weights: 2 bytes for each, once, straight to registers.
//
// A block has sixteen rows of weight, each of its warps one range of the inputs, so that a small product still fills
// the chip and every warp has 8 kB in flight. Inputs come through the first-level cache.

#include "routed.h"

namespace baton {
namespace {

constexpr int kAhead = 4;  // tiles of weights that are loaded while as many are multiplied

struct Weights {
  Words4 low[kAhead];
  Words4 high[kAhead];
};

DEVICE void load_weights(Weights& into, Global<const bf16> low, Global<const bf16> high, int from, int tiles) {
  UNROLL
  for (int i = 0; i < kAhead; i++) {
    int tile = from + i < tiles ? from + i : tiles - 1;
    into.low[i] = load_stream(low + tile * kTerms);
    into.high[i] = load_stream(high + tile * kTerms);
  }
}

// Sixteen rows of weight by up to 8 * GROUPS rows of x over one range; sums of lane (g, t): rows of weight g and g + 8,
// rows of x 2t and 2t + 1 of each group.
template <int GROUPS>
DEVICE void multiply_range(float (&sums)[GROUPS][4], Global<const bf16> weight, int weightRows, int firstRow,
                           Global<const bf16> x, int rows, int pitch, int range, int width) {
  int g = lane() / 4;
  int from = range * width + lane() % 4 * 8;
  int tiles = width / kTerms;
  // Rows that are not there are read as the last one; their sums go nowhere.
  Global<const bf16> low = weight + (static_cast<long long>(at_most(firstRow + g, weightRows - 1)) * pitch + from);
  Global<const bf16> high = weight + (static_cast<long long>(at_most(firstRow + g + 8, weightRows - 1)) * pitch + from);
  Global<const bf16> inputs[GROUPS];
  UNROLL
  for (int i = 0; i < GROUPS; i++) {
    inputs[i] = x + (static_cast<long long>(at_most(g + 8 * i, rows - 1)) * pitch + from);
    UNROLL
    for (int j = 0; j < 4; j++) {
      sums[i][j] = 0.0f;
    }
  }
  Weights now;
  load_weights(now, low, high, 0, tiles);
  for (int tile = 0; tile < tiles; tile += kAhead) {
    Weights next;
    load_weights(next, low, high, tile + kAhead, tiles);
    UNROLL
    for (int i = 0; i < kAhead; i++) {
      if (tile + i < tiles) {
        UNROLL
        for (int j = 0; j < GROUPS; j++) {
          multiply_terms(sums[j], now.low[i], now.high[i], load_cached(inputs[j] + (tile + i) * kTerms));
        }
      }
    }
    now = next;
  }
}

// Every warp's sums to shared memory, float32 [range][row of x][16].
template <int GROUPS>
DEVICE void share_sums(const float (&sums)[GROUPS][4], Shared<float> shared) {
  int g = lane() / 4;
  int t = lane() % 4;
  UNROLL
  for (int i = 0; i < GROUPS; i++) {
    UNROLL
    for (int j = 0; j < 4; j++) {
      int row = i * 8 + t * 2 + j % 2;
      shared[(warp() * GROUPS * 8 + row) * kTileRows + g + j / 2 * 8] = sums[i][j];
    }
  }
}

template <int GROUPS>
DEVICE float added(Shared<float> shared, int ranges, int row, int at) {
  float sums[kMostRanges];
  UNROLL
  for (int i = 0; i < kMostRanges; i++) {
    sums[i] = i < ranges ? shared[(i * GROUPS * 8 + row) * kTileRows + at] : 0.0f;
  }
  return add_ranges(sums, ranges);
}

// Adds the ranges and hands the sums on, for rows [rowFrom, rowFrom + rows) of the outputs.
template <int GROUPS>
DEVICE void finish_tile(const Product& product, const Packing& rounded, int tile, Shared<float> shared, int ranges,
                        int rowFrom, int rows) {
  int width = product.mode == GATE ? 8 : kTileRows;
  for (int i = thread(); i < rows * width; i += threads()) {
    int row = i / width;
    int at = i % width;
    float sum = added<GROUPS>(shared, ranges, row, at);
    float up = product.mode == GATE ? added<GROUPS>(shared, ranges, row, at + 8) : 0.0f;
    finish(product, rounded, tile, at, rowFrom + row, sum, up);
  }
}

template <int GROUPS>
DEVICE void multiply_few(const Products& products, Global<const bf16> x, int rows) {
  if (rows < 1) {
    return;
  }
  int number = product_of(products, block_x());
  const Product& product = products.of[number];
  int tile = block_x() - product.firstTile;
  int pitch = products.ranges * products.width;
  float sums[GROUPS][4];
  multiply_range<GROUPS>(sums, product.weight, weight_rows(product), tile * kTileRows, x, rows, pitch, warp(),
                         products.width);
  Shared<float> shared = shared_at<float>(0);
  share_sums<GROUPS>(sums, shared);
  block_barrier();
  finish_tile<GROUPS>(product, products.rounded, tile, shared, products.ranges, 0, rows);
}

// An expert's slots, eight at a time; after the first eight its weights come from the second-level cache.
DEVICE void multiply_slots(const Products& products, Global<const bf16> x, const Part& part) {
  const Product& product = products.of[0];
  int pitch = products.ranges * products.width;
  Shared<float> shared = shared_at<float>(0);
  for (int slot = part.from; slot < part.to; slot += 8) {
    int rows = at_most(8, part.to - slot);
    float sums[1][4];
    multiply_range<1>(sums, product.weight, weight_rows(product), block_x() * kTileRows,
                      x + static_cast<long long>(slot) * pitch, rows, pitch, warp(), products.width);
    share_sums<1>(sums, shared);
    block_barrier();
    finish_tile<1>(product, products.rounded, block_x(), shared, products.ranges, slot, rows);
    block_barrier();
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

// At most 8 rows.
KERNEL(256) linear_few_8(Products products, Global<const bf16> x, Global<const int> rows) {
  multiply_few<1>(products, x, at_most(*rows, 8));
}
BATON_KERNEL(linear_few_8)

// At most 16 rows.
KERNEL(256) linear_few_16(Products products, Global<const bf16> x, Global<const int> rows) {
  multiply_few<2>(products, x, at_most(*rows, 16));
}
BATON_KERNEL(linear_few_16)

// Few slots of each expert: the second index counts the experts that have any.
KERNEL(256) linear_routed_few(RoutedProducts routed, Global<const bf16> x, Routes routes) {
  Part part = part_of(routes, block_y(), 1 << 30);
  if (part.expert >= 0) {
    multiply_slots(products_of(routed, part.expert), x, part);
  }
}
BATON_KERNEL(linear_routed_few)

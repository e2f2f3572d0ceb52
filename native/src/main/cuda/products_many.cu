// Products of many rows, bound by the matrix units: tiles of 128 rows of weight by 64 or 128 rows of x, both through
// shared memory, three steps of 32 inputs deep.

#include "routed.h"

namespace baton {
namespace {

constexpr int kStages = 3;
constexpr int kTile = 128;     // rows of weight of a block
constexpr int kThreads = 256;

// How the block's eight warps share its tile, and what a warp has of it: fragments of 16 rows of weight, of 8 rows of
// x.
template <int ROWS>
struct Shape {
  static constexpr int kWarpsAcross = ROWS == 128 ? 4 : 2;
  static constexpr int kHigh = kTile / 16 / (8 / kWarpsAcross);
  static constexpr int kWide = ROWS / 8 / kWarpsAcross;
  static constexpr int kStage = (kTile + ROWS) * kTerms;
};

template <int ROWS>
struct Sums {
  float of[Shape<ROWS>::kHigh][Shape<ROWS>::kWide][4];

  DEVICE void clear() {
    UNROLL
    for (int i = 0; i < Shape<ROWS>::kHigh; i++) {
      UNROLL
      for (int j = 0; j < Shape<ROWS>::kWide; j++) {
        UNROLL
        for (int k = 0; k < 4; k++) {
          of[i][j][k] = 0.0f;
        }
      }
    }
  }

  DEVICE void add(const Sums& other) {
    UNROLL
    for (int i = 0; i < Shape<ROWS>::kHigh; i++) {
      UNROLL
      for (int j = 0; j < Shape<ROWS>::kWide; j++) {
        UNROLL
        for (int k = 0; k < 4; k++) {
          of[i][j][k] += other.of[i][j][k];
        }
      }
    }
  }
};

// Where a thread's parts of a step's tiles come from. Rows that are not there are read as the last one.
template <int ROWS>
struct Sources {
  static constexpr int kWeights = kTile * 4 / kThreads;
  static constexpr int kInputs = ROWS * 4 / kThreads;
  Global<const bf16> weight[kWeights];
  Global<const bf16> x[kInputs];

  // One step: sixteen bytes for each part, to a stage of weights [kTile][32] and x [ROWS][32].
  DEVICE void copy(Shared<bf16> stage, int step) const {
    UNROLL
    for (int i = 0; i < kWeights; i++) {
      copy_async(stage + (i * kThreads + thread()) * 8, weight[i] + step * kTerms, true);
    }
    UNROLL
    for (int i = 0; i < kInputs; i++) {
      copy_async(stage + kTile * kTerms + (i * kThreads + thread()) * 8, x[i] + step * kTerms, true);
    }
  }
};

template <int ROWS>
DEVICE void multiply_step(Sums<ROWS>& sums, Shared<const bf16> stage) {
  using S = Shape<ROWS>;
  int g = lane() / 4;
  int t = lane() % 4;
  int high = warp() / S::kWarpsAcross * S::kHigh * 16;
  int wide = warp() % S::kWarpsAcross * S::kWide * 8;
  Words4 x[S::kWide];
  UNROLL
  for (int j = 0; j < S::kWide; j++) {
    x[j] = load_shared(stage + ((kTile + wide + j * 8 + g) * kTerms + t * 8));
  }
  UNROLL
  for (int i = 0; i < S::kHigh; i++) {
    Words4 low = load_shared(stage + ((high + i * 16 + g) * kTerms + t * 8));
    Words4 top = load_shared(stage + ((high + i * 16 + 8 + g) * kTerms + t * 8));
    UNROLL
    for (int j = 0; j < S::kWide; j++) {
      multiply_terms(sums.of[i][j], low, top, x[j]);
    }
  }
}

// Sums over the ranges [rangeFrom, rangeTo), which are a whole subtree.
template <int ROWS>
DEVICE void multiply_tiles(Sums<ROWS>& sums, const Sources<ROWS>& sources, int width, int rangeFrom, int rangeTo) {
  int perRange = width / kTerms;
  int first = rangeFrom * perRange;
  int steps = (rangeTo - rangeFrom) * perRange;
  Shared<bf16> shared = shared_at<bf16>(0);
  UNROLL
  for (int i = 0; i < kStages - 1; i++) {
    if (i < steps) {
      sources.copy(shared + i * Shape<ROWS>::kStage, first + i);
    }
    copies_committed();
  }
  // Subtrees that wait for their neighbour: in local memory, touched once a range.
  Sums<ROWS> waiting[3];
  sums.clear();
  int left = perRange;
  int range = 0;
  for (int step = 0; step < steps; step++) {
    copies_waited<kStages - 2>();
    block_barrier();
    int ahead = step + kStages - 1;
    if (ahead < steps) {
      sources.copy(shared + ahead % kStages * Shape<ROWS>::kStage, first + ahead);
    }
    copies_committed();
    multiply_step<ROWS>(sums, shared + step % kStages * Shape<ROWS>::kStage);
    if (--left == 0) {
      int level = 0;
      for (; (range >> level & 1) != 0; level++) {
        sums.add(waiting[level]);
      }
      range++;
      left = perRange;
      if (step + 1 < steps) {
        waiting[level] = sums;
        sums.clear();
      }
    }
  }
  copies_waited<0>();
}

template <int ROWS>
DEVICE Sources<ROWS> sources_of(const Products& products, Global<const bf16> x, int firstRow, int rows) {
  Sources<ROWS> sources;
  long long pitch = products.ranges * products.width;
  UNROLL
  for (int i = 0; i < Sources<ROWS>::kWeights; i++) {
    int part = i * kThreads + thread();
    int tile = at_most(block_x() * (kTile / kTileRows) + part / 4 / kTileRows, products.tiles - 1);
    const Product& product = products.of[product_of(products, tile)];
    int row = (tile - product.firstTile) * kTileRows + part / 4 % kTileRows;
    sources.weight[i] = product.weight + (at_most(row, weight_rows(product) - 1) * pitch + part % 4 * 8);
  }
  UNROLL
  for (int i = 0; i < Sources<ROWS>::kInputs; i++) {
    int part = i * kThreads + thread();
    sources.x[i] = x + (at_most(firstRow + part / 4, rows - 1) * pitch + part % 4 * 8);
  }
  return sources;
}

// Rows [firstRow, rows), at most 128 of them, by this block's tiles of weight; adds all ranges.
DEVICE void multiply_many(const Products& products, Global<const bf16> x, int firstRow, int rows) {
  using S = Shape<128>;
  Sums<128> sums;
  multiply_tiles<128>(sums, sources_of<128>(products, x, firstRow, rows), products.width, 0, products.ranges);
  int firstTile = block_x() * (kTile / kTileRows) + warp() / S::kWarpsAcross * S::kHigh;
  UNROLL
  for (int i = 0; i < S::kHigh; i++) {
    int tile = firstTile + i;
    if (tile >= products.tiles) {
      continue;
    }
    const Product& product = products.of[product_of(products, tile)];
    UNROLL
    for (int j = 0; j < S::kWide; j++) {
      UNROLL
      for (int k = 0; k < 2; k++) {
        int row = firstRow + warp() % S::kWarpsAcross * S::kWide * 8 + j * 8 + lane() % 4 * 2 + k;
        if (row < rows) {
          const float(&own)[4] = sums.of[i][j];
          finish(product, products.rounded, tile - product.firstTile, lane() / 4, row, own[k], own[k + 2]);
          if (product.mode != GATE) {
            finish(product, products.rounded, tile - product.firstTile, lane() / 4 + 8, row, own[k + 2], 0.0f);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

// Any number of rows; every block adds all ranges.
KERNEL(256) linear_many(Products products, Global<const bf16> x, Global<const int> rows) {
  int firstRow = block_y() * 128;
  if (firstRow < *rows) {
    multiply_many(products, x, firstRow, *rows);
  }
}
BATON_KERNEL(linear_many)

// Many slots of an expert: the second index counts parts of at most 128 slots of one.
KERNEL(256) linear_routed_many(RoutedProducts routed, Global<const bf16> x, Routes routes) {
  Part part = part_of(routes, block_y(), 128);
  if (part.expert >= 0) {
    multiply_many(products_of(routed, part.expert), x, part.from, part.to);
  }
}
BATON_KERNEL(linear_routed_many)

// A medium number of rows: every block has one range; partials float32 [range][tiles * 16][64 * blocks_y].
KERNEL(256) linear_split(Products products, Global<const bf16> x, Global<float> partials, Global<const int> rows) {
  using S = Shape<64>;
  int count = *rows;
  int firstRow = block_y() * 64;
  if (firstRow >= count) {
    return;
  }
  Sums<64> sums;
  int range = block_z();
  multiply_tiles<64>(sums, sources_of<64>(products, x, firstRow, count), products.width, range, range + 1);
  long long pitch = blocks_y() * 64;
  UNROLL
  for (int i = 0; i < S::kHigh; i++) {
    int tile = block_x() * (kTile / kTileRows) + warp() / S::kWarpsAcross * S::kHigh + i;
    if (tile >= products.tiles) {
      continue;
    }
    UNROLL
    for (int j = 0; j < S::kWide; j++) {
      UNROLL
      for (int k = 0; k < 4; k++) {
        long long at = (static_cast<long long>(range) * products.tiles + tile) * kTileRows + lane() / 4 + k / 2 * 8;
        int row = firstRow + warp() % S::kWarpsAcross * S::kWide * 8 + j * 8 + lane() % 4 * 2 + k % 2;
        partials[at * pitch + row] = sums.of[i][j][k];
      }
    }
  }
}
BATON_KERNEL(linear_split)

// Adds the ranges of linear_split.
KERNEL(256) linear_join(Products products, Global<const float> partials, Global<const int> rows) {
  const Product& product = products.of[product_of(products, block_x())];
  int tile = block_x();
  int width = product.mode == GATE ? 8 : kTileRows;
  long long pitch = blocks_y() * 64;
  for (int i = thread(); i < 64 * width; i += threads()) {
    int row = block_y() * 64 + i / width;
    if (row >= *rows) {
      continue;
    }
    float both[2] = {0.0f, 0.0f};
    UNROLL
    for (int half = 0; half < 2; half++) {
      if (half == 0 || product.mode == GATE) {
        float sums[kMostRanges];
        UNROLL
        for (int range = 0; range < kMostRanges; range++) {
          long long at = (static_cast<long long>(range) * products.tiles + tile) * kTileRows + i % width + half * 8;
          sums[range] = range < products.ranges ? partials[at * pitch + row] : 0.0f;
        }
        both[half] = add_ranges(sums, products.ranges);
      }
    }
    finish(product, products.rounded, tile - product.firstTile, i % width, row, both[0], both[1]);
  }
}
BATON_KERNEL(linear_join)

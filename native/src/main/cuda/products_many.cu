// Products of many rows, bound by the matrix units: tiles of 256 rows of weight by 128 rows of x, both through shared
// memory, four steps of 32 inputs deep. A warp has 64 by 64 of it: then reading shared memory (two fragments of 16
// bytes for every two steps of the matrix unit) takes less time than multiplying. For a medium number of rows tiles are
// smaller and every block has one range.

#include "routed.h"

namespace baton {
namespace {

constexpr int kStages = 4;
constexpr int kThreads = 256;
constexpr int kWarpsAcross = 2;  // of eight
constexpr int kBand = 8;

// Which of a product's tiles a block takes. Blocks that run together take a band of rows of x by some weights, not all
// weights for the same rows: then what they read stays in the second-level cache until all of them have read it, and a
// weight comes from memory once for so many rows.
struct Place {
  int column;  // in weights
  int row;     // in x
};

DEVICE Place place_of_block() {
  int number = block_y() * blocks_x() + block_x();
  int band = number / (kBand * blocks_x()) * kBand;
  int high = at_most(kBand, blocks_y() - band);
  int within = number - band * blocks_x();
  return {within / high, band + within % high};
}

// A block's tile: HIGH rows of weight by ROWS rows of x, and what a warp has of it in fragments of 16 and of 8 rows.
template <int HIGH, int ROWS>
struct Shape {
  static constexpr int kHigh = HIGH / 16 / (8 / kWarpsAcross);
  static constexpr int kWide = ROWS / 8 / kWarpsAcross;
  static constexpr int kTiles = HIGH / kTileRows;
  static constexpr int kRows = ROWS;
  static constexpr int kStageWeights = HIGH * kTerms;
  static constexpr int kStage = (HIGH + ROWS) * kTerms;

  // The first of the warp's tiles of weight and rows of x.
  DEVICE static int tile(int column) { return column * kTiles + warp() / kWarpsAcross * kHigh; }
  DEVICE static int row() { return warp() % kWarpsAcross * kWide * 8; }
};

using Many = Shape<256, 128>;
using Medium = Shape<128, 64>;

template <typename S>
struct Sums {
  float of[S::kHigh][S::kWide][4];

  DEVICE void clear() {
    UNROLL
    for (int i = 0; i < S::kHigh; i++) {
      UNROLL
      for (int j = 0; j < S::kWide; j++) {
        UNROLL
        for (int k = 0; k < 4; k++) {
          of[i][j][k] = 0.0f;
        }
      }
    }
  }

  DEVICE void add(const Sums& other) {
    UNROLL
    for (int i = 0; i < S::kHigh; i++) {
      UNROLL
      for (int j = 0; j < S::kWide; j++) {
        UNROLL
        for (int k = 0; k < 4; k++) {
          of[i][j][k] += other.of[i][j][k];
        }
      }
    }
  }
};

// Where a thread's parts of a step's tiles come from. Rows that are not there are read as the last one.
template <typename S>
struct Sources {
  static constexpr int kWeights = S::kStageWeights / 8 / kThreads;
  static constexpr int kInputs = S::kRows * 4 / kThreads;
  Global<const bf16> weight[kWeights];
  Global<const bf16> x[kInputs];

  // One step: sixteen bytes for each part, to a stage of weights [HIGH][32] and x [ROWS][32].
  DEVICE void copy(Shared<bf16> stage, int step) const {
    UNROLL
    for (int i = 0; i < kWeights; i++) {
      copy_async(stage + (i * kThreads + thread()) * 8, weight[i] + step * kTerms, true);
    }
    UNROLL
    for (int i = 0; i < kInputs; i++) {
      copy_async(stage + S::kStageWeights + (i * kThreads + thread()) * 8, x[i] + step * kTerms, true);
    }
  }
};

// A stage as a warp reads it: sixteen bytes of each row for a lane.
template <typename S>
struct Stage {
  Shared<const bf16> at;

  DEVICE static int place() { return lane() / 4 * kTerms + lane() % 4 * 8; }

  // Half `half` of the warp's tile `i` of weight.
  DEVICE Words4 weight(int i, int half) const {
    int row = (warp() / kWarpsAcross * S::kHigh + i) * 16 + half * 8;
    return load_shared(at + (row * kTerms + place()));
  }

  // The warp's eight rows `j` of x.
  DEVICE Words4 x(int j) const { return load_shared(at + (S::kStageWeights + (S::row() + j * 8) * kTerms + place())); }
};

// Sums over the ranges [rangeFrom, rangeTo), which are a whole subtree; of ONE_RANGE there is nothing to add up.
//
// The barrier that lets a stage be read stands before the last tile of weight of the step before: while that is
// multiplied, the fragments of x that it has done with are read anew from the next stage. So the matrix unit does not
// stand still after a barrier until all warps have read their rows.
template <typename S, bool ONE_RANGE>
DEVICE void multiply_tiles(Sums<S>& sums, const Sources<S>& sources, int width, int rangeFrom, int rangeTo) {
  int perRange = width / kTerms;
  int first = rangeFrom * perRange;
  int steps = (rangeTo - rangeFrom) * perRange;
  Shared<bf16> shared = shared_at<bf16>(0);
  UNROLL
  for (int i = 0; i < kStages - 1; i++) {
    if (i < steps) {
      sources.copy(shared + i * S::kStage, first + i);
    }
    copies_committed();
  }
  copies_waited<kStages - 2>();
  block_barrier();
  Stage<S> now = {shared};
  Words4 x[S::kWide];
  UNROLL
  for (int j = 0; j < S::kWide; j++) {
    x[j] = now.x(j);
  }
  Words4 low = now.weight(0, 0);
  Words4 top = now.weight(0, 1);
  // Subtrees that wait for their neighbour: in local memory, touched once a range.
  Sums<S> waiting[ONE_RANGE ? 1 : 3];
  sums.clear();
  int left = perRange;
  int range = 0;
  for (int step = 0; step < steps; step++) {
    bool more = step + 1 < steps;
    Stage<S> next = {shared + (step + 1) % kStages * S::kStage};
    UNROLL
    for (int i = 0; i < S::kHigh; i++) {
      bool last = i + 1 == S::kHigh;
      Words4 nextLow = low;
      Words4 nextTop = top;
      if (!last) {
        nextLow = now.weight(i + 1, 0);
        nextTop = now.weight(i + 1, 1);
      } else {
        // Everybody has left the stage of the step before, and everybody's part of the next one is there.
        copies_waited<kStages - 3>();
        block_barrier();
        int ahead = step + kStages - 1;
        if (ahead < steps) {
          sources.copy(shared + ahead % kStages * S::kStage, first + ahead);
        }
        copies_committed();
        if (more) {
          nextLow = next.weight(0, 0);
          nextTop = next.weight(0, 1);
        }
      }
      UNROLL
      for (int j = 0; j < S::kWide; j++) {
        multiply_terms(sums.of[i][j], low, top, x[j]);
        if (last && more) {
          x[j] = next.x(j);
        }
      }
      low = nextLow;
      top = nextTop;
    }
    now = next;
    if (!ONE_RANGE && --left == 0) {
      int level = 0;
      for (; (range >> level & 1) != 0; level++) {
        sums.add(waiting[level]);
      }
      range++;
      left = perRange;
      if (more) {
        waiting[level] = sums;
        sums.clear();
      }
    }
  }
  copies_waited<0>();
}

template <typename S>
DEVICE Sources<S> sources_of(const Products& products, Global<const bf16> x, int column, int firstRow, int rows) {
  Sources<S> sources;
  long long pitch = products.ranges * products.width;
  UNROLL
  for (int i = 0; i < Sources<S>::kWeights; i++) {
    int part = i * kThreads + thread();
    int tile = at_most(column * S::kTiles + part / 4 / kTileRows, products.tiles - 1);
    const Product& product = products.of[product_of(products, tile)];
    int row = (tile - product.firstTile) * kTileRows + part / 4 % kTileRows;
    sources.weight[i] = product.weight + (at_most(row, weight_rows(product) - 1) * pitch + part % 4 * 8);
  }
  UNROLL
  for (int i = 0; i < Sources<S>::kInputs; i++) {
    int part = i * kThreads + thread();
    sources.x[i] = x + (at_most(firstRow + part / 4, rows - 1) * pitch + part % 4 * 8);
  }
  return sources;
}

// A tile's sums of some rows, from shared memory.
DEVICE void finish_rows(const Products& products, int tile, Shared<const float> sums, int pitch, int first, int rows) {
  const Product& product = products.of[product_of(products, tile)];
  int width = product.mode == GATE ? 8 : kTileRows;
  for (int i = lane(); i < rows * width; i += 32) {
    Shared<const float> own = sums + (i / width * pitch + i % width);
    float up = product.mode == GATE ? own[8] : 0.0f;
    finish(product, products.rounded, tile - product.firstTile, i % width, first + i / width, own[0], up);
  }
}

// Rows [firstRow, rows), at most 128 of them, by a column of tiles of weight; adds all ranges.
DEVICE void multiply_many(const Products& products, Global<const bf16> x, int column, int firstRow, int rows) {
  using S = Many;
  Sums<S> sums;
  multiply_tiles<S, false>(sums, sources_of<S>(products, x, column, firstRow, rows), products.width, 0,
                           products.ranges);
  // Through the warp's own part of shared memory, [64 rows of x][16, 4 unused], to whole lines of the outputs.
  constexpr int kPitch = kTileRows + 4;
  block_barrier();
  Shared<float> shared = shared_at<float>(warp() * S::kWide * 8 * kPitch * 4);
  int first = firstRow + S::row();
  UNROLL
  for (int i = 0; i < S::kHigh; i++) {
    UNROLL
    for (int j = 0; j < S::kWide; j++) {
      UNROLL
      for (int k = 0; k < 4; k++) {
        shared[(j * 8 + lane() % 4 * 2 + k % 2) * kPitch + lane() / 4 + k / 2 * 8] = sums.of[i][j][k];
      }
    }
    warp_barrier();
    if (S::tile(column) + i < products.tiles) {
      finish_rows(products, S::tile(column) + i, shared, kPitch, first, at_most(S::kWide * 8, rows - first));
    }
    warp_barrier();
  }
}

}  // namespace
}  // namespace baton

using namespace baton;

// Any number of rows; every block adds all ranges.
KERNEL(256) linear_many(Products products, Global<const bf16> x, Global<const int> rows) {
  Place place = place_of_block();
  int firstRow = place.row * 128;
  if (firstRow < *rows) {
    multiply_many(products, x, place.column, firstRow, *rows);
  }
}
BATON_KERNEL(linear_many)

// Many slots of an expert: the second index counts parts of at most 128 slots of one.
KERNEL(256) linear_routed_many(RoutedProducts routed, Global<const bf16> x, Routes routes) {
  Part part = part_of(routes, block_y(), 128);
  if (part.expert >= 0) {
    multiply_many(products_of(routed, part.expert), x, block_x(), part.from, part.to);
  }
}
BATON_KERNEL(linear_routed_many)

// A medium number of rows: every block has one range; partials float32 [range][tiles * 16][64 * blocks_y].
KERNEL(256) linear_split(Products products, Global<const bf16> x, Global<float> partials, Global<const int> rows) {
  using S = Medium;
  int count = *rows;
  Place place = place_of_block();
  int firstRow = place.row * 64;
  if (firstRow >= count) {
    return;
  }
  Sums<S> sums;
  int range = block_z();
  multiply_tiles<S, true>(sums, sources_of<S>(products, x, place.column, firstRow, count), products.width, range,
                          range + 1);
  long long pitch = blocks_y() * 64;
  UNROLL
  for (int i = 0; i < S::kHigh; i++) {
    int tile = S::tile(place.column) + i;
    if (tile >= products.tiles) {
      continue;
    }
    UNROLL
    for (int j = 0; j < S::kWide; j++) {
      UNROLL
      for (int k = 0; k < 4; k++) {
        long long at = (static_cast<long long>(range) * products.tiles + tile) * kTileRows + lane() / 4 + k / 2 * 8;
        int row = firstRow + S::row() + j * 8 + lane() % 4 * 2 + k % 2;
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
    // Neighbouring threads have neighbouring rows, as the partials have.
    int row = block_y() * 64 + i % 64;
    int at = i / 64;
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
          long long from = (static_cast<long long>(range) * products.tiles + tile) * kTileRows + at + half * 8;
          sums[range] = range < products.ranges ? partials[from * pitch + row] : 0.0f;
        }
        both[half] = add_ranges(sums, products.ranges);
      }
    }
    finish(product, products.rounded, tile - product.firstTile, at, row, both[0], both[1]);
  }
}
BATON_KERNEL(linear_join)

// What linear_many does with the sums of a gate and of what it lets through, of rows from `firstRow` on, where another
// library has made them: float32 [rows][pitch], eight of one and eight of the other by turns.
KERNEL(256) gate_sums(Products products, Global<const float> sums, int pitch, int firstRow, Global<const int> rows) {
  const Product& product = products.of[0];
  int output = block_x() * threads() + thread();
  int row = firstRow + block_y();
  if (row >= *rows || output >= product.outputs) {
    return;
  }
  int tile = output / 8;
  Global<const float> own = sums + (static_cast<long long>(block_y()) * pitch + tile * 16 + output % 8);
  finish(product, products.rounded, tile, output % 8, row, own[0], own[8]);
}
BATON_KERNEL(gate_sums)

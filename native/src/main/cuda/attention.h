// What attention over many and over single tokens share, so that a row has the same bits in both.
//
// Positions are taken in tiles of 64 from position 0 with a running maximum and sum (Milakov and Gimelshein, 2018), as
// in FlashAttention-2 (Dao, 2023); after every 256 positions the running values are folded into those of the positions
// before and begin anew (Flash-Decoding's splits at fixed borders). What a row does not see changes nothing, bit for
// bit: weights are 0, maxima stay, corrections are 1.
//
// In a tile, lane (g, t) of a fragment of 16 rows has rows g and g + 8 and of each 8 positions the positions 2t and 2t
// + 1. A row's sum is kept for every 16 positions of the tile and lane by itself.
#pragma once

#include "products.h"

namespace baton {

constexpr int kPositions = 64;
constexpr int kSplit = 256;
constexpr int kGroups = kPositions / 16;
constexpr float kLowest = -3.4028234663852886e38f;
constexpr float kLog2E = 1.44269504f;

// Where a tile's keys and values lie in shared memory. Rows of keys change halves of 64 bytes by turns and rows of
// values are 16 bytes longer, so that the fragments' accesses spread over all banks.
template <int WIDTH>
struct TileLayout {
  static constexpr int kValuePitch = WIDTH + 8;
  static constexpr int kValues = kPositions * WIDTH;
  static constexpr int kElements = kValues + kPositions * kValuePitch;

  DEVICE static int key(int position, int part) {
    return position * WIDTH + (WIDTH % 64 == 0 ? part ^ (position & 1) << 2 : part) * 8;
  }

  DEVICE static int value(int position, int part) { return kValues + position * kValuePitch + part * 8; }
};

// The positions that a row sees: none when last < first.
struct Sight {
  int first;
  int last;

  DEVICE bool sees(int position) const { return first <= position && position <= last; }
};

DEVICE Sight sight_of(int position, int window) {
  return {window == 0 ? 0 : at_least(0, position - window + 1), position};
}

// Running values of a lane's two rows.
struct Running {
  float most[2];
  float sums[2][kGroups];

  DEVICE void clear() {
    UNROLL
    for (int i = 0; i < 2; i++) {
      most[i] = kLowest;
      UNROLL
      for (int j = 0; j < kGroups; j++) {
        sums[i][j] = 0.0f;
      }
    }
  }
};

// Copies keys and values of the tile that begins at `start`; zeros outside of what is seen and of a row's width.
template <int WIDTH, int THREADS>
DEVICE void copy_tile(Shared<bf16> to, const KvLayer& layer, int head, Global<const int> table, int start,
                      const Sight& seen) {
  constexpr int kParts = WIDTH / 8;
  using Layout = TileLayout<WIDTH>;
  UNROLL
  for (int half = 0; half < 2; half++) {
    int from = start + half * 32;
    bool any = from <= seen.last && from + 31 >= seen.first;
    int block = any ? table[from / layer.blockTokens] : 0;
    Global<const bf16> keys = layer.base + layer.offset(block, 0, head, from % layer.blockTokens);
    Global<const bf16> values = layer.base + layer.offset(block, 1, head, from % layer.blockTokens);
    for (int i = thread(); i < 32 * kParts; i += THREADS) {
      int row = i / kParts;
      int part = i % kParts;
      bool valid = seen.sees(from + row) && part * 8 < layer.width;
      copy_async(to + Layout::key(half * 32 + row, part), keys + (row * layer.width + part * 8), valid);
      copy_async(to + Layout::value(half * 32 + row, part), values + (row * layer.width + part * 8), valid);
    }
  }
}

// Eight elements of a query, rounded.
DEVICE Words4 query_part(Global<const float> q, int from, int headDim) {
  float x[8];
  UNROLL
  for (int i = 0; i < 8; i++) {
    x[i] = q != nullptr && from + i < headDim ? q[from + i] : 0.0f;
  }
  return {round_pair(x[0], x[1]), round_pair(x[2], x[3]), round_pair(x[4], x[5]), round_pair(x[6], x[7])};
}

// Fragments of sixteen queries.
template <int WIDTH>
struct Queries {
  Words4 low[WIDTH / kTerms];
  Words4 high[WIDTH / kTerms];

  // Rows that are null are zeros.
  DEVICE void load(Global<const float> lowRow, Global<const float> highRow, int headDim) {
    UNROLL
    for (int i = 0; i < WIDTH / kTerms; i++) {
      low[i] = query_part(lowRow, i * kTerms + lane() % 4 * 8, headDim);
      high[i] = query_part(highRow, i * kTerms + lane() % 4 * 8, headDim);
    }
  }
};

// Scores of eight positions from `from` of the tile.
template <int WIDTH>
DEVICE void score(float (&scores)[4], const Queries<WIDTH>& queries, Shared<const bf16> tile, int from) {
  UNROLL
  for (int i = 0; i < 4; i++) {
    scores[i] = 0.0f;
  }
  UNROLL
  for (int i = 0; i < WIDTH / kTerms; i++) {
    Words4 key = load_shared(tile + TileLayout<WIDTH>::key(from + lane() / 4, i * 4 + lane() % 4));
    multiply_terms(scores, queries.low[i], queries.high[i], key);
  }
}

// The largest that each row has seen of these positions, times base; all four lanes of a row have it.
template <int EIGHTS>
DEVICE void largest(float (&most)[2], const float (&scores)[EIGHTS][4], const Sight (&seen)[2], int start, float base) {
  UNROLL
  for (int row = 0; row < 2; row++) {
    most[row] = kLowest;
    UNROLL
    for (int j = 0; j < EIGHTS; j++) {
      UNROLL
      for (int i = 0; i < 2; i++) {
        bool sees = seen[row].sees(start + j * 8 + lane() % 4 * 2 + i);
        most[row] = sees ? larger(scores[j][row * 2 + i] * base, most[row]) : most[row];
      }
    }
    most[row] = larger(most[row], lane_xor(most[row], 1));
    most[row] = larger(most[row], lane_xor(most[row], 2));
  }
}

// Turns the scores of sixteen positions into weights, adds them up and rounds them: the fragment for the values.
DEVICE void weigh(unsigned (&fragment)[4], float (&sums)[2], const float (&low)[4], const float (&high)[4],
                  const Sight (&seen)[2], int start, float base, const float (&most)[2], const float (&correction)[2]) {
  UNROLL
  for (int row = 0; row < 2; row++) {
    float weights[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
      float score = i < 2 ? low[row * 2 + i] : high[row * 2 + i - 2];
      bool sees = seen[row].sees(start + i / 2 * 8 + lane() % 4 * 2 + i % 2);
      weights[i] = sees ? power_of_two(fma_float(score, base, -most[row])) : 0.0f;
    }
    sums[row] = fma_float(sums[row], correction[row], (weights[0] + weights[1]) + (weights[2] + weights[3]));
    fragment[row] = round_pair(weights[0], weights[1]);
    fragment[row + 2] = round_pair(weights[2], weights[3]);
  }
}

// Adds the values of sixteen positions to COUNT times eight dimensions, an even number or one, from `eight` on.
template <int WIDTH, int COUNT>
DEVICE void add_values(float (&results)[COUNT][4], const unsigned (&weights)[4], Shared<bf16> tile, int position,
                       int eight) {
  // For one group of dimensions, half the lanes read what the others read.
  int part = COUNT > 1 ? lane() / 16 : 0;
  UNROLL
  for (int d = 0; d < COUNT; d += 2) {
    unsigned values[4];
    load_transposed(values, tile + TileLayout<WIDTH>::value(position + lane() % 16, eight + d + part));
    mma(results[d], weights, values[0], values[1]);
    if (d + 1 < COUNT) {
      mma(results[d + 1], weights, values[2], values[3]);
    }
  }
}

DEVICE void correct(float (&result)[4], const float (&correction)[2]) {
  UNROLL
  for (int i = 0; i < 4; i++) {
    result[i] = result[i] * correction[i / 2];
  }
}

// The sum over a row's lanes, the groups of sixteen positions having been added.
DEVICE float row_sum(float sum) {
  sum += lane_xor(sum, 1);
  return sum + lane_xor(sum, 2);
}

// What folds a split into the splits before: results times `before` plus the split's times `own`.
struct Fold {
  float before;
  float own;

  DEVICE float of(float earlier, float split) const { return fma_float(split, own, earlier * before); }
};

// Takes the split's maximum into that of the splits before.
DEVICE Fold fold(float& most, float splitMost) {
  float next = larger(most, splitMost);
  Fold result = {power_of_two(most - next), power_of_two(splitMost - next)};
  most = next;
  return result;
}

}  // namespace baton

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

// Where a tile's keys and values in eight bits lie before they are widened, in bytes: keys [64][WIDTH], values, the
// scales of keys, those of values. Two such stages lie behind one tile, and take as much as a second tile would.
template <int WIDTH>
struct ByteLayout {
  static constexpr int kValues = kPositions * WIDTH;
  static constexpr int kScales = 2 * kValues;
  static constexpr int kBytes = kScales + 2 * kPositions * 4;

  DEVICE static int stage(int number) { return TileLayout<WIDTH>::kElements * 2 + number * kBytes; }
};

// What scores and weights are multiplied with: nothing, or the scales of keys and values of a tile.
struct NoScales {
  DEVICE float key(float score, int) const { return score; }
  DEVICE float value(float weight, int) const { return weight; }
};

struct ByteScales {
  Shared<const float> of;  // [key, value][64]

  DEVICE float key(float score, int position) const { return score * of[position % kPositions]; }
  DEVICE float value(float weight, int position) const { return weight * of[kPositions + position % kPositions]; }
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

// As copy_tile, of eight bits, to a stage.
template <int WIDTH, int THREADS>
DEVICE void copy_bytes_of_tile(int stage, const KvLayer& layer, int head, Global<const int> table, int start,
                               const Sight& seen) {
  constexpr int kParts = WIDTH / 16;
  using Layout = ByteLayout<WIDTH>;
  Shared<bf16> to = shared_at<bf16>(Layout::stage(stage));
  UNROLL
  for (int half = 0; half < 2; half++) {
    int from = start + half * 32;
    bool any = from <= seen.last && from + 31 >= seen.first;
    int block = any ? table[from / layer.blockTokens] : 0;
    int slot = from % layer.blockTokens;
    UNROLL
    for (int value = 0; value < 2; value++) {
      Global<const bf16> rows = cast<bf16>(layer.bytes(block, value, head) + static_cast<long long>(slot) * layer.width);
      for (int i = thread(); i < 32 * kParts; i += THREADS) {
        int row = i / kParts;
        int part = i % kParts;
        bool valid = seen.sees(from + row) && part * 16 < layer.width;
        int at = value * Layout::kValues + (half * 32 + row) * WIDTH + part * 16;
        copy_async(to + at / 2, rows + (row * layer.width + part * 16) / 2, valid);
      }
      // Four scales at a time, of which some may be of positions that are not seen.
      Global<const bf16> scales = cast<bf16>(layer.scales(block, value, head) + slot);
      for (int i = thread(); i < 8; i += THREADS) {
        copy_async(to + (Layout::kScales + (value * kPositions + half * 32 + i * 4) * 4) / 2, scales + i * 8, any);
      }
    }
  }
}

// Two of a word's signed bytes in bfloat16, exactly: as the last bits of 2^23.
DEVICE unsigned widen_bytes(unsigned word, int from) {
  unsigned shifted = (word ^ 0x80808080u) >> (8 * from);
  float low = as_float(0x4b000000u | (shifted & 255u)) - 8388736.0f;
  float high = as_float(0x4b000000u | (shifted >> 8 & 255u)) - 8388736.0f;
  return as_bits(low) >> 16 | (as_bits(high) & 0xffff0000u);
}

// A stage's keys and values as a tile of bfloat16, without their scales.
template <int WIDTH, int THREADS>
DEVICE void widen_tile(Shared<bf16> to, int stage) {
  constexpr int kParts = WIDTH / 16;
  using Layout = TileLayout<WIDTH>;
  Shared<bf16> from = shared_at<bf16>(ByteLayout<WIDTH>::stage(stage));
  for (int i = thread(); i < 2 * kPositions * kParts; i += THREADS) {
    int row = i / kParts % kPositions;
    int part = i % kParts * 2;
    bool key = i < kPositions * kParts;
    Words4 bytes = load_shared(from + i * 8);
    Words4 low = {widen_bytes(bytes.x, 0), widen_bytes(bytes.x, 2), widen_bytes(bytes.y, 0), widen_bytes(bytes.y, 2)};
    Words4 high = {widen_bytes(bytes.z, 0), widen_bytes(bytes.z, 2), widen_bytes(bytes.w, 0), widen_bytes(bytes.w, 2)};
    cast<Words4>(to + (key ? Layout::key(row, part) : Layout::value(row, part)))[0] = low;
    cast<Words4>(to + (key ? Layout::key(row, part + 1) : Layout::value(row, part + 1)))[0] = high;
  }
}

// The tiles of one kind of cache on their way through shared memory, one ahead of the one that is multiplied.
template <int WIDTH, int THREADS, bool BYTES>
struct Tiles {
  const KvLayer& layer;
  int head;
  Global<const int> table;
  Sight seen;
  int from;

  DEVICE void copy(int tile) const {
    int stage = (tile - from) % 2;
    if (BYTES) {
      copy_bytes_of_tile<WIDTH, THREADS>(stage, layer, head, table, tile * kPositions, seen);
    } else {
      copy_tile<WIDTH, THREADS>(shared_at<bf16>(stage * TileLayout<WIDTH>::kElements * 2), layer, head, table,
                                tile * kPositions, seen);
    }
  }

  // What a block has to do, all of it, between a tile's arrival and its use.
  DEVICE void open(int tile) const {
    if (BYTES) {
      widen_tile<WIDTH, THREADS>(shared_at<bf16>(0), (tile - from) % 2);
      block_barrier();
    }
  }

  DEVICE Shared<bf16> at(int tile) const {
    return shared_at<bf16>(BYTES ? 0 : (tile - from) % 2 * TileLayout<WIDTH>::kElements * 2);
  }

  DEVICE auto scales(int tile) const {
    if constexpr (BYTES) {
      return ByteScales{shared_at<float>(ByteLayout<WIDTH>::stage((tile - from) % 2) + ByteLayout<WIDTH>::kScales)};
    } else {
      return NoScales{};
    }
  }
};

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
template <int WIDTH, typename Scales>
DEVICE void score(float (&scores)[4], const Queries<WIDTH>& queries, Shared<const bf16> tile, int from,
                  const Scales& scales) {
  UNROLL
  for (int i = 0; i < 4; i++) {
    scores[i] = 0.0f;
  }
  UNROLL
  for (int i = 0; i < WIDTH / kTerms; i++) {
    Words4 key = load_shared(tile + TileLayout<WIDTH>::key(from + lane() / 4, i * 4 + lane() % 4));
    multiply_terms(scores, queries.low[i], queries.high[i], key);
  }
  UNROLL
  for (int i = 0; i < 4; i++) {
    scores[i] = scales.key(scores[i], from + lane() % 4 * 2 + i % 2);
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

// Turns the scores of sixteen positions into weights, adds them up, scales and rounds them: the fragment for the values.
template <typename Scales>
DEVICE void weigh(unsigned (&fragment)[4], float (&sums)[2], const float (&low)[4], const float (&high)[4],
                  const Sight (&seen)[2], int start, float base, const float (&most)[2], const float (&correction)[2],
                  const Scales& scales) {
  UNROLL
  for (int row = 0; row < 2; row++) {
    float weights[4];
    float scaled[4];
    UNROLL
    for (int i = 0; i < 4; i++) {
      float score = i < 2 ? low[row * 2 + i] : high[row * 2 + i - 2];
      int position = start + i / 2 * 8 + lane() % 4 * 2 + i % 2;
      bool sees = seen[row].sees(position);
      weights[i] = sees ? power_of_two(fma_float(score, base, -most[row])) : 0.0f;
      // The scale of a position that is not seen may be anything.
      scaled[i] = sees ? scales.value(weights[i], position) : 0.0f;
    }
    sums[row] = fma_float(sums[row], correction[row], (weights[0] + weights[1]) + (weights[2] + weights[3]));
    fragment[row] = round_pair(scaled[0], scaled[1]);
    fragment[row + 2] = round_pair(scaled[2], scaled[3]);
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

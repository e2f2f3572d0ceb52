// What host and kernels agree on: the structs that kernels take by value and the layouts they name. Every field lies
// where a C compiler puts it; pointers have eight bytes, int and float four. README.md lists the kernels.
#pragma once

#include "device.h"

namespace baton {

// Columns of a product's inputs as they lie in memory. A row of the whole model has `whole` columns in `parts`
// canonical ranges, range i being [i * whole / parts, (i + 1) * whole / parts) in whole numbers; this row holds
// `ranges` of them from range `first` on. Each lies in `width` elements, a multiple of 32, filled up with zeros: an
// input's tile of 32 belongs to one range, and a row has 64-byte alignment. 24 bytes.
struct Packing {
  int inputs;
  int whole;
  int parts;
  int first;
  int ranges;
  int width;

  DEVICE int pitch() const { return ranges * width; }

  // The first column of a range, counted from this row's first; range `ranges` begins at `inputs`.
  DEVICE int border(int range) const {
    return static_cast<int>(static_cast<long long>(first + range) * whole / parts -
                            static_cast<long long>(first) * whole / parts);
  }

  // Where a column lies in its row.
  DEVICE int place(int column) const {
    if (ranges * width == inputs) {
      return column;
    }
    int range = 0;
    while (column >= border(range + 1)) {
      range++;
    }
    return range * width + column - border(range);
  }

  // The column that lies at a place; -1 = filling.
  DEVICE int column(int place) const {
    if (ranges * width == inputs) {
      return place;
    }
    int range = place / width;
    int at = border(range) + place % width;
    return at < border(range + 1) ? at : -1;
  }
};
static_assert(sizeof(Packing) == 24, "as the host writes it");

// One step's batch, see StepBatch. 72 bytes.
struct Batch {
  Global<const int> counts;      // tokens, sequences, logit rows, runs, singles
  Global<const int> tokenIds;    // [tokens]
  Global<const int> positions;   // [tokens]
  Global<const int> sequenceOf;  // [tokens]
  Global<const int> logitIndex;  // [logit rows]: token
  Global<const int> tables;      // [sequences][maxBlocks]: block
  Global<const int> runs;        // [runs][2]: first token, tokens (1 to 64) of one sequence, for attention_runs
  Global<const int> singles;     // [singles]: token, for attention_singles
  int maxBlocks;
  int unused;
};
static_assert(sizeof(Batch) == 72, "as the host writes it");

// One layer of a rank's KV, [block][key, value][head]: bfloat16 [blockTokens][width], width being the head's dimension
// filled up with zeros to a multiple of 32; or eight bits [blockTokens][width] and behind them the rows' scales, float32
// [blockTokens]. 32 bytes.
struct KvLayer {
  Global<bf16> base;
  int blockTokens;  // a multiple of 32
  int heads;
  int width;
  int headDim;
  int inBytes;  // 1 = eight bits, 0 = bfloat16
  int unused;

  DEVICE long long part(int block, int value, int head) const {
    return ((static_cast<long long>(block) * 2 + value) * heads + head) * blockTokens;
  }

  DEVICE long long offset(int block, int value, int head, int slot) const {
    return (part(block, value, head) + slot) * width;
  }

  DEVICE Global<unsigned char> bytes(int block, int value, int head) const {
    return cast<unsigned char>(base) + part(block, value, head) * (width + 4);
  }

  DEVICE Global<float> scales(int block, int value, int head) const {
    return cast<float>(bytes(block, value, head) + static_cast<long long>(blockTokens) * width);
  }
};
static_assert(sizeof(KvLayer) == 32, "as the host writes it");

// What a product's sums become.
enum ProductMode {
  STORE = 0,  // out = sum + bias
  ADD = 1,    // out += sum + bias
  GATE = 2,   // out = gate / (1 + exp(-gate)) * up, gate = sum + bias, up = sum + upBias
};

// One of several products of the same inputs. A plain weight is bfloat16 [outputs][ranges * width]. A gated one is
// [ceil(outputs / 8)][gate, up][8][ranges * width], the last eight filled up with zeros: tiles of sixteen rows in both.
// 56 bytes.
struct Product {
  Global<const bf16> weight;
  Global<const float> bias;    // [outputs], of the gate; or null
  Global<const float> upBias;  // [outputs] or null
  Global<float> out;           // float32 [rows][outPitch] or null
  Global<bf16> rounded;        // bfloat16 [rows][packing.pitch()] for the next product, or null; only with GATE
  int outputs;
  int outPitch;
  int firstTile;  // tiles of sixteen rows of weight in the products before this one
  int mode;
};
static_assert(sizeof(Product) == 56, "as the host writes it");

// Up to four products of the same inputs in one launch. 264 bytes.
struct Products {
  Product of[4];
  int count;
  int tiles;  // of all
  Packing rounded;  // of the next product's inputs
  int ranges;  // of the weights and inputs
  int width;
};
static_assert(sizeof(Products) == 264, "as the host writes it");

// Which experts each row goes to, see Routing. 64 bytes.
struct Routes {
  Global<int> counts;     // [2]: rows, slots
  Global<int> choices;    // [rows][chosen]: expert
  Global<int> slots;      // [rows][chosen]: where the pair of row and choice stands, by expert, then row
  Global<float> weights;  // [rows][chosen]
  Global<int> rowOfSlot;  // [slots]
  Global<int> begins;     // [experts + 1]: first slot of an expert
  int experts;
  int chosen;
  int maxRows;
  int unused;
};
static_assert(sizeof(Routes) == 64, "as the host writes it");

// Products of slots by the weights of their experts: one product, whose weight and first tile are not looked at and
// whose rows are slots. 272 bytes.
struct RoutedProducts {
  Products products;
  Global<const unsigned long long> weights;  // [experts]: address
};
static_assert(sizeof(RoutedProducts) == 272, "as the host writes it");

}  // namespace baton

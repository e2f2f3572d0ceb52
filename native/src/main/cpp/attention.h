// What every kernel of attention shares: queries, the blocks of a sequence, and how the work is cut.
#pragma once

#include "kv_layout.h"
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

static constexpr int MAX_HEAD_DIM = 512;

struct Query {
  const float* q;
  float* out;
  int first;  // the first and the last position that it sees
  int last;
};

// One KV head of one sequence.
struct Cache {
  const KvLayout& layout;
  const uint8_t* layer_head;  // the head in block 0 of the layer
  const int32_t* table;

  // The head in the block of a position.
  const uint8_t* head(int position) const {
    return layer_head + table[position / layout.tokens] * layout.block_bytes;
  }
  int slot(int position) const { return position % layout.tokens; }
};

struct Step {
  float* out;
  int64_t out_stride;
  const float* q;
  int64_t q_stride;
  const uint8_t* layer;
  const int32_t* positions;
  const int32_t* sequences;
  const int32_t* tables;
  int32_t table_stride;
  int32_t tokens;
  int32_t kv_heads;
  int32_t heads;
  int32_t window;
};

// Calls attend(queries, n, cache) for all of the share's units. A unit is up to `most` queries of one KV head of one
// sequence, tokens in order and the group's heads of each; every parts-th unit belongs to the share. A sequence's last
// tokens come first: they see the most positions, and what is long should not begin at the end.
template <class F>
static void each_unit(Share share, const Step& s, const KvLayout& layout, int most, Query* queries, const F& attend) {
  const int group = s.heads / s.kv_heads;
  int64_t unit = 0;
  for (int from = 0; from < s.tokens;) {
    int to = from + 1;
    while (to < s.tokens && s.sequences[to] == s.sequences[from]) {
      to++;
    }
    const int32_t* table = s.tables + static_cast<int64_t>(s.sequences[from]) * s.table_stride;
    const int64_t rows = static_cast<int64_t>(to - from) * group;
    for (int64_t block = (rows - 1) / most; block >= 0; block--) {
      const int n = static_cast<int>(rows - block * most < most ? rows - block * most : most);
      for (int kv_head = 0; kv_head < s.kv_heads; kv_head++, unit++) {
        if (unit % share.parts != share.part) {
          continue;
        }
        for (int i = 0; i < n; i++) {
          const int token = from + static_cast<int>((block * most + i) / group);
          const int head = kv_head * group + static_cast<int>((block * most + i) % group);
          const int64_t column = static_cast<int64_t>(head) * layout.dim;
          const int last = s.positions[token];
          const int first = s.window == 0 ? 0 : larger(0, last - s.window + 1);
          queries[i] = {s.q + token * s.q_stride + column, s.out + token * s.out_stride + column, first, last};
        }
        attend(queries, n, Cache{layout, s.layer + kv_head * layout.head_bytes, table});
      }
    }
    from = to;
  }
}

// Attention over bfloat16 or int8 KV; the vector tiers' kernel (attention_narrow.cpp).
void attention_narrow(Share share, const Step& step, const KvLayout& layout, float scale) noexcept;

}  // namespace BATON_TIER
}  // namespace baton

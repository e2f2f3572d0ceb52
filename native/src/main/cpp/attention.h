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

// Some queries of one sequence that are computed together: as many of each of `heads` KV heads, one head behind the other.
struct Unit {
  Query* queries;
  int n;
  int heads;
  const uint8_t* layer_head;  // the first one in block 0 of the layer
  const int32_t* table;
};

// Whether every token has a sequence of its own.
static inline bool all_decode(const Step& s) {
  for (int i = 1; i < s.tokens; i++) {
    if (s.sequences[i] == s.sequences[i - 1]) {
      return false;
    }
  }
  return true;
}

// Calls attend(unit, next) for all of the share's units; `next` is the unit that comes then, or null. A unit is up to `most`
// queries of one KV head of one sequence, tokens in order and the group's heads of each; `queries` has room for two. Where
// every sequence has one token the share is some heads in a row, those of tokens that rope_store gives the same thread, in
// whose cache keys and values are still; and with `joined`, a token's heads are one unit, as far as `most` allows. Else every
// parts-th unit belongs to the share, a sequence's last tokens first: they see the most positions, and what is long should
// not begin at the end.
template <class F>
static void each_unit(Share share, const Step& s, const KvLayout& layout, int most, bool joined, Query* queries,
                      const F& attend) {
  const int group = s.heads / s.kv_heads;
  const bool in_a_row = group <= most && all_decode(s);
  const int64_t units = static_cast<int64_t>(s.tokens) * s.kv_heads;
  const int64_t begin = units * share.part / share.parts;
  const int64_t end = units * share.end / share.parts;
  Unit waiting = {queries, 0, 0, nullptr, nullptr};
  Unit found = {queries + most, 0, 0, nullptr, nullptr};
  const auto call = [&](const Unit* next) {
    if (waiting.n > 0) {
      attend(waiting, next);
    }
  };
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
        if (in_a_row ? unit < begin || unit >= end : unit % share.parts != share.part) {
          continue;
        }
        const bool joins = joined && in_a_row && kv_head > 0 && found.n > 0 && found.n + n <= most;
        if (!joins && found.n > 0) {
          call(&found);
          Query* const free = waiting.queries;
          waiting = found;
          found.queries = free;
          found.n = 0;
        }
        if (found.n == 0) {
          found = {found.queries, 0, 0, s.layer + kv_head * layout.head_bytes, table};
        }
        for (int i = 0; i < n; i++) {
          const int token = from + static_cast<int>((block * most + i) / group);
          const int head = kv_head * group + static_cast<int>((block * most + i) % group);
          const int64_t column = static_cast<int64_t>(head) * layout.dim;
          const int last = s.positions[token];
          const int first = s.window == 0 ? 0 : larger(0, last - s.window + 1);
          found.queries[found.n++] = {s.q + token * s.q_stride + column, s.out + token * s.out_stride + column, first, last};
        }
        found.heads++;
      }
    }
    from = to;
  }
  call(found.n > 0 ? &found : nullptr);
  waiting = found;
  call(nullptr);
}

// Attention over bfloat16 or int8 KV; the vector tiers' kernel (attention_narrow.cpp).
void attention_narrow(Share share, const Step& step, const KvLayout& layout, float scale) noexcept;

}  // namespace BATON_TIER
}  // namespace baton

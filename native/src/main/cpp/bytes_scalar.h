// Products of bytes in plain C++. The functions are the same in every tier.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

constexpr int BYTE_ROWS_8 = 4;  // rows of inputs that share a loaded weight of eight bits
constexpr int BYTE_ROWS_4 = 4;  // and of four
constexpr int FEW_ROWS_8 = 4;   // rows that take the weight as it comes from memory
constexpr int FEW_ROWS_4 = 4;
constexpr bool WIDENS_4 = false;

// Sixteen sums.
struct Sums {
  int32_t v[16];
};

static inline Sums all_sums(int32_t value) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = value;
  }
  return result;
}
static inline Lanes to_float(const Sums& sums) {
  Lanes result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = static_cast<float>(sums.v[i]);
  }
  return result;
}
// To the nearest integer, ties to even; |x| < 2^22.
static inline Sums to_int(const Lanes& x) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = static_cast<int32_t>((x.v[i] + 12582912.0f) - 12582912.0f);
  }
  return result;
}
static inline Sums add(const Sums& a, const Sums& b) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = a.v[i] + b.v[i];
  }
  return result;
}
// The bits of |x|, which are in the order of what they mean; infinity and NaN from 0x7f800000.
static inline Sums magnitude_bits(const Lanes& x) {
  Sums result;
  __builtin_memcpy(result.v, x.v, sizeof(result.v));
  for (int i = 0; i < 16; i++) {
    result.v[i] &= 0x7fffffff;
  }
  return result;
}
static inline Sums larger(const Sums& a, const Sums& b) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = larger(a.v[i], b.v[i]);
  }
  return result;
}
static inline int32_t largest(const Sums& sums) {
  int32_t result = 0;
  for (int i = 0; i < 16; i++) {
    result = larger(result, sums.v[i]);
  }
  return result;
}
static inline int32_t sum(const Sums& sums) {
  int32_t result = 0;
  for (int i = 0; i < 16; i++) {
    result += sums.v[i];
  }
  return result;
}
static inline Sums clamp(const Sums& sums, int32_t least, int32_t most) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = larger(least, smaller(most, sums.v[i]));
  }
  return result;
}
// Values of -128 to 127.
static inline void store_bytes(int8_t* to, const Sums& sums) {
  for (int i = 0; i < 16; i++) {
    to[i] = static_cast<int8_t>(sums.v[i]);
  }
}
// a << shift | b
static inline Sums shift_or(const Sums& a, int shift, const Sums& b) {
  Sums result;
  for (int i = 0; i < 16; i++) {
    result.v[i] = static_cast<int32_t>(static_cast<uint32_t>(a.v[i]) << shift | static_cast<uint32_t>(b.v[i]));
  }
  return result;
}
static inline void store(int32_t* to, const Sums& sums) { __builtin_memcpy(to, sums.v, sizeof(sums.v)); }
static inline Sums load(const int32_t* from) {
  Sums result;
  __builtin_memcpy(result.v, from, sizeof(result.v));
  return result;
}

// Adds the products of R rows with a pair of tiles. A weight w counts as w, not w + 128: each tier may first have put
// -128 times the sum of the row's inputs into the sums. Calls ask(0) to ask(3) as it goes, for what is to be asked for
// meanwhile.
template <int R, class Ask>
static inline void multiply_8(const uint8_t* weight, const int8_t* x, Sums (&sums)[R][2], const Ask& ask) {
  for (int g = 0; g < 2; g++) {
    for (int quad = 0; quad < 16; quad++) {
      if (quad % 8 == 0) {
        ask(g * 2 + quad / 8);
      }
      const uint8_t* line = weight + g * 1024 + quad * 64;
      for (int r = 0; r < R; r++) {
        const int8_t* from = x + r * 64 + quad * 4;
        for (int j = 0; j < 16; j++) {
          for (int i = 0; i < 4; i++) {
            sums[r][g].v[j] += line[j * 4 + i] * from[i];
          }
        }
      }
    }
  }
}

// Adds the products of R rows with a pair of tiles of four bits and their factors. `group_sums` are those of Staged.
template <int R, class Ask>
static inline void multiply_4(const uint8_t* weight, const int8_t* x, const int32_t* group_sums, Sums (&sums)[R][2],
                              const Ask& ask) {
  const int8_t* factors = reinterpret_cast<const int8_t*>(weight + 1024);
  for (int g = 0; g < 2; g++) {
    ask(g * 2);
    ask(g * 2 + 1);
    for (int r = 0; r < R; r++) {
      Sums low = all_sums(group_sums[2 * r]);
      Sums high = all_sums(group_sums[2 * r + 1]);
      for (int quad = 0; quad < 8; quad++) {
        const uint8_t* line = weight + g * 512 + quad * 64;
        const int8_t* for_low = x + r * 64 + quad * 4;
        const int8_t* for_high = for_low + 32;
        for (int j = 0; j < 16; j++) {
          for (int i = 0; i < 4; i++) {
            low.v[j] += (line[j * 4 + i] & 15) * for_low[i];
            high.v[j] += (line[j * 4 + i] >> 4) * for_high[i];
          }
        }
      }
      for (int j = 0; j < 16; j++) {
        const int8_t* both = factors + g * 32 + j * 2;
        sums[r][g].v[j] += low.v[j] * both[0] + high.v[j] * both[1];
      }
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

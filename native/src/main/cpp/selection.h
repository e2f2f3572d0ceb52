// Lists of the whole numbers that tokens weigh, 0 to 2^30: their sums, and where the heaviest of them reach a wanted sum
// (the cut of top_p, and by masses of one that of top_k). Nothing is sorted, and sums of whole numbers are the same in any
// order, so the result is, too.
#pragma once

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

namespace {

// Whole numbers of lanes, summed exactly; and a list of those that are wanted.
#if defined(BATON_TIER_AVX512)

struct Total {
  __m512i even = _mm512_setzero_si512();
  __m512i odd = _mm512_setzero_si512();
};

inline void count_in(Total& total, Lanes whole) {
  const __m512i v = _mm512_cvttps_epi32(whole.v);
  total.even = _mm512_add_epi64(total.even, _mm512_and_si512(v, _mm512_set1_epi64(0xffffffff)));
  total.odd = _mm512_add_epi64(total.odd, _mm512_srli_epi64(v, 32));
}

inline int64_t sum_of(const Total& total) { return _mm512_reduce_add_epi64(_mm512_add_epi64(total.even, total.odd)); }

inline void store_whole(int32_t* p, Lanes whole) { _mm512_storeu_si512(p, _mm512_cvttps_epi32(whole.v)); }

// Appends the first n lanes with x >= floor and whole >= least; both lists have room for a vector more.
inline int append(Lanes x, Lanes whole, int n, float floor, int32_t least, int32_t first, int32_t* ids,
                  int32_t* weights) {
  const __m512i v = _mm512_cvttps_epi32(whole.v);
  const __mmask16 wanted = static_cast<__mmask16>(first_lanes(n) & _mm512_cmp_ps_mask(x.v, _mm512_set1_ps(floor), _CMP_GE_OQ) &
                                                  _mm512_cmpge_epi32_mask(v, _mm512_set1_epi32(least)));
  if (wanted == 0) {
    return 0;
  }
  const __m512i steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i numbers = _mm512_add_epi32(_mm512_set1_epi32(first), steps);
  // Whole vectors: a masked store of the compressed is many times slower.
  _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(wanted, numbers));
  _mm512_storeu_si512(weights, _mm512_maskz_compress_epi32(wanted, v));
  return __builtin_popcount(wanted);
}

// Adds the weights from `high` on, and lists those in [low, high); the list has room for a vector more. 1 <= low <= high.
inline int part_out(Lanes whole, int32_t low, int32_t high, Total& above, int32_t* list) {
  const __m512i v = _mm512_cvttps_epi32(whole.v);
  const __mmask16 over = _mm512_cmpge_epi32_mask(v, _mm512_set1_epi32(high));
  const __mmask16 in = _mm512_cmpge_epi32_mask(v, _mm512_set1_epi32(low)) & static_cast<__mmask16>(~over);
  const __m512i kept = _mm512_maskz_mov_epi32(over, v);
  above.even = _mm512_add_epi64(above.even, _mm512_and_si512(kept, _mm512_set1_epi64(0xffffffff)));
  above.odd = _mm512_add_epi64(above.odd, _mm512_srli_epi64(kept, 32));
  _mm512_storeu_si512(list, _mm512_maskz_compress_epi32(in, v));
  return __builtin_popcount(in);
}

// The sum of the weights that are at least `least`.
inline int64_t mass_from(const int32_t* weights, int n, int32_t least) {
  Total total;
  for (int i = 0; i < n; i += LANES) {
    const __m512i v = _mm512_maskz_loadu_epi32(first_lanes(n - i), weights + i);
    const __m512i kept = _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(v, _mm512_set1_epi32(least)), v);
    total.even = _mm512_add_epi64(total.even, _mm512_and_si512(kept, _mm512_set1_epi64(0xffffffff)));
    total.odd = _mm512_add_epi64(total.odd, _mm512_srli_epi64(kept, 32));
  }
  return sum_of(total);
}

// Lists the weights in [low, high); returns how many.
inline int between(const int32_t* weights, int n, int32_t low, int32_t high, int32_t* list) {
  int count = 0;
  for (int i = 0; i < n; i += LANES) {
    const __m512i v = _mm512_maskz_loadu_epi32(first_lanes(n - i), weights + i);
    const __mmask16 in = static_cast<__mmask16>(first_lanes(n - i) & _mm512_cmpge_epi32_mask(v, _mm512_set1_epi32(low)) &
                                                _mm512_cmplt_epi32_mask(v, _mm512_set1_epi32(high)));
    _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(in, v));
    count += __builtin_popcount(in);
  }
  return count;
}

#else

struct Total {
  int64_t sum = 0;
};

inline void count_in(Total& total, const Lanes& whole) {
  float v[LANES];
  store(v, whole);
  int64_t sum = 0;
  for (int i = 0; i < LANES; i++) {
    sum += static_cast<int32_t>(v[i]);
  }
  total.sum += sum;
}

inline int64_t sum_of(const Total& total) { return total.sum; }

inline void store_whole(int32_t* p, const Lanes& whole) {
  float v[LANES];
  store(v, whole);
  for (int i = 0; i < LANES; i++) {
    p[i] = static_cast<int32_t>(v[i]);
  }
}

inline int append(const Lanes& x, const Lanes& whole, int n, float floor, int32_t least, int32_t first, int32_t* ids,
                  int32_t* weights) {
  float value[LANES];
  float v[LANES];
  store(value, x);
  store(v, whole);
  int count = 0;
  for (int i = 0; i < n; i++) {
    const int32_t weight = static_cast<int32_t>(v[i]);
    // No branch on the data: what is not wanted is overwritten by the next.
    ids[count] = first + i;
    weights[count] = weight;
    count += value[i] >= floor && weight >= least;
  }
  return count;
}

inline int part_out(const Lanes& whole, int32_t low, int32_t high, Total& above, int32_t* list) {
  float v[LANES];
  store(v, whole);
  int count = 0;
  for (int i = 0; i < LANES; i++) {
    const int32_t weight = static_cast<int32_t>(v[i]);
    above.sum += weight >= high ? weight : 0;
    // No branch on the data, as above.
    list[count] = weight;
    count += weight >= low && weight < high;
  }
  return count;
}

inline int64_t mass_from(const int32_t* weights, int n, int32_t least) {
  int64_t mass = 0;
  for (int i = 0; i < n; i++) {
    mass += weights[i] >= least ? weights[i] : 0;
  }
  return mass;
}

inline int between(const int32_t* weights, int n, int32_t low, int32_t high, int32_t* list) {
  int count = 0;
  for (int i = 0; i < n; i++) {
    // No branch on the data, as above.
    list[count] = weights[i];
    count += weights[i] >= low && weights[i] < high;
  }
  return count;
}

#endif

// Where a list must be cut, largest keys first, for its head to reach a wanted mass.
struct Cut {
  uint32_t key;     // larger ones are in
  int64_t missing;  // what those of the key itself must add, at least 1
};

// Radix selection: three counting passes over the keys, 11, 11 and 10 bits from the top; nothing is sorted, and no input is
// worse than another. The mass of a key is 1 when UNIT, else the key. 1 <= wanted <= all masses.
template <bool UNIT>
Cut cut(const uint32_t* keys, int n, int64_t wanted) {
  constexpr int DIGIT_BITS = 11;
  int64_t masses[1 << DIGIT_BITS];
  uint32_t prefix = 0;
  int64_t missing = wanted;
  for (int bits = 0; bits < 32;) {
    const int digit_bits = smaller(DIGIT_BITS, 32 - bits);
    const int shift = 32 - bits - digit_bits;
    const uint32_t mask = (1u << digit_bits) - 1;
    for (uint32_t digit = 0; digit <= mask; digit++) {
      masses[digit] = 0;
    }
    for (int i = 0; i < n; i++) {
      // In 64 bits, where a shift by 32 gives 0.
      if (static_cast<uint64_t>(keys[i]) >> (shift + digit_bits) == prefix) {
        masses[keys[i] >> shift & mask] += UNIT ? 1 : keys[i];
      }
    }
    uint32_t digit = mask;
    for (; masses[digit] < missing; digit--) {
      missing -= masses[digit];
    }
    prefix = prefix << digit_bits | digit;
    bits += digit_bits;
  }
  return {prefix, missing};
}

// Lists longer than this are first narrowed down by a sample of them.
constexpr int LONG_LIST = 4096;
constexpr int SAMPLE = 1024;
// As a share of the mass, some four times what a sample is usually off; when that is not enough, the cut is only slower.
constexpr double SAMPLE_MARGIN = 0.05;

// Weights in [low, high) are those among which a cut is to be looked for.
struct Bounds {
  int32_t low;
  int32_t high;
};

// What probably encloses the cut at `share` of a mass of which this is a sample (R. W. Floyd, R. L. Rivest, "Expected time
// bounds for selection", 1975: two members of a sample enclose the cut, one pass leaves what lies between). Weights are told
// apart by their six leading bits after the first, which is as fine as a sample deserves.
Bounds bounds_of(const int32_t* sample, double share) {
  constexpr int FINE = 17;  // bits of a float's fraction that are left out
  constexpr int ONE = 0x3f800000 >> FINE;
  constexpr int STEPS = 32 << (23 - FINE);
  int64_t masses[STEPS] = {};
  int64_t sampled = 0;
  for (int i = 0; i < SAMPLE; i++) {
    // A weight is a float without a fraction, so it stays what it is.
    const float whole = static_cast<float>(sample[i]);
    int32_t bits;
    __builtin_memcpy(&bits, &whole, 4);
    masses[sample[i] == 0 ? 0 : (bits >> FINE) - ONE] += sample[i];
    sampled += sample[i];
  }
  const auto least_of = [](int step) {
    const int32_t bits = (step + ONE) << FINE;
    float least;
    __builtin_memcpy(&least, &bits, 4);
    return static_cast<int32_t>(least);
  };
  const double less = (share - SAMPLE_MARGIN) * static_cast<double>(sampled);
  const double more = (share + SAMPLE_MARGIN) * static_cast<double>(sampled);
  int step = STEPS;
  double mass = 0;
  while (step > 0 && mass + static_cast<double>(masses[step - 1]) <= less) {
    mass += static_cast<double>(masses[--step]);
  }
  const int32_t high = step == STEPS ? INT32_MAX : least_of(step);
  while (step > 0 && mass < more) {
    mass += static_cast<double>(masses[--step]);
  }
  return {mass < more ? 1 : least_of(step), high};
}

// The cut of a list of weights whose sum is `mass`. room: n + LANES elements.
Cut cut_weights(const int32_t* weights, int n, int64_t mass, int64_t wanted, int32_t* room) {
  if (n > LONG_LIST) {
    int32_t sample[SAMPLE];
    for (int i = 0; i < SAMPLE; i++) {
      sample[i] = weights[static_cast<int64_t>(i) * n / SAMPLE];
    }
    const Bounds bounds = bounds_of(sample, static_cast<double>(wanted) / static_cast<double>(mass));
    const int count = between(weights, n, bounds.low, bounds.high, room);
    const int64_t above = mass_from(weights, n, bounds.high);
    if (above < wanted && wanted - above <= mass_from(room, count, 0)) {
      return cut<false>(reinterpret_cast<const uint32_t*>(room), count, wanted - above);
    }
  }
  return cut<false>(reinterpret_cast<const uint32_t*>(weights), n, wanted);
}

// What a nucleus keeps: the weights above `key`, and the first `equals` of those that weigh just that.
struct Nucleus {
  int32_t key;
  int64_t equals;
  int64_t mass;
};

// The whole as a nucleus.
inline Nucleus whole_of(int64_t mass) { return {1, INT64_MAX, mass}; }

inline Nucleus nucleus_of(const Cut& last, int64_t wanted) {
  const int64_t equals = (last.missing + last.key - 1) / last.key;
  return {static_cast<int32_t>(last.key), equals, wanted - last.missing + equals * last.key};
}

// Goes past weights whose kept sum does not exceed the target; `above` is the sum of those over the key, `found` counts those
// of the key. False: the target lies among them.
inline bool pass(Nucleus& nucleus, int64_t& target, int64_t above, int64_t found) {
  const int64_t equals = found < nucleus.equals ? found : nucleus.equals;
  const int64_t sum = above + equals * nucleus.key;
  if (target < sum) {
    return false;
  }
  target -= sum;
  nucleus.equals -= equals;
  return true;
}

// The first of n weights at which those that are kept, summed in order, exceed the target; n when none.
inline int place_of(const int32_t* weights, int n, Nucleus& nucleus, int64_t target) {
  for (int i = 0; i < n; i++) {
    if (weights[i] > nucleus.key || (weights[i] == nucleus.key && nucleus.equals-- > 0)) {
      target -= weights[i];
      if (target < 0) {
        return i;
      }
    }
  }
  return n;
}

}  // namespace

}  // namespace BATON_TIER
}  // namespace baton

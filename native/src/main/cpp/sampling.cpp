// Passes over rows of logits for the sampler, in blocks of 128 elements. A unit is one block of one row, so a single row
// is shared by the threads too; blocks do not depend on each other.
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

namespace {

constexpr int BLOCK = 128;

// How a row is seen; the layout of LogitScan's views.
struct View {
  int32_t row;
  float peak;
  float inverse;
  float floor;
};

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

// Appends the first n lanes with x >= floor and whole >= least.
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
  _mm512_mask_compressstoreu_epi32(ids, wanted, numbers);
  _mm512_mask_compressstoreu_epi32(weights, wanted, v);
  return __builtin_popcount(wanted);
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

#endif

inline Lanes exponential(const View& view, Lanes x) { return exp(mul(sub(x, all(view.peak)), all(view.inverse))); }

// A weight before the fraction is cut off.
inline Lanes weight(const View& view, Lanes x) {
  const Lanes scaled = fma(exponential(view, x), all(1073741824.0f), all(0.5f));
  return if_less(x, all(view.floor), zero(), scaled);
}

inline Lanes load_or(const float* p, int n, float other) {
  return n >= LANES ? load(p) : within(load(p, n), 0, n, all(other));
}

inline int elements_of(int block, int width) { return smaller(BLOCK, width - block * BLOCK); }

}  // namespace

// peaks[row, block] = the largest element of the block, a zero positive; NaN when an element is NaN or positive infinity.
// Bytes: the rows once. Operations: two comparisons an element. Bound by memory, or by the cache that the logits are in.
void row_peaks(Share share, float* peaks, const float* logits, int32_t width, int32_t rows) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t units = static_cast<int64_t>(rows) * blocks;
  const Lanes infinity = all(__builtin_inff());
  for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
    const int block = unit % blocks;
    const float* x = logits + static_cast<int64_t>(unit / blocks) * width + block * BLOCK;
    const int n = elements_of(block, width);
    Lanes peak = all(-__builtin_inff());
    Lanes unusable = zero();
    for (int c = 0; c < n; c += LANES) {
      const Lanes v = load_or(x + c, n - c, -__builtin_inff());
      peak = if_less(peak, v, v, peak);
      unusable = if_less(v, infinity, unusable, v);
    }
    peaks[unit] = sum(unusable) == 0.0f ? max(peak) + 0.0f : __builtin_nanf("");
  }
}

// sums[i, block] = the sum of exp((x - peak) * inverse) over the block in the row of view i: 16 lanes in order, added by
// halves. Bytes: the rows once. Operations: 15 an element; about as long as reading from the last cache.
void row_exponentials(Share share, float* sums, const float* logits, int32_t width, const uint8_t* views,
                      int32_t count) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t units = static_cast<int64_t>(count) * blocks;
  for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
    const View& view = reinterpret_cast<const View*>(views)[unit / blocks];
    const int block = unit % blocks;
    const float* x = logits + static_cast<int64_t>(view.row) * width + block * BLOCK;
    const int n = elements_of(block, width);
    Lanes total = zero();
    for (int c = 0; c < n; c += LANES) {
      total = add(total, exponential(view, load_or(x + c, n - c, -__builtin_inff())));
    }
    sums[unit] = sum(total);
  }
}

// sums[i, block] = the sum of the block's weights, whole numbers, in the row of view i. Bytes and operations as
// row_exponentials, and five more for each 16 elements.
void row_weights(Share share, int64_t* sums, const float* logits, int32_t width, const uint8_t* views,
                 int32_t count) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t units = static_cast<int64_t>(count) * blocks;
  for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
    const View& view = reinterpret_cast<const View*>(views)[unit / blocks];
    const int block = unit % blocks;
    const float* x = logits + static_cast<int64_t>(view.row) * width + block * BLOCK;
    const int n = elements_of(block, width);
    Total total;
    for (int c = 0; c < n; c += LANES) {
      // The weight of minus infinity is 0.
      count_in(total, weight(view, load_or(x + c, n - c, -__builtin_inff())));
    }
    sums[unit] = sum_of(total);
  }
}

// Lists the elements x >= floor with weights >= least of blocks [block_from, block_to) of one row, by rising number; those
// of block b at b * 128, counts[b] of them. Bytes: the blocks whose peak reaches the floor, and what is listed.
void row_select(Share share, int32_t* ids, int32_t* weights, int32_t* counts, const float* logits, const float* peaks,
                int32_t width, const uint8_t* view_bytes, int32_t least, int32_t block_from, int32_t block_to) noexcept {
  const View& view = *reinterpret_cast<const View*>(view_bytes);
  const int64_t units = block_to - block_from;
  const float* row = logits + static_cast<int64_t>(view.row) * width;
  for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
    const int block = block_from + unit;
    const int first = block * BLOCK;
    int found = 0;
    if (!(peaks[block] < view.floor)) {
      const int n = elements_of(block, width);
      for (int c = 0; c < n; c += LANES) {
        const Lanes x = load_or(row + first + c, n - c, -__builtin_inff());
        found += append(x, weight(view, x), smaller(LANES, n - c), view.floor, least, first + c, ids + first + found,
                        weights + first + found);
      }
    }
    counts[block] = found;
  }
}

}  // namespace BATON_TIER
}  // namespace baton

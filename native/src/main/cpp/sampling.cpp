// Passes over rows of logits for the sampler, in blocks of 128 elements. A unit is one block of one row, so a single row
// is shared by the threads too; blocks do not depend on each other. What follows from the blocks' results (the largest of
// a@@#include "lanes.h"
#include "selection.h"

namespace baton {
namespace BATON_TIER {

namespace {

constexpr int BLOCK = 128;

// Elements that are asked for before they are needed: 4 KiB.
constexpr int AHEAD = 1024;

// How a row is seen; the layout of LogitScan's views.
struct View {
  int32_t row;
  float peak;
  float inverse;
  float floor;
};

// A view, and what is to be drawn from it; the layout of LogitScan's draws.
struct Draw {
  View view;
  int32_t top_k;  // 0 = all
  float top_p;
  double uniform;
};

// What is asked about the order of a row; the layout of LogitScan's rankings.
struct Ranking {
  int32_t row;
  float peak;
  int32_t top;
  float floor;
};

// Whether the whole row counts, not its largest elements alone.
inline bool weighs_all(const Draw& draw, int width) { return draw.top_k == 0 || draw.top_k >= width; }

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

// Larger floats are larger whole numbers; both zeros are equal.
inline uint32_t ordered(float value) {
  const float positive_zero = value + 0.0f;
  uint32_t bits;
  __builtin_memcpy(&bits, &positive_zero, 4);
  return bits ^ (bits >> 31 ? 0xffffffffu : 0x80000000u);
}

inline float value_of(uint32_t key) {
  const uint32_t bits = key ^ (key >> 31 ? 0x80000000u : 0xffffffffu);
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// The elements of a row that are still in the running, by rising id, with their weights.
struct Candidates {
  int32_t* ids;
  int32_t* weights;
  int32_t* room;  // as long again, for keys or for a part of the weights
  int n;
};

// Lists the elements that reach the view's floor with weights >= least.
void list(Candidates& to, const View& view, const float* row, const float* peaks, int width, int32_t least) {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  to.n = 0;
  for (int group = 0; group < blocks; group += LANES) {
    const int count = smaller(LANES, blocks - group);
    // What the largest of a block weighs, and a hundredth more: exp is not monotone to the last bit.
    float heaviest[LANES];
    store(heaviest, fma(exponential(view, load_or(peaks + group, count, -__builtin_inff())), all(1.01f * 1073741824.0f),
                        all(1.0f)));
    for (int i = 0; i < count; i++) {
      const int block = group + i;
      if (peaks[block] < view.floor || heaviest[i] < static_cast<float>(least)) {
        continue;
      }
      const int first = block * BLOCK;
      const int n = elements_of(block, width);
      for (int c = 0; c < n; c += LANES) {
        const Lanes x = load_or(row + first + c, n - c, -__builtin_inff());
        to.n += append(x, weight(view, x), smaller(LANES, n - c), view.floor, least, first + c, to.ids + to.n, to.weights + to.n);
      }
    }
  }
}

// Keeps the k candidates of the largest elements; of equal ones the first.
void keep_largest(Candidates& candidates, const float* row, int k) {
  if (candidates.n <= k) {
    return;
  }
  uint32_t* keys = reinterpret_cast<uint32_t*>(candidates.room);
  for (int i = 0; i < candidates.n; i++) {
    keys[i] = ordered(row[candidates.ids[i]]);
  }
  Cut last = cut<true>(keys, candidates.n, k);
  int kept = 0;
  for (int i = 0; i < candidates.n; i++) {
    if (keys[i] > last.key || (keys[i] == last.key && last.missing-- > 0)) {
      candidates.ids[kept] = candidates.ids[i];
      candidates.weights[kept++] = candidates.weights[i];
    }
  }
  candidates.n = kept;
}

// uniform * total can round up to the total.
inline int64_t target_of(double uniform, int64_t total) {
  const int64_t target = static_cast<int64_t>(uniform * static_cast<double>(total));
  return target < total ? target : total - 1;
}

inline int64_t share_of(float top_p, int64_t total) {
  const double wanted = static_cast<double>(top_p) * static_cast<double>(total);
  int64_t whole = static_cast<int64_t>(wanted);
  whole += static_cast<double>(whole) < wanted ? 1 : 0;
  return whole < 1 ? 1 : whole > total ? total : whole;
}

// The candidate at which the weights that the nucleus keeps, summed by rising id, exceed the target.
int32_t token_at(const Candidates& candidates, Nucleus nucleus, int64_t target) {
  for (int from = 0; from < candidates.n; from += BLOCK) {
    const int32_t* weights = candidates.weights + from;
    const int n = smaller(BLOCK, candidates.n - from);
    const int64_t above = mass_from(weights, n, nucleus.key + 1);
    const int64_t found = (mass_from(weights, n, nucleus.key) - above) / nucleus.key;
    if (!pass(nucleus, target, above, found)) {
      return candidates.ids[from + place_of(weights, n, nucleus, target)];
    }
  }
  return -1;
}

// Draws from the candidates, or from the fewest of the heaviest of them that reach `wanted` of their `mass`.
int32_t drawn(const Candidates& candidates, double uniform, int64_t mass, int64_t wanted) {
  if (wanted == mass) {
    return token_at(candidates, whole_of(mass), target_of(uniform, mass));
  }
  const Cut last = cut_weights(candidates.weights, candidates.n, mass, wanted, candidates.room);
  const Nucleus nucleus = nucleus_of(last, wanted);
  return token_at(candidates, nucleus, target_of(uniform, nucleus.mass));
}

// Leaves the k largest elements, as far as they reach the view's floor.
void list_largest(Candidates& candidates, const View& view, const float* row, const float* peaks, int width, int k) {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  View narrowed = view;
  if (k <= blocks) {
    // At least k elements reach the k-th of the blocks' peaks, and few more.
    uint32_t* keys = reinterpret_cast<uint32_t*>(candidates.room);
    for (int block = 0; block < blocks; block++) {
      keys[block] = ordered(peaks[block]);
    }
    const float reached = value_of(cut<true>(keys, blocks, k).key);
    narrowed.floor = view.floor < reached ? reached : view.floor;
  }
  list(candidates, narrowed, row, peaks, width, 0);
  keep_largest(candidates, row, k);
}

int32_t drawn_of_largest(Candidates& candidates, const Draw& draw, const float* row, const float* peaks, int width) {
  list_largest(candidates, draw.view, row, peaks, width, draw.top_k);
  const int64_t mass = mass_from(candidates.weights, candidates.n, 0);
  return drawn(candidates, draw.uniform, mass, draw.top_p < 1.0f ? share_of(draw.top_p, mass) : mass);
}

// Draws from a nucleus of very many tokens without listing them: a sample of the row tells between which weights the cut
// lies, and one pass lists only what lies there. False when the sample misleads.
bool drawn_of_wide(const Candidates& room, const Draw& draw, const float* row, const float* peaks, int width, int64_t total,
                   int64_t wanted, int32_t& token) {
  const View& view = draw.view;
  int32_t sample[SAMPLE];
  for (int i = 0; i < SAMPLE; i += LANES) {
    store_whole(sample + i, weight(view, load(row + static_cast<int64_t>(i) * width / SAMPLE)));
  }
  const Bounds bounds = bounds_of(sample, static_cast<double>(wanted) / static_cast<double>(total));

  const int blocks = (width + BLOCK - 1) / BLOCK;
  int32_t* ends = room.ids;  // of each block's part of the list
  int64_t* sums = reinterpret_cast<int64_t*>((reinterpret_cast<uintptr_t>(room.ids + blocks) + 7) & ~uintptr_t{7});
  int32_t* list = room.weights;
  int64_t above = 0;
  int n = 0;
  for (int block = 0; block < blocks; block++) {
    Total over;
    if (peaks[block] >= view.floor) {
      const float* x = row + block * BLOCK;
      const int elements = elements_of(block, width);
      for (int c = 0; c < elements; c += LANES) {
        const Lanes whole = weight(view, load_or(x + c, elements - c, -__builtin_inff()));
        n += part_out(whole, bounds.low, bounds.high, over, list + n);
      }
    }
    sums[block] = sum_of(over);
    ends[block] = n;
    above += sums[block];
  }
  const int64_t mass = mass_from(list, n, 0);
  if (above >= wanted || wanted - above > mass) {
    return false;
  }
  Nucleus nucleus = nucleus_of(cut_weights(list, n, mass, wanted - above, room.room), wanted - above);
  int64_t target = target_of(draw.uniform, above + nucleus.mass);
  for (int block = 0, from = 0; block < blocks; from = ends[block++]) {
    const int64_t heavier = mass_from(list + from, ends[block] - from, nucleus.key + 1);
    const int64_t found = (mass_from(list + from, ends[block] - from, nucleus.key) - heavier) / nucleus.key;
    if (!pass(nucleus, target, sums[block] + heavier, found)) {
      int32_t weights[BLOCK];
      const int elements = elements_of(block, width);
      for (int c = 0; c < elements; c += LANES) {
        store_whole(weights + c, weight(view, load_or(row + block * BLOCK + c, elements - c, -__builtin_inff())));
      }
      token = block * BLOCK + place_of(weights, elements, nucleus, target);
      return true;
    }
  }
  return false;
}

// What a nucleus hardly ever needs is less likely than 2^-14; one that does is wide.
int32_t drawn_of_nucleus(Candidates& candidates, const Draw& draw, const float* row, const float* peaks, int width,
                         int64_t total) {
  const int64_t wanted = share_of(draw.top_p, total);
  const int64_t rare = total >> 14;
  list(candidates, draw.view, row, peaks, width, rare < 1 ? 1 : rare > 1 << 30 ? 1 << 30 : static_cast<int32_t>(rare));
  int64_t mass = mass_from(candidates.weights, candidates.n, 0);
  if (mass < wanted) {
    int32_t token;
    if (width > LONG_LIST && drawn_of_wide(candidates, draw, row, peaks, width, total, wanted, token)) {
      return token;
    }
    list(candidates, draw.view, row, peaks, width, 1);
    mass = total;
  }
  return drawn(candidates, draw.uniform, mass, wanted);
}

int32_t drawn_of_all(Candidates& candidates, const Draw& draw, const float* row, const float* peaks, int width,
                     const int64_t* sums, int64_t total) {
  int64_t target = target_of(draw.uniform, total);
  int block = 0;
  for (; sums[block] <= target; block++) {
    target -= sums[block];
  }
  const int first = block * BLOCK;
  list(candidates, draw.view, row + first, peaks + block, elements_of(block, width), 1);
  return first + token_at(candidates, whole_of(total), target);
}

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
      // The product that wrote the logits has streamed its weights through the caches meanwhile.
      __builtin_prefetch(x + c + AHEAD);
      const Lanes v = load_or(x + c, n - c, -__builtin_inff());
      peak = if_less(peak, v, v, peak);
      unusable = if_less(v, infinity, unusable, v);
    }
    peaks[unit] = sum(unusable) == 0.0f ? max(peak) + 0.0f : __builtin_nanf("");
  }
}

// best[row] = the row's largest element, a float, and its first number, int32; NaN, and the first such element, when one is
// NaN or positive infinity. Bytes: the peaks of the row's blocks, and one block.
void row_best(Share share, uint8_t* best, const float* peaks, const float* logits, int32_t width, int32_t rows) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  for (int row = first_of(share, rows); row < end_of(share, rows); row++) {
    const float* own = peaks + static_cast<int64_t>(row) * blocks;
    int at = 0;
    for (int block = 1; block < blocks && own[at] == own[at]; block++) {
      at = own[block] <= own[at] ? at : block;
    }
    const float peak = own[at];
    const float* x = logits + static_cast<int64_t>(row) * width;
    int32_t number = at * BLOCK;
    while (peak == peak ? x[number] != peak : x[number] < __builtin_inff()) {
      number++;
    }
    __builtin_memcpy(best + 8 * static_cast<int64_t>(row), &peak, 4);
    __builtin_memcpy(best + 8 * static_cast<int64_t>(row) + 4, &number, 4);
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

// sums[i, block] = the sum of the block's weights, whole numbers, in the row of draw i; of draws that have a top_k, nothing.
// Bytes and operations as row_exponentials, and five more for each 16 elements.
void row_weights(Share share, int64_t* sums, const float* logits, int32_t width, const uint8_t* draws,
                 int32_t count) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t units = static_cast<int64_t>(count) * blocks;
  for (int unit = first_of(share, units); unit < end_of(share, units); unit++) {
    const Draw& draw = reinterpret_cast<const Draw*>(draws)[unit / blocks];
    if (!weighs_all(draw, width)) {
      continue;
    }
    const int block = unit % blocks;
    const float* x = logits + static_cast<int64_t>(draw.view.row) * width + block * BLOCK;
    const int n = elements_of(block, width);
    Total total;
    for (int c = 0; c < n; c += LANES) {
      // The weight of minus infinity is 0.
      count_in(total, weight(draw.view, load_or(x + c, n - c, -__builtin_inff())));
    }
    sums[unit] = sum_of(total);
  }
}

// tokens[i] = what draw i comes to; see LogitScan. scratch: for each part 3 * (width + 16) int32. Bytes: the blocks whose
// largest element may be drawn. Operations: some 15 for each element there, and a selection among those that count.
void row_draw(Share share, int32_t* tokens, const float* logits, const float* peaks, int32_t width, const int64_t* sums,
              const uint8_t* draws, int32_t count, int32_t* scratch) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t room = static_cast<int64_t>(width) + LANES;
  int32_t* own = scratch + share.part * 3 * room;
  for (int i = first_of(share, count); i < end_of(share, count); i++) {
    const Draw& draw = reinterpret_cast<const Draw*>(draws)[i];
    const float* row = logits + static_cast<int64_t>(draw.view.row) * width;
    const float* own_peaks = peaks + static_cast<int64_t>(draw.view.row) * blocks;
    Candidates candidates = {own, own + room, own + 2 * room, 0};
    if (!weighs_all(draw, width)) {
      tokens[i] = drawn_of_largest(candidates, draw, row, own_peaks, width);
      continue;
    }
    const int64_t* own_sums = sums + static_cast<int64_t>(i) * blocks;
    int64_t total = 0;
    for (int block = 0; block < blocks; block++) {
      total += own_sums[block];
    }
    tokens[i] = draw.top_p < 1.0f ? drawn_of_nucleus(candidates, draw, row, own_peaks, width, total)
                                  : drawn_of_all(candidates, draw, row, own_peaks, width, own_sums, total);
  }
}

// ids[i] = the numbers of the `top` largest elements that ranking i asks for, largest first, equal ones by rising number;
// reached[i] = how many elements are at least its floor. scratch as of row_draw. Bytes: the blocks that hold any of them.
void row_ranks(Share share, int32_t* ids, int32_t* reached, const float* logits, const float* peaks, int32_t width,
               const uint8_t* rankings, int32_t count, int32_t most, int32_t* scratch) noexcept {
  const int blocks = (width + BLOCK - 1) / BLOCK;
  const int64_t room = static_cast<int64_t>(width) + LANES;
  int32_t* own = scratch + share.part * 3 * room;
  for (int i = first_of(share, count); i < end_of(share, count); i++) {
    const Ranking& ranking = reinterpret_cast<const Ranking*>(rankings)[i];
    const float* row = logits + static_cast<int64_t>(ranking.row) * width;
    const float* own_peaks = peaks + static_cast<int64_t>(ranking.row) * blocks;
    Candidates candidates = {own, own + room, own + 2 * room, 0};
    const View all_of_it = {ranking.row, ranking.peak, 1.0f, -__builtin_inff()};
    if (ranking.top > 0) {
      list_largest(candidates, all_of_it, row, own_peaks, width, ranking.top);
      int32_t* sorted = ids + static_cast<int64_t>(i) * most;
      for (int c = 0; c < candidates.n; c++) {
        int at = c;
        // They come by rising number, so an equal one stays behind.
        for (; at > 0 && row[sorted[at - 1]] < row[candidates.ids[c]]; at--) {
          sorted[at] = sorted[at - 1];
        }
        sorted[at] = candidates.ids[c];
      }
    }
    const View above = {ranking.row, ranking.peak, 1.0f, ranking.floor};
    list(candidates, above, row, own_peaks, width, 0);
    reached[i] = candidates.n;
  }
}

}  // namespace BATON_TIER
}  // namespace baton

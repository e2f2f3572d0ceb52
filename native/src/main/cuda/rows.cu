// Rows of float32 by themselves: embedding, norms, the inputs of products, sums. All read and write each element once:
// their limit is memory.

#include "packed.h"

namespace baton {

// Packed output layers of the ranks in order, or one plain table. 96 bytes.
struct Shards {
  Global<const bf16> shard[8];
  int rows[8];
};
static_assert(sizeof(Shards) == 96, "as the host writes it");

namespace {

DEVICE float row_scale(Global<const float> x, int width, float epsilon, Shared<float> scratch) {
  float sum = 0.0f;
  for (int c = thread(); c < width; c += threads()) {
    float value = x[c];
    sum = fma_float(value, value, sum);
  }
  sum = block_sum(sum, scratch);
  return inverse_root(sum / static_cast<float>(width) + epsilon);
}

}  // namespace
}  // namespace baton

using namespace baton;

// out[i] = table[tokenIds[i]], float32 [rows][width].
KERNEL(128) embed_float(Global<float> out, int outPitch, Global<const float> table, Global<const int> tokenIds,
                        Global<const int> rows, int width) {
  int row = block_x();
  if (row >= *rows) {
    return;
  }
  Global<const float> from = table + static_cast<long long>(tokenIds[row]) * width;
  for (int c = thread(); c < width; c += threads()) {
    out[static_cast<long long>(row) * outPitch + c] = from[c];
  }
}
BATON_KERNEL(embed_float)

// out[i] = table[tokenIds[i]], widened.
KERNEL(128) embed_bf16(Global<float> out, int outPitch, Shards table, Global<const int> tokenIds,
                       Global<const int> rows, Packing packing) {
  int row = block_x();
  if (row >= *rows) {
    return;
  }
  int token = tokenIds[row];
  int shard = 0;
  while (shard < 7 && token >= table.rows[shard]) {
    token -= table.rows[shard++];
  }
  Global<const bf16> from = table.shard[shard] + static_cast<long long>(token) * packing.pitch();
  for (int c = thread(); c < packing.inputs; c += threads()) {
    out[static_cast<long long>(row) * outPitch + c] = widen(from[packing.place(c)]);
  }
}
BATON_KERNEL(embed_bf16)

// out = x / sqrt(mean(x^2) + epsilon) * weight over groups; out may be x.
KERNEL(256) rms_norm(Global<float> out, int outPitch, Global<const float> x, int xPitch, Global<const float> weight,
                     float epsilon, Global<const int> rows, int group) {
  int row = block_x();
  if (row >= *rows) {
    return;
  }
  int from = block_y() * group;
  Global<const float> own = x + (static_cast<long long>(row) * xPitch + from);
  float scale = row_scale(own, group, epsilon, shared_at<float>(0));
  for (int c = thread(); c < group; c += threads()) {
    out[static_cast<long long>(row) * outPitch + from + c] = own[c] * scale * weight[c];
  }
}
BATON_KERNEL(rms_norm)

// The inputs of a product: normed where there is a weight, rounded to bfloat16, packed, fillings zero.
KERNEL(256) prepare(Global<bf16> rounded, Global<const float> x, int xPitch, Global<const float> normWeight,
                    float epsilon, Global<const int> rows, Packing packing) {
  int row = block_x();
  if (row >= *rows) {
    return;
  }
  Global<const float> own = x + static_cast<long long>(row) * xPitch;
  bool normed = normWeight != nullptr;
  float scale = normed ? row_scale(own, packing.inputs, epsilon, shared_at<float>(0)) : 1.0f;
  Global<bf16> to = rounded + static_cast<long long>(row) * packing.pitch();
  for (int place = thread(); place < packing.pitch(); place += threads()) {
    int column = packing.column(place);
    float value = 0.0f;
    if (column >= 0) {
      value = normed ? own[column] * scale * normWeight[column] : own[column];
    }
    to[place] = round_float(value);
  }
}
BATON_KERNEL(prepare)

// x += y; a pitch of 0 adds the same row to each.
KERNEL(256) add(Global<float> x, int xPitch, Global<const float> y, int yPitch, Global<const int> rows, int width) {
  int row = block_y();
  int c = block_x() * threads() + thread();
  if (row < *rows && c < width) {
    x[static_cast<long long>(row) * xPitch + c] += y[static_cast<long long>(row) * yPitch + c];
  }
}
BATON_KERNEL(add)

// out = gate / (1 + exp(-gate)) * up; out may be gate.
KERNEL(256) silu_multiply(Global<float> out, int outPitch, Global<const float> gate, int gatePitch,
                          Global<const float> up, int upPitch, Global<const int> rows, int width) {
  long long row = block_y();
  int c = block_x() * threads() + thread();
  if (row < *rows && c < width) {
    out[row * outPitch + c] = gated(gate[row * gatePitch + c], up[row * upPitch + c]);
  }
}
BATON_KERNEL(silu_multiply)

// out[i] = x[index[i]]
KERNEL(256) gather_rows(Global<float> out, int outPitch, Global<const float> x, int xPitch, Global<const int> index,
                        Global<const int> rows, int width) {
  int c = block_x() * threads() + thread();
  for (long long row = block_y(); row < *rows && c < width; row += blocks_y()) {
    out[row * outPitch + c] = x[static_cast<long long>(index[row]) * xPitch + c];
  }
}
BATON_KERNEL(gather_rows)

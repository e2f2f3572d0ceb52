// cuBLASLt on a machine without a GPU, in the same library as the driver: the product of bfloat16 in float32 that Baton
// asks of it, column-major, a transposed. Sums are made in double precision, so that their bits are not those of our own
// kernels.
#include <cstdint>
#include <cstring>

#include "streams.h"

namespace {

using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kNotInitialized = 1;
constexpr Status kInvalidValue = 7;
constexpr Status kNotSupported = 15;
constexpr int kFloat32 = 0;
constexpr int kBfloat16 = 14;
constexpr int kTransposedA = 3;
constexpr size_t kResultBytes = 96;

struct Description {
  int transposed;
};

struct Layout {
  int type;
  uint64_t rows;
  uint64_t columns;
  int64_t pitch;
};

struct Preference {
  uint64_t workspace;
};

float widen(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Status cublasLtCreate(void** handle) {
  if (baton::driver::usable() != baton::driver::kSuccess) {
    return kNotInitialized;
  }
  *handle = new int(0);
  return kSuccess;
}

EXPORT Status cublasLtDestroy(void* handle) {
  delete static_cast<int*>(handle);
  return kSuccess;
}

EXPORT Status cublasLtMatmulDescCreate(Description** made, int, int) {
  *made = new Description{0};
  return kSuccess;
}

EXPORT Status cublasLtMatmulDescSetAttribute(Description* of, int which, const void* value, size_t bytes) {
  if (which != kTransposedA || bytes != sizeof(int)) {
    return kInvalidValue;
  }
  std::memcpy(&of->transposed, value, sizeof(int));
  return kSuccess;
}

EXPORT Status cublasLtMatrixLayoutCreate(Layout** made, int type, uint64_t rows, uint64_t columns, int64_t pitch) {
  if (pitch < static_cast<int64_t>(rows)) {
    return kInvalidValue;
  }
  *made = new Layout{type, rows, columns, pitch};
  return kSuccess;
}

EXPORT Status cublasLtMatrixLayoutDestroy(Layout* layout) {
  delete layout;
  return kSuccess;
}

EXPORT Status cublasLtMatmulPreferenceCreate(Preference** made) {
  *made = new Preference{0};
  return kSuccess;
}

EXPORT Status cublasLtMatmulPreferenceSetAttribute(Preference* of, int, const void* value, size_t bytes) {
  if (bytes != sizeof(uint64_t)) {
    return kInvalidValue;
  }
  std::memcpy(&of->workspace, value, sizeof(uint64_t));
  return kSuccess;
}

EXPORT Status cublasLtMatmulAlgoGetHeuristic(void*, const Description* what, const Layout* a, const Layout* b,
                                             const Layout* c, const Layout* d, const Preference*, int, void* results,
                                             int* count) {
  bool fits = what->transposed == 1 && a->type == kBfloat16 && b->type == kBfloat16 && d->type == kFloat32 &&
              a->rows == b->rows && d->rows == a->columns && d->columns == b->columns && c->rows == d->rows;
  *count = fits ? 1 : 0;
  std::memset(results, 0, kResultBytes);
  return fits ? kSuccess : kNotSupported;
}

namespace {

struct Product {
  float alpha;
  float beta;
  const uint16_t* a;
  const uint16_t* b;
  const float* c;
  float* d;
  Layout aLayout;
  Layout bLayout;
  Layout cLayout;
  Layout dLayout;

  void run() const {
    for (uint64_t column = 0; column < dLayout.columns; column++) {
      for (uint64_t row = 0; row < dLayout.rows; row++) {
        const uint16_t* left = a + static_cast<int64_t>(row) * aLayout.pitch;
        const uint16_t* right = b + static_cast<int64_t>(column) * bLayout.pitch;
        double sum = 0;
        for (uint64_t i = 0; i < aLayout.rows; i++) {
          sum += static_cast<double>(widen(left[i])) * widen(right[i]);
        }
        int64_t at = static_cast<int64_t>(column) * dLayout.pitch + static_cast<int64_t>(row);
        int64_t from = static_cast<int64_t>(column) * cLayout.pitch + static_cast<int64_t>(row);
        float before = beta == 0.0f ? 0.0f : beta * c[from];
        d[at] = alpha * static_cast<float>(sum) + before;
      }
    }
  }
};

}  // namespace

EXPORT Status cublasLtMatmul(void*, const Description*, const float* alpha, const uint16_t* a, const Layout* aLayout,
                             const uint16_t* b, const Layout* bLayout, const float* beta, const float* c,
                             const Layout* cLayout, float* d, const Layout* dLayout, const void* algorithm, void* workspace,
                             size_t workspaceBytes, baton::driver::Stream* stream) {
  if (algorithm == nullptr || (workspace == nullptr && workspaceBytes > 0)) {
    return kInvalidValue;
  }
  Product product = {*alpha, *beta, a, b, c, d, *aLayout, *bLayout, *cLayout, *dLayout};
  return baton::driver::enqueue(stream, [product] {
    product.run();
    return baton::driver::kSuccess;
  }) == baton::driver::kSuccess ? kSuccess : kInvalidValue;
}

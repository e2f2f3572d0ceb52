// Sixteen rows of a checkpoint turned into columns.
#pragma once

#include "checkpoint.h"
#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// to[i][j] = element i of row j, for `columns` (at most 16) elements of `rows` (at most 16) rows; zeros elsewhere.
template <class T>
static inline void read_transposed(float (*to)[LANES], const T* from, int64_t stride, int rows, int columns) {
  for (int i = 0; i < LANES; i++) {
    for (int j = 0; j < LANES; j++) {
      to[i][j] = i < columns && j < rows ? get(from + j * stride + i) : 0.0f;
    }
  }
}

}  // namespace BATON_TIER
}  // namespace baton

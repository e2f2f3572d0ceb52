// Writing the inputs of the next product where they arise.
#pragma once

#include "layouts.h"

namespace baton {

// Writes a column of a packed row, and behind the last column of a range all filling up to the next column, that of
// ranges without a column among it. What comes before the first column is that column's.
DEVICE void put_rounded(Global<bf16> rounded, const Packing& packing, int row, int column, float value) {
  Global<bf16> to = rounded + static_cast<long long>(row) * packing.pitch();
  if (packing.ranges * packing.width == packing.inputs) {
    to[column] = round_float(value);
    return;
  }
  int range = 0;
  while (column >= packing.border(range + 1)) {
    range++;
  }
  int at = range * packing.width + column - packing.border(range);
  to[at] = round_float(value);
  if (column + 1 == packing.border(range + 1)) {
    int next = column + 1 < packing.inputs ? packing.place(column + 1) : packing.pitch();
    for (int fill = at + 1; fill < next; fill++) {
      to[fill] = round_float(0.0f);
    }
  }
  if (column == 0) {
    for (int fill = 0; fill < at; fill++) {
      to[fill] = round_float(0.0f);
    }
  }
}

}  // namespace baton

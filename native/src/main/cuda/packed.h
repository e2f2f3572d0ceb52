// Writing the inputs of the next product where they arise.
#pragma once

#include "layouts.h"

namespace baton {

// Writes a column of a packed row, and behind the last column of a range its filling.
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
  int at = column - packing.border(range);
  to[range * packing.width + at] = round_float(value);
  if (column + 1 == packing.border(range + 1)) {
    for (int fill = at + 1; fill < packing.width; fill++) {
      to[range * packing.width + fill] = round_float(0.0f);
    }
  }
}

}  // namespace baton

// Which expert, and which of its slots, a block of a routed product has.
#pragma once

#include "products.h"

namespace baton {

// Slots [from, to) of an expert; none when expert < 0.
struct Part {
  int expert;
  int from;
  int to;
};

// Part `number` of all slots, every expert's being cut into parts of at most `most`. A whole warp calls.
DEVICE Part part_of(const Routes& routes, int number, int most) {
  for (int first = 0; first < routes.experts; first += 32) {
    int expert = first + lane();
    int begin = expert < routes.experts ? routes.begins[expert] : 0;
    int end = expert < routes.experts ? routes.begins[expert + 1] : 0;
    int parts = end > begin ? (end - begin - 1) / most + 1 : 0;
    int after = parts;  // parts of the experts up to this lane's
    UNROLL
    for (int by = 1; by < 32; by *= 2) {
      int other = lane_of(after, at_least(lane() - by, 0));
      after += lane() >= by ? other : 0;
    }
    unsigned here = vote(number >= after - parts && number < after);
    if (here != 0) {
      int owner = 31 - leading_zeros(here);
      int from = lane_of(begin, owner) + (number - lane_of(after - parts, owner)) * most;
      return {first + owner, from, at_most(from + most, lane_of(end, owner))};
    }
    number -= lane_of(after, 31);
  }
  return {-1, 0, 0};
}

// The expert's own product.
DEVICE Products products_of(const RoutedProducts& routed, int expert) {
  Products products = routed.products;
  products.of[0].weight = global_at<const bf16>(routed.weights[expert]);
  products.of[0].firstTile = 0;
  return products;
}

}  // namespace baton

package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.SlabRange;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Which positions of all {@code [layers] x [firstToken, mostTokens)} are spoken for, each once. Per
 * layer a map of disjoint token intervals, neighbours merged, so that a hand-off in order costs one
 * entry per layer.
 */
final class Coverage {
  private final int firstToken;
  private final int mostTokens;
  private final List<TreeMap<Integer, Integer>> intervals = new ArrayList<>();

  Coverage(int layers, int firstToken, int mostTokens) {
    this.firstToken = firstToken;
    this.mostTokens = mostTokens;
    for (int layer = 0; layer < layers; layer++) {
      intervals.add(new TreeMap<>());
    }
  }

  /** Takes the range, or changes nothing if it leaves the bounds or touches a position taken. */
  boolean add(SlabRange range) {
    if (range.layerTo() > intervals.size()
        || range.tokenFrom() < firstToken
        || range.tokenTo() > mostTokens) {
      return false;
    }
    for (int layer = range.layerFrom(); layer < range.layerTo(); layer++) {
      Map.Entry<Integer, Integer> before = intervals.get(layer).lowerEntry(range.tokenTo());
      if (before != null && before.getValue() > range.tokenFrom()) {
        return false;
      }
    }
    for (int layer = range.layerFrom(); layer < range.layerTo(); layer++) {
      merge(intervals.get(layer), range.tokenFrom(), range.tokenTo());
    }
    return true;
  }

  /** Whether exactly {@code [firstToken, tokens)} is spoken for, in every layer. */
  boolean isExactly(int tokens) {
    Map<Integer, Integer> whole = Map.of(firstToken, tokens);
    return intervals.stream().allMatch(whole::equals);
  }

  private static void merge(TreeMap<Integer, Integer> taken, int from, int to) {
    Map.Entry<Integer, Integer> left = taken.floorEntry(from);
    int start = left != null && left.getValue() == from ? left.getKey() : from;
    Integer right = taken.remove(to);
    taken.put(start, right == null ? to : right);
  }
}

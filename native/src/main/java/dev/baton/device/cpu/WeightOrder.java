package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * In which order a forward pass reads its weights: what came after a product in the last pass comes
 * after it again. So helpers of a team that have nothing to do while attention or a norm runs on
 * few rows can ask memory for what they will read next ({@code baton_team_foresee}), which memory
 * would otherwise spend waiting. A guess only: a wrong one costs some memory traffic. Belongs to
 * the rank's thread; allocates once for each product of the model.
 */
final class WeightOrder {

  /**
   * The weights that one product reads, one after the other.
   *
   * @param words int64: how many weights, then address and bytes of each
   */
  private static final class Read {
    final MemorySegment words;
    @Nullable Read next;

    Read(MemorySegment words) {
      this.words = words;
    }
  }

  private final Map<CpuLinearWeight, Read> reads = new IdentityHashMap<>();
  private final LongFunction<MemorySegment> allocate;
  private @Nullable Read last;

  WeightOrder(LongFunction<MemorySegment> allocate) {
    this.allocate = allocate;
  }

  /**
   * A product of the first {@code count} weights begins.
   *
   * @return address of what the one after it will read, in the form of {@link Read}; 0 = unknown
   */
  long begins(CpuLinearWeight[] weights, int count) {
    Read read = reads.get(weights[0]);
    if (read == null) {
      read = new Read(words(weights, count));
      reads.put(weights[0], read);
    }
    if (last != null) {
      last.next = read;
    }
    last = read;
    return read.next == null ? 0 : read.next.words.address();
  }

  /** What comes next depends on the step: nothing is known to follow the last product. */
  void isBroken() {
    last = null;
  }

  private MemorySegment words(CpuLinearWeight[] weights, int count) {
    MemorySegment words = allocate.apply((1 + 2L * count) * Long.BYTES);
    words.setAtIndex(JAVA_LONG, 0, count);
    for (int i = 0; i < count; i++) {
      words.setAtIndex(JAVA_LONG, 1 + 2L * i, weights[i].packed().address());
      words.setAtIndex(JAVA_LONG, 2 + 2L * i, weights[i].bytes());
    }
    return words;
  }
}

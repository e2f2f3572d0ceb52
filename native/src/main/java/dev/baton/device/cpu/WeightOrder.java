package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.util.Objects.requireNonNull;

import dev.baton.device.host.HostRouting;
import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;

/**
 * In which order a forward pass reads its weights: what came after a product in the last pass comes
 * after it again. So threads of a team that have nothing to do while attention or a norm runs on
 * few rows, or while another one ends its part, can ask memory for what they will read next ({@code
 * baton_team_foresee}), which memory would otherwise spend waiting. Which experts of a mixture that
 * is, is known as soon as a step's rows are routed. A guess only: a wrong one costs some memory
 * traffic. Belongs to the rank's thread; allocates once for each product of the model.
 */
final class WeightOrder {

  /** Rows whose products are bound by memory; more want the caches for themselves. */
  private static final int FEW_ROWS = 32;

  /** What one product reads. */
  private static final class Read {

    /**
     * The weights that it reads one after the other, int64: how many, then address and bytes of
     * each.
     */
    final MemorySegment words;

    /** Of which {@link #words} tell the chosen ones; null = one product of one weight or more. */
    final @Nullable Experts experts;

    @Nullable Read next;

    Read(MemorySegment words, @Nullable Experts experts) {
      this.words = words;
      this.experts = experts;
    }
  }

  /** Which weight of an expert a product multiplies by. */
  interface Weights {
    CpuLinearWeight of(Object expert);
  }

  private record Experts(List<?> all, Weights weights) {}

  private final Map<CpuLinearWeight, Read> reads = new IdentityHashMap<>();
  private final LongFunction<MemorySegment> allocate;
  private @Nullable Read last;

  WeightOrder(LongFunction<MemorySegment> allocate) {
    this.allocate = allocate;
  }

  /**
   * A product of the first {@code count} weights by {@code rows} begins.
   *
   * @return address of what the one after it will read, in the form of {@link Read#words}; 0 =
   *     unknown, or nothing to be asked for
   */
  long begins(CpuLinearWeight[] weights, int count, int rows) {
    Read read = reads.get(weights[0]);
    if (read == null) {
      read = new Read(words(count), null);
      read.words.setAtIndex(JAVA_LONG, 0, count);
      for (int i = 0; i < count; i++) {
        put(read, i, weights[i]);
      }
      reads.put(weights[0], read);
    }
    follows(read);
    return rows <= FEW_ROWS ? next(read, null) : 0;
  }

  /**
   * The inputs of a product of experts are about to be staged.
   *
   * @return as {@link #begins(CpuLinearWeight[], int, int)}, of what the product itself will read
   */
  long stages(List<?> experts, Weights weights, HostRouting routing) {
    CpuLinearWeight first = weights.of(experts.get(0));
    Read read = reads.get(first);
    if (read == null) {
      read = new Read(words(routing.experts()), new Experts(experts, weights));
      reads.put(first, read);
    }
    follows(read);
    return routing.rows() <= FEW_ROWS ? chosen(read, routing) : 0;
  }

  /** The product of the last {@link #stages} begins. */
  long begins(HostRouting routing) {
    Read read = last;
    return read != null && routing.rows() <= FEW_ROWS ? next(read, routing) : 0;
  }

  private void follows(Read read) {
    if (last != null) {
      last.next = read;
    }
    last = read;
  }

  /**
   * @param routing by which the experts of the next product are chosen; null = not known yet
   */
  private static long next(Read read, @Nullable HostRouting routing) {
    Read next = read.next;
    if (next == null) {
      return 0;
    }
    if (next.experts == null) {
      return next.words.address();
    }
    return routing == null ? 0 : chosen(next, routing);
  }

  private static long chosen(Read read, HostRouting routing) {
    Experts experts = requireNonNull(read.experts);
    int count = 0;
    for (int expert = 0; expert < routing.experts(); expert++) {
      if (routing.begin(expert + 1) > routing.begin(expert)) {
        put(read, count++, experts.weights().of(experts.all().get(expert)));
      }
    }
    read.words.setAtIndex(JAVA_LONG, 0, count);
    return read.words.address();
  }

  private static void put(Read read, int i, CpuLinearWeight weight) {
    read.words.setAtIndex(JAVA_LONG, 1 + 2L * i, weight.packed().address());
    read.words.setAtIndex(JAVA_LONG, 2 + 2L * i, weight.bytes());
  }

  private MemorySegment words(int most) {
    return allocate.apply((1 + 2L * most) * Long.BYTES);
  }
}

package dev.baton.device.host;

import dev.baton.device.RankAbortedException;
import dev.baton.device.Tensor;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * Where the rank threads of one worker meet. A collective is: {@link #publish} what this rank
 * brings, {@link #meet}, work on what all have published, {@link #meet} again; after the second
 * meeting everybody may publish anew.
 *
 * <h2>Waiting</h2>
 *
 * A rank that waits spins for some microseconds when every rank can have a core, then yields, then
 * parks. Ranks may outnumber cores, and cores may be shared with strangers: a barrier that only
 * spins then takes whole time slices from the very rank it waits for.
 *
 * <h2>Invariants</h2>
 *
 * {@code phase} counts meetings and is written by the last rank to arrive, after it has reset
 * {@code arrived}; nobody can arrive for the next meeting before. A waiter sets its {@code parked}
 * flag before it looks at {@code phase} for the last time, and the last rank changes {@code phase}
 * before it looks at the flags, so no wake-up is lost.
 */
public final class RankGroup {

  /** Bounds the processor time that a wait burns when its peer is just about to arrive. */
  private static final long SPIN_NANOS = 20_000;

  /**
   * Bounds the calls to the system's scheduler before a waiter goes to sleep: some 100 microseconds
   * of them on a core that nobody else wants. To wake a sleeper costs the last rank about 10
   * microseconds and reaches it after 30 to 40, at every meeting; a yield costs half a microsecond,
   * and gives the core to a rank that is waiting for it.
   */
  private static final int YIELDS = 200;

  private final int ranks;
  private final boolean spin;
  private final AtomicInteger arrived = new AtomicInteger();
  private final AtomicIntegerArray parked;
  private final AtomicReferenceArray<Thread> threads;
  private volatile int phase;
  private volatile @Nullable Throwable aborted;

  private final String[] calls;
  private final Tensor[] tensors;
  private final int[] rows;
  private final int[] widths;

  public RankGroup(int ranks) {
    if (ranks != 1 && ranks != 2 && ranks != 4 && ranks != 8) {
      throw new IllegalArgumentException("ranks: %d (expected: 1, 2, 4 or 8)".formatted(ranks));
    }
    this.ranks = ranks;
    spin = ranks <= Runtime.getRuntime().availableProcessors();
    parked = new AtomicIntegerArray(ranks);
    threads = new AtomicReferenceArray<>(ranks);
    calls = new String[ranks];
    tensors = new Tensor[ranks];
    rows = new int[ranks];
    widths = new int[ranks];
  }

  public int ranks() {
    return ranks;
  }

  /** What {@code rank} brings to the collective {@code call}; read by all after {@link #meet}. */
  public void publish(int rank, String call, Tensor tensor, int rowCount, int width) {
    calls[rank] = call;
    tensors[rank] = tensor;
    rows[rank] = rowCount;
    widths[rank] = width;
  }

  /** The tensors of all ranks; valid between the two meetings of a collective. */
  public Tensor[] tensors() {
    return tensors;
  }

  /** Checks, between the two meetings, that all ranks called the same; all ranks throw alike. */
  public void requireAlike(boolean sameWidth) {
    for (int r = 1; r < ranks; r++) {
      if (!calls[r].equals(calls[0])
          || rows[r] != rows[0]
          || (sameWidth && widths[r] != widths[0])) {
        throw new IllegalStateException(
            "collective of rank %d: %s of [%d, %d] (expected: as rank 0, %s of [%d, %d])"
                .formatted(r, calls[r], rows[r], widths[r], calls[0], rows[0], widths[0]));
      }
    }
  }

  /** Returns when all ranks have called it; what they wrote before is then visible. */
  public void meet(int rank) {
    int current = phase;
    throwIfAborted();
    if (arrived.incrementAndGet() == ranks) {
      arrived.set(0);
      phase = current + 1;
      wakeAll();
      return;
    }
    await(rank, current);
    if (phase == current) {
      throwIfAborted();
    }
  }

  /** Ends the group: every rank's present or next meeting throws. The first cause counts. */
  public void abort(Throwable cause) {
    synchronized (this) {
      if (aborted == null) {
        aborted = cause;
      }
    }
    wakeAll();
  }

  private void throwIfAborted() {
    Throwable cause = aborted;
    if (cause != null) {
      throw new RankAbortedException(cause);
    }
  }

  private boolean over(int current) {
    return phase != current || aborted != null;
  }

  private void await(int rank, int current) {
    if (spin) {
      long start = System.nanoTime();
      do {
        for (int i = 0; i < 16; i++) {
          if (over(current)) {
            return;
          }
          Thread.onSpinWait();
        }
      } while (System.nanoTime() - start < SPIN_NANOS);
    }
    for (int i = 0; i < YIELDS; i++) {
      if (over(current)) {
        return;
      }
      Thread.yield();
    }
    boolean interrupted = false;
    threads.set(rank, Thread.currentThread());
    while (true) {
      parked.set(rank, 1);
      if (over(current)) {
        break;
      }
      LockSupport.park(this);
      // An interrupt is no way out of a collective; it is kept for whoever asks afterwards.
      interrupted |= Thread.interrupted();
    }
    parked.set(rank, 0);
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  private void wakeAll() {
    for (int r = 0; r < ranks; r++) {
      if (parked.compareAndSet(r, 1, 0)) {
        LockSupport.unpark(threads.get(r));
      }
    }
  }
}

package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.SlabLedger;
import dev.baton.kvtransfer.SlabMemory;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * A bounded number of slabs of one size in one memory, made when first needed and used again last
 * in, first out, while they are warm; and their account: who has each, since when. Owned by the
 * service; transport thread only, but for what says otherwise.
 */
final class SlabPool implements AutoCloseable {
  private final int slabBytes;
  private final int capacity;
  private final LongSupplier clock;
  private final SlabMemory memory;
  private final Deque<Slab> idle = new ArrayDeque<>();
  private final AtomicInteger inUse = new AtomicInteger();

  /** All that have been made; read by any thread. */
  private final List<Slab> made = new CopyOnWriteArrayList<>();

  /**
   * @param memory closed with the pool
   * @param clock nanoseconds, rising
   */
  SlabPool(int slabBytes, int capacity, SlabMemory memory, LongSupplier clock) {
    this.memory = memory;
    this.slabBytes = slabBytes;
    this.capacity = capacity;
    this.clock = clock;
  }

  int free() {
    return capacity - inUse.get();
  }

  /** Slabs that are not free. Any thread. */
  int out() {
    return inUse.get();
  }

  /** Of one slab. */
  long slabBytes() {
    return slabBytes;
  }

  /** Of all slabs, those not yet made included. */
  long bytes() {
    return (long) capacity * slabBytes;
  }

  /**
   * The account. Any thread.
   *
   * @param quarantined slabs of those in use that will not come back
   */
  SlabLedger ledger(int quarantined) {
    int used = inUse.get();
    int lost = Math.min(quarantined, used);
    return new SlabLedger(used - lost, lost, capacity - used, capacity, slabBytes);
  }

  /** One of the {@link #free} slabs, for this user; its content is whatever was in it. */
  Slab take(SlabQueue.User user) {
    if (free() == 0) {
      throw new IllegalStateException("free slabs: 0 of %d (expected: > 0)".formatted(capacity));
    }
    Slab slab = idle.isEmpty() ? make() : idle.pop();
    slab.give(user, clock.getAsLong());
    inUse.incrementAndGet();
    return slab;
  }

  private Slab make() {
    Slab slab = new Slab(memory.take(slabBytes), memory);
    made.add(slab);
    return slab;
  }

  void release(SlabQueue.User user, Slab slab) {
    if (slab.holder() != user) {
      throw new IllegalStateException(
          "release: by %s of a slab of %s (expected: one of its own)"
              .formatted(user.describe(), describe(slab.holder())));
    }
    slab.takeBack();
    inUse.decrementAndGet();
    idle.push(slab);
  }

  private static String describe(SlabQueue.@Nullable User holder) {
    return holder == null ? "nobody" : holder.describe();
  }

  /** Who has slabs. Any thread; while slabs come and go, as they were at about the same time. */
  List<SlabHolding> holdings(SlabHolding.Side side) {
    Map<SlabQueue.User, SlabHolding> lines = new IdentityHashMap<>();
    for (Slab slab : made) {
      SlabQueue.User user = slab.holder();
      if (user != null) {
        SlabHolding line = lines.get(user);
        int slabs = line == null ? 0 : line.slabs();
        long since = line == null ? Long.MAX_VALUE : line.sinceNanos();
        lines.put(
            user,
            new SlabHolding(
                user.route().session(),
                user.route().epoch(),
                user.reason(),
                side,
                slabs + 1,
                Math.min(since, slab.sinceNanos())));
      }
    }
    return new ArrayList<>(lines.values());
  }

  /**
   * Recounts every slab against its holder; throws IllegalStateException on the first difference.
   */
  void checkIntegrity() {
    Map<SlabQueue.User, Integer> recount = new IdentityHashMap<>();
    for (Slab slab : made) {
      SlabQueue.User user = slab.holder();
      if (user != null) {
        recount.merge(user, 1, Integer::sum);
      }
    }
    int out = 0;
    for (Map.Entry<SlabQueue.User, Integer> entry : recount.entrySet()) {
      SlabQueue.User user = entry.getKey();
      if (user.slabsHeld() != entry.getValue()) {
        throw new IllegalStateException(
            "slabs: %d given to %s, oldest %.3f s ago (expected: %d, as many as it holds)"
                .formatted(
                    entry.getValue(), user.describe(), oldestSeconds(user), user.slabsHeld()));
      }
      out += entry.getValue();
    }
    Set<Slab> stacked = Collections.newSetFromMap(new IdentityHashMap<>());
    for (Slab slab : idle) {
      if (slab.holder() != null || !stacked.add(slab)) {
        throw new IllegalStateException(
            "slabs: a free one of %s (expected: each once, of nobody)"
                .formatted(describe(slab.holder())));
      }
    }
    if (out != inUse.get() || out + stacked.size() != made.size()) {
      throw new IllegalStateException(
          "slabs: %d in use, %d free of %d made (expected: %d in use, recounted)"
              .formatted(inUse.get(), stacked.size(), made.size(), out));
    }
  }

  private double oldestSeconds(SlabQueue.User user) {
    long oldest =
        made.stream()
            .filter(slab -> slab.holder() == user)
            .mapToLong(Slab::sinceNanos)
            .min()
            .orElse(clock.getAsLong());
    return (clock.getAsLong() - oldest) / 1e9;
  }

  /** Frees the memory; nobody may use a slab any more. */
  @Override
  public void close() {
    memory.close();
  }
}

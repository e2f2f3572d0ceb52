package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Route;
import java.util.ArrayDeque;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.function.BooleanSupplier;

/**
 * Gives a pool's slabs to the hand-offs that want one, in turns. All hand-offs with one peer
 * together may hold at most twice as many slabs as are free, but always one (the dynamic threshold
 * of Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
 * 1998): a peer alone has two thirds of the pool, and one that has stalled cannot take the slabs of
 * all others, however many hand-offs it has. Transport thread only.
 */
final class SlabQueue {

  /** A hand-off that uses slabs. */
  interface User {

    boolean wantsSlab();

    int slabsHeld();

    /** Who decides when its slabs come back; compared by identity. */
    Object peer();

    Route route();

    /** Why the hand-off is. */
    HandoffReason reason();

    /** The hand-off in words, for logs. */
    default String describe() {
      return "%s, %s".formatted(route(), reason());
    }

    /** Takes the slab and with it the duty to release it. */
    void useSlab(Slab slab);
  }

  private static final int SHARE = 2;

  /** Whether slabs are recounted whenever one comes back, as in tests. */
  private static final boolean CHECKS = Boolean.getBoolean("baton.ledger.check");

  private final SlabPool pool;
  private final BooleanSupplier open;
  private final ArrayDeque<User> waiting = new ArrayDeque<>();
  private final Map<Object, Integer> heldByPeer = new IdentityHashMap<>();

  /**
   * @param open false holds everybody back for now
   */
  SlabQueue(SlabPool pool, BooleanSupplier open) {
    this.pool = pool;
    this.open = open;
  }

  /** Lets the user, and whoever waits, have slabs as far as there are any. */
  void ask(User user) {
    if (!waiting.contains(user)) {
      waiting.add(user);
    }
    serve();
  }

  void release(User user, Slab slab) {
    pool.release(user, slab);
    heldByPeer.compute(user.peer(), (_, held) -> held == null || held == 1 ? null : held - 1);
    if (CHECKS) {
      pool.checkIntegrity();
    }
    serve();
  }

  void serve() {
    int refused = 0;
    while (refused < waiting.size() && pool.free() > 0 && open.getAsBoolean()) {
      User user = waiting.removeFirst();
      if (!user.wantsSlab()) {
        continue;
      }
      waiting.addLast(user);
      if (heldByPeer.getOrDefault(user.peer(), 0) < Math.max(1, SHARE * pool.free())) {
        heldByPeer.merge(user.peer(), 1, Integer::sum);
        user.useSlab(pool.take(user));
        refused = 0;
      } else {
        refused++;
      }
    }
  }
}

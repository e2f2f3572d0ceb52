package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executor;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What all open exports share: the sending pool, the packing thread, the counters. Transport thread
 * only, but for {@link #open}.
 */
final class ExportDesk {
  private static final Logger log = LoggerFactory.getLogger(ExportDesk.class);

  /** Packings under way: one that runs and one that waits, so that turns stay turns. */
  private static final int PACKINGS = 2;

  private final Map<Bits128, ExportSession> sessions = new ConcurrentHashMap<>();
  private final Executor packer;
  private final Executor loop;
  private final LongSupplier clock;
  private final HandoffCounters counters;
  private final SlabPool pool;
  private final Leftovers leftovers;
  private final SlabQueue queue;
  private int packings;
  private @Nullable Runnable whenNoneIsOpen;

  /**
   * @param packer one thread, in order; may be the transport's
   * @param loop the transport's thread, in order
   */
  ExportDesk(
      SlabPool pool,
      Leftovers leftovers,
      Executor packer,
      Executor loop,
      LongSupplier clock,
      HandoffCounters counters) {
    this.pool = pool;
    this.leftovers = leftovers;
    this.packer = packer;
    this.loop = loop;
    this.clock = clock;
    this.counters = counters;
    this.queue = new SlabQueue(pool, () -> packings < PACKINGS);
  }

  /** Exports that have not ended. Any thread. */
  int open() {
    return sessions.size();
  }

  SlabPool pool() {
    return pool;
  }

  Leftovers leftovers() {
    return leftovers;
  }

  void add(ExportSession session) {
    sessions.put(session.machine().route().transfer(), session);
  }

  @Nullable ExportSession get(Bits128 transfer) {
    return sessions.get(transfer);
  }

  List<ExportSession> all() {
    return new ArrayList<>(sessions.values());
  }

  void wantsSlabs(ExportSession session) {
    if (session.wantsSlab()) {
      queue.ask(session);
    }
  }

  /** Runs a packing on the packing thread and its result on the transport's. */
  void pack(Supplier<Runnable> packing) {
    packings++;
    packer.execute(
        () -> {
          Runnable result = packing.get();
          loop.execute(
              () -> {
                packings--;
                result.run();
                queue.serve();
              });
        });
  }

  void release(ExportSession session, Slab slab) {
    queue.release(session, slab);
  }

  /** Calls a listener, after everything packed so far. */
  void tell(Runnable call) {
    packer.execute(new GuardedCall(call));
  }

  /** Runs the task as soon as no export is open: now, or when the last one has ended. */
  void whenNoneIsOpen(Runnable task) {
    whenNoneIsOpen = task;
    checkNoneIsOpen();
  }

  private void checkNoneIsOpen() {
    Runnable task = whenNoneIsOpen;
    if (task != null && sessions.isEmpty()) {
      whenNoneIsOpen = null;
      task.run();
    }
  }

  void completed(ExportSession session, HandoffStats stats) {
    remove(session);
    counters.exported(stats);
    log.info(
        "exported {} to {}: {}",
        session.machine().route(),
        session.connection().peer(),
        HandoffLine.of(stats));
  }

  private void remove(ExportSession session) {
    sessions.remove(session.machine().route().transfer());
    leftovers.add(session, session.connection(), nanos());
    checkNoneIsOpen();
  }

  void failed(ExportSession session, HandoffException cause) {
    remove(session);
    counters.aborted.increment();
    log.atLevel(HandoffLine.level(cause.kind()))
        .log(
            "export ended to {}: {}: {}",
            session.connection().peer(),
            cause.kind(),
            cause.getMessage());
  }

  long nanos() {
    return clock.getAsLong();
  }
}

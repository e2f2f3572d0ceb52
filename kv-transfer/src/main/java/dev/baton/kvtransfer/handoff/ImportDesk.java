package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.transport.Connection;
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
 * What all open imports share: the landing pool, who unpacks, the counters. Transport thread only,
 * but for {@link #add}, {@link #get} and {@link #open}.
 */
final class ImportDesk {
  private static final Logger log = LoggerFactory.getLogger(ImportDesk.class);

  /**
   * Bytes under way that keep a wire of 80 Gbit/s busy over 200 us. More cost: what is packed,
   * carried, checked and unpacked while it lies in the second-level cache moves three times as fast
   * as what comes from memory at each of these (docs/measurements.md).
   */
  private static final long WINDOW = 2 << 20;

  /** Slabs under way at least: packing, carrying, unpacking, and one that waits. */
  private static final int WINDOW_SLABS = 4;

  private final Map<Bits128, ImportSession> sessions = new ConcurrentHashMap<>();
  private final Executor unpacker;
  private final Executor loop;
  private final LongSupplier clock;
  private final HandoffCounters counters;
  private final SlabPool pool;
  private final Leftovers leftovers;
  private final SlabQueue queue;
  private final long window;

  /**
   * @param unpacker one thread, in order; may be the transport's
   * @param loop the transport's thread, in order
   */
  ImportDesk(
      SlabPool pool,
      Leftovers leftovers,
      Executor unpacker,
      Executor loop,
      LongSupplier clock,
      HandoffCounters counters) {
    this.pool = pool;
    this.leftovers = leftovers;
    this.unpacker = unpacker;
    this.loop = loop;
    this.clock = clock;
    this.counters = counters;
    this.queue = new SlabQueue(pool, () -> true);
    this.window = Math.max(WINDOW, WINDOW_SLABS * pool.slabBytes());
  }

  /** Imports that have not ended. Any thread. */
  int open() {
    return sessions.size();
  }

  SlabPool pool() {
    return pool;
  }

  Leftovers leftovers() {
    return leftovers;
  }

  HandoffCounters counters() {
    return counters;
  }

  /** Any thread: a ticket may be used as soon as it is out. */
  void add(ImportSession session) {
    sessions.put(session.machine().route().transfer(), session);
  }

  @Nullable ImportSession get(Bits128 transfer) {
    return sessions.get(transfer);
  }

  List<ImportSession> all() {
    return new ArrayList<>(sessions.values());
  }

  void wantsSlabs(ImportSession session) {
    queue.ask(session);
  }

  /** Runs an unpacking where unpacking is done and its result on the transport's thread. */
  void unpack(Supplier<Runnable> unpacking) {
    unpacker.execute(() -> loop.execute(unpacking.get()));
  }

  /**
   * Bytes of slabs that a hand-off may have under way to here: a window that hides the way there
   * and back, and no more, at most its share of half the landing pool among those that receive.
   * Payloads wait at their exporters until a slab is free here, so a grant takes no memory; it
   * keeps exporters from packing for an importer that falls behind, and what is under way in the
   * caches of both.
   */
  long credit() {
    int receiving = 0;
    for (ImportSession open : sessions.values()) {
      if (open.machine().state() == ImportMachine.State.RECEIVING) {
        receiving++;
      }
    }
    return Math.min(window, pool.bytes() / 2 / Math.max(1, receiving));
  }

  void release(ImportSession session, Slab slab) {
    queue.release(session, slab);
  }

  /** Calls a listener, after everything unpacked so far. */
  void tell(Runnable call) {
    unpacker.execute(new GuardedCall(call));
  }

  void completed(ImportSession session, HandoffStats stats) {
    sessions.remove(session.machine().route().transfer());
    leftovers.add(session, session.connection(), nanos());
    counters.imported(stats);
    log.info(
        "imported {} from {}: {}", session.machine().route(), peer(session), HandoffLine.of(stats));
  }

  void failed(ImportSession session, HandoffException cause) {
    sessions.remove(session.machine().route().transfer());
    leftovers.add(session, session.connection(), nanos());
    counters.aborted.increment();
    log.atLevel(HandoffLine.level(cause.kind()))
        .log("import ended from {}: {}: {}", peer(session), cause.kind(), cause.getMessage());
  }

  long nanos() {
    return clock.getAsLong();
  }

  private static String peer(ImportSession session) {
    Connection connection = session.connection();
    return connection == null ? "nobody yet" : connection.peer();
  }
}

package dev.baton.engine;

import dev.baton.device.SlabRegion;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * The {@link KvView} of one session: a copy of its block table, and what may be read and written of
 * it. The step thread moves the limits; any thread reads and writes within them. Refuses to read
 * what is not computed or behind the window, to write into blocks that others share, and everything
 * once it is closed.
 */
final class SessionKv implements KvView {

  private final SessionId session;
  private final ModelRunner runner;
  private final int readableFrom;
  private final int writableFrom;
  private final int writableTo;
  private final int window;
  private final AtomicInteger arrivedFrom = new AtomicInteger(Integer.MAX_VALUE);
  private volatile int[] blocks;
  private volatile int computed;
  private volatile boolean writable;
  private volatile boolean open = true;
  private boolean preempted; // written before it is closed

  /**
   * @param blocks of the session; this view's own from now on
   * @param window positions that a token sees back; 0 = all
   * @param readableFrom where the window begins that is needed of the whole context
   * @param computed leading tokens whose KV is there
   * @param writableTo tokens that a hand-off may bring; 0 when none does
   */
  SessionKv(
      SessionId session,
      ModelRunner runner,
      int[] blocks,
      int window,
      int readableFrom,
      int computed,
      int writableTo) {
    this.session = session;
    this.runner = runner;
    this.blocks = blocks;
    this.window = window;
    this.readableFrom = readableFrom;
    this.computed = computed;
    this.writableFrom = computed;
    this.writableTo = writableTo;
    this.writable = writableTo > 0;
  }

  @Override
  public int tokens() {
    return blocks.length * runner.blockTokens();
  }

  @Override
  public int computed() {
    return computed;
  }

  @Override
  public int firstToken() {
    return readableFrom;
  }

  @Override
  public int window() {
    return window;
  }

  /** The first token that a hand-off has brought, or {@code none} if it has brought nothing. */
  int arrivedFrom(int none) {
    int from = arrivedFrom.get();
    return from == Integer.MAX_VALUE ? none : from;
  }

  @Override
  public void pack(SlabRegion region, MemorySegment slab) {
    requireOpen();
    // What a hand-off has brought so far only its receiver knows.
    int limit = writable ? writableTo : computed;
    if (region.tokenFrom() < readableFrom || region.tokenTo() > limit) {
      throw new IllegalArgumentException(
          "pack: tokens [%d, %d) of session %s (expected: within the %d computed, from %d on)"
              .formatted(region.tokenFrom(), region.tokenTo(), session, limit, readableFrom));
    }
    runner.packKv(blocks, region, slab);
    // Closed meanwhile, the blocks may have had another owner: what was read must not be used. The
    // closing comes before that owner's first write, so a reader of the latter sees the former.
    VarHandle.acquireFence();
    requireOpen();
  }

  @Override
  public void unpack(SlabRegion region, MemorySegment slab) {
    requireOpen();
    if (!writable) {
      throw new IllegalStateException(
          "unpack: session %s (expected: reserved and not started)".formatted(session));
    }
    if (region.tokenFrom() < writableFrom || region.tokenTo() > writableTo) {
      throw new IllegalArgumentException(
          "unpack: tokens [%d, %d) of session %s (expected: within [%d, %d))"
              .formatted(region.tokenFrom(), region.tokenTo(), session, writableFrom, writableTo));
    }
    runner.unpackKv(blocks, region, slab);
    arrivedFrom.accumulateAndGet(region.tokenFrom(), Math::min);
  }

  /** Blocks before these stay as they are as long as they are in the window of the context. */
  void setBlocks(int[] table) {
    blocks = table;
  }

  void setComputed(int tokens) {
    computed = tokens;
  }

  void close() {
    open = false;
    writable = false;
  }

  /** As {@link #close}, for the blocks' owner has lost them. */
  void preempt() {
    preempted = true;
    close();
  }

  private void requireOpen() {
    if (!open) {
      if (preempted) {
        throw new KvPreemptedException(session);
      }
      throw new IllegalStateException(
          "kv: session %s (expected: not released yet)".formatted(session));
    }
  }
}

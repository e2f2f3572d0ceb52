package dev.baton.engine;

import dev.baton.engine.cache.BlockLedger.State;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.schedule.Scheduler;
import java.util.concurrent.locks.StampedLock;

/**
 * The engine's counters as of its latest step. The step thread writes them after every step and
 * makes no object for it; any thread reads them, all of one instant.
 */
final class StatusBoard {

  private final Scheduler scheduler;
  private final BlockPool pool;
  private final SwapSpace swap;
  private final StampedLock lock = new StampedLock();
  private final int[] blocks = new int[State.values().length];
  private int swapped;
  private int waiting;
  private int running;
  private long queued;
  private long steps;
  private long promptTokens;
  private long generatedTokens;
  private long cachedTokens;
  private long preemptions;
  private long swaps;

  StatusBoard(Scheduler scheduler, BlockPool pool, SwapSpace swap) {
    this.scheduler = scheduler;
    this.pool = pool;
    this.swap = swap;
  }

  /** Step thread. */
  void write(long stepsRun, long promptTokensComputed, long tokensGenerated) {
    long stamp = lock.writeLock();
    try {
      pool.count(blocks);
      swapped = swap.used();
      waiting = scheduler.waitingSessions();
      running = scheduler.runningSessions();
      queued = scheduler.queuedTokens();
      steps = stepsRun;
      promptTokens = promptTokensComputed;
      generatedTokens = tokensGenerated;
      cachedTokens = scheduler.cachedTokens();
      preemptions = scheduler.preemptions();
      swaps = scheduler.swaps();
    } finally {
      lock.unlockWrite(stamp);
    }
  }

  /** Any thread. */
  EngineStatus read() {
    long stamp = lock.readLock();
    try {
      LedgerSnapshot ledger =
          new LedgerSnapshot(
              blocks[State.OWNED.ordinal()],
              blocks[State.RESERVED.ordinal()],
              blocks[State.CACHED.ordinal()],
              blocks[State.QUARANTINED.ordinal()],
              blocks[State.FREE.ordinal()],
              pool.capacity(),
              swapped);
      return new EngineStatus(
          waiting,
          running,
          queued,
          ledger,
          steps,
          promptTokens,
          generatedTokens,
          cachedTokens,
          preemptions,
          swaps);
    } finally {
      lock.unlockRead(stamp);
    }
  }
}

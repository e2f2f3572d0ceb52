package dev.baton.engine.model;

import dev.baton.device.KvCache;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes the memory of KV blocks ready before their first use. Pages that nobody has touched take
 * the system's time, some 5 ms for 2 MiB on a virtual machine, and the token that waits for a
 * hand-off into them, or a prompt's pass, would take it too. A thread {@code baton-kv-ahead} does
 * it while processors are idle, and lives only while there is something to do. Devices whose memory
 * is there from the start have none.
 */
final class KvAhead implements AutoCloseable {

  private static final Logger LOG = LoggerFactory.getLogger(KvAhead.class);

  /** Blocks at a time, so that those of the lowest numbers are ready in all layers first. */
  private static final int STRIDE = 16;

  private final List<KvCache> caches;
  private final int most;
  private int expected;
  private int ready;
  private volatile boolean closed;
  private @Nullable Thread thread;

  /**
   * @param caches by rank; of equal numbers of blocks
   */
  KvAhead(List<KvCache> caches) {
    this.caches = caches;
    this.most = caches.getFirst().comesWithUse() ? caches.getFirst().shape().blocks() : 0;
  }

  /** Blocks of lower numbers than this are to be ready. Any thread; never blocks. */
  synchronized void expect(int blocks) {
    expected = Math.max(expected, Math.min(blocks, most));
    if (expected > ready && thread == null && !closed) {
      thread = Thread.ofPlatform().name("baton-kv-ahead").daemon().start(this::run);
    }
  }

  private void run() {
    try {
      for (int from = next(); from < most; from = next()) {
        int to = Math.min(from + STRIDE, most);
        for (KvCache cache : caches) {
          cache.touch(from, to, () -> closed);
        }
      }
    } catch (RuntimeException | Error e) {
      LOG.warn("memory of KV blocks is not made ready any more: their first users wait for it", e);
      giveUp();
    }
  }

  private synchronized void giveUp() {
    closed = true;
    thread = null;
    notifyAll();
  }

  /** The first block of the next stride; {@link #most} and the thread's end if there is none. */
  private synchronized int next() {
    int from = ready;
    if (closed || from >= expected) {
      thread = null;
      notifyAll();
      return most;
    }
    ready = Math.min(from + STRIDE, most);
    return from;
  }

  /** Returns when nobody touches the caches any more. */
  @Override
  public synchronized void close() {
    closed = true;
    boolean interrupted = false;
    while (thread != null) {
      try {
        wait();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

package dev.baton.kvtransfer.testing;

import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.Manifest;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Either listener: records the calls, in order, and seals the store at the last, so that a later
 * use of it shows.
 */
public final class Outcome implements ExportListener, ImportListener {
  private final KvStore store;
  private final List<String> calls = new CopyOnWriteArrayList<>();
  private final CompletableFuture<HandoffStats> end = new CompletableFuture<>();

  public Outcome(KvStore store) {
    this.store = store;
  }

  public List<String> calls() {
    return calls;
  }

  public boolean ended() {
    return end.isDone();
  }

  public boolean succeeded() {
    return end.isDone() && !end.isCompletedExceptionally();
  }

  /** The stats; a failure, or no end within the time, is an error. */
  public HandoffStats success(long seconds) throws Exception {
    return end.get(seconds, TimeUnit.SECONDS);
  }

  /** The failure; a success, or no end within the time, is an error. */
  public HandoffException failure(long millis) throws InterruptedException, TimeoutException {
    try {
      HandoffStats stats = end.get(millis, TimeUnit.MILLISECONDS);
      throw new AssertionError("succeeded: " + stats);
    } catch (ExecutionException e) {
      return (HandoffException) e.getCause();
    }
  }

  @Override
  public void onPacked() {
    calls.add("packed");
  }

  @Override
  public void onAcknowledged(HandoffStats stats) {
    calls.add("acknowledged");
    store.seal();
    end.complete(stats);
  }

  @Override
  public void onCompleted(Manifest manifest, HandoffStats stats) {
    calls.add("completed");
    store.seal();
    end.complete(stats);
  }

  @Override
  public void onFailed(HandoffException cause) {
    calls.add("failed");
    store.seal();
    end.completeExceptionally(cause);
  }

  @Override
  public String toString() {
    return end.isCompletedExceptionally() ? "failed: " + end.exceptionNow() : calls.toString();
  }
}

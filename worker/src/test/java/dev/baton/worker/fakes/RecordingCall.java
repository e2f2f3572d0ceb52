package dev.baton.worker.fakes;

import io.grpc.stub.ServerCallStreamObserver;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;

/** The server's side of a call, without a network. */
public final class RecordingCall<E> extends ServerCallStreamObserver<E> {

  private final List<E> events = new CopyOnWriteArrayList<>();
  private final CompletableFuture<List<E>> done = new CompletableFuture<>();
  private volatile Runnable onCancel = () -> {};
  private volatile boolean cancelled;

  /** Events so far. */
  public List<E> events() {
    return events;
  }

  /** All events, once the call has ended. */
  public List<E> await() throws Exception {
    return done.get(Eventually.AMPLE.toSeconds(), TimeUnit.SECONDS);
  }

  /** The client goes away. */
  public void cancel() {
    cancelled = true;
    onCancel.run();
  }

  @Override
  public void onNext(E event) {
    events.add(event);
  }

  @Override
  public void onError(Throwable cause) {
    done.completeExceptionally(cause);
  }

  @Override
  public void onCompleted() {
    done.complete(List.copyOf(events));
  }

  @Override
  public boolean isCancelled() {
    return cancelled;
  }

  @Override
  public void setOnCancelHandler(Runnable handler) {
    onCancel = handler;
  }

  @Override
  public boolean isReady() {
    return true;
  }

  @Override
  public void setOnReadyHandler(Runnable handler) {}

  @Override
  public void disableAutoInboundFlowControl() {}

  @Override
  public void request(int count) {}

  @Override
  public void setMessageCompression(boolean enable) {}

  @Override
  public void setCompression(String compression) {}
}

package dev.baton.worker.fakes;

import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The client's side of a streaming call: what came, and the way to cancel it. */
public final class Events<Q, E> implements ClientResponseObserver<Q, E> {

  private final BlockingQueue<E> queue = new LinkedBlockingQueue<>();
  private final List<E> all = new CopyOnWriteArrayList<>();
  private final CompletableFuture<List<E>> done = new CompletableFuture<>();
  private volatile ClientCallStreamObserver<Q> call;

  /** The next event; waits for it. */
  public E next() throws InterruptedException {
    E event = queue.poll(Eventually.AMPLE.toSeconds(), TimeUnit.SECONDS);
    if (event == null) {
      throw new AssertionError("no event comes; so far: " + all);
    }
    return event;
  }

  /** All events, once the call has ended well. */
  public List<E> await() throws Exception {
    return done.get(Eventually.AMPLE.toSeconds(), TimeUnit.SECONDS);
  }

  /** Events so far, those not read yet included. */
  public int received() {
    return all.size();
  }

  public boolean ended() {
    return done.isDone();
  }

  public void cancel() {
    call.cancel("test", null);
  }

  @Override
  public void beforeStart(ClientCallStreamObserver<Q> stream) {
    call = stream;
  }

  @Override
  public void onNext(E event) {
    all.add(event);
    queue.add(event);
  }

  @Override
  public void onError(Throwable cause) {
    done.completeExceptionally(cause);
  }

  @Override
  public void onCompleted() {
    done.complete(List.copyOf(all));
  }
}

package dev.baton.worker.session;

import dev.baton.worker.step.Outbox;
import io.grpc.stub.ServerCallStreamObserver;

/**
 * The events of one call in order. Step thread; the outbox's thread does the writing, so the
 * observer is never used by two threads. After the end nothing is sent.
 */
final class EventStream<E> {

  private final ServerCallStreamObserver<E> observer;
  private final Outbox outbox;
  private boolean ended;

  EventStream(ServerCallStreamObserver<E> observer, Outbox outbox) {
    this.observer = observer;
    this.outbox = outbox;
  }

  boolean ended() {
    return ended;
  }

  void send(E event) {
    if (!ended) {
      outbox.add(() -> observer.onNext(event));
    }
  }

  void end() {
    if (!ended) {
      ended = true;
      outbox.add(observer::onCompleted);
    }
  }

  /** The other side has gone; nothing is sent any more. */
  void drop() {
    ended = true;
  }
}

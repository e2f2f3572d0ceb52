package dev.baton.router.session;

import io.grpc.stub.StreamObserver;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** The answer of a worker to a question with one answer; null when there is none. */
final class WorkerReply<E> implements StreamObserver<E> {

  private final Consumer<@Nullable E> onReply;
  private boolean replied;

  WorkerReply(Consumer<@Nullable E> onReply) {
    this.onReply = onReply;
  }

  @Override
  public void onNext(E reply) {
    replied = true;
    onReply.accept(reply);
  }

  @Override
  public void onError(Throwable cause) {
    if (!replied) {
      replied = true;
      onReply.accept(null);
    }
  }

  @Override
  public void onCompleted() {
    if (!replied) {
      replied = true;
      onReply.accept(null);
    }
  }
}

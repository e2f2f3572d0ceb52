package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.transport.Completion;
import java.io.IOException;
import org.jspecify.annotations.Nullable;
import org.openucx.jucx.UcxCallback;
import org.openucx.jucx.ucp.UcpRequest;

/**
 * Ends a request of UCX. UCX may call it within the posting call or from progress, and an exception
 * must not pass through its C code: so it only queues the completion.
 */
final class UcxDone extends UcxCallback {
  private final UcxLoop loop;
  private final Completion completion;
  private boolean ended;

  UcxDone(UcxLoop loop, Completion completion) {
    this.loop = loop;
    this.completion = completion;
    loop.requestPosted();
  }

  @Override
  public void onSuccess(UcpRequest request) {
    end(null);
  }

  @Override
  public void onError(int status, String message) {
    end(new IOException("UCX status %d: %s".formatted(status, message)));
  }

  /**
   * The post itself threw. UCX may have called before: jucx reports a request that fails at once to
   * the callback, then stumbles over the request that is not there.
   */
  void notPosted(RuntimeException cause) {
    end(new IOException("UCX refused the request", cause));
  }

  private void end(@Nullable Exception failure) {
    if (ended) {
      return;
    }
    ended = true;
    loop.requestEnded();
    loop.later(() -> completion.done(failure));
  }
}

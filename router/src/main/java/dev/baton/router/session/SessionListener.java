package dev.baton.router.session;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.SampledToken;

/**
 * Hears what becomes of a session: tokens in order of their index, each once, then exactly one of
 * {@link #onFinished} and {@link #onFailure}. Called from one thread at a time, which must not be
 * blocked. A session that was cancelled or stopped by its client tells nothing more.
 */
public interface SessionListener {

  void onToken(SampledToken token);

  void onFinished(FinishReason reason);

  void onFailure(Failure failure);
}

package dev.baton.router.generation;

import dev.baton.proto.errors.v1.Failure;

/**
 * Hears a continuation: pieces, then exactly one of {@link #onFinished} and {@link #onFailure};
 * nothing more once it was cancelled. Called from one thread at a time, which must not be blocked.
 */
public interface GenerationListener {

  void onPiece(Piece piece);

  /**
   * @param last what was still held back
   */
  void onFinished(Piece last, Ending ending);

  void onFailure(Failure failure);
}

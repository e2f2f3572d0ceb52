package dev.baton.worker.session;

/**
 * A role's part of one session: what a worker does for it from admission to the last freed block.
 * Step thread only. An attempt speaks through its {@link Session} and calls {@link Session#leave}
 * exactly when it holds nothing any more.
 */
public interface Attempt {

  /** Makes an attempt for a session. */
  interface Factory<E> {
    /**
     * Reads and checks the rest of the request; no effect outside. Runs on a thread of the call.
     * Throws {@link dev.baton.worker.wire.RefusedException} to refuse it.
     */
    Attempt create(Session<E> session);
  }

  /** Starts the work. A throw refuses the session; nothing is held then. */
  void begin();

  /**
   * Gives everything up and leaves, at once or as soon as nobody else touches what is held. The
   * stream takes no more events. May come twice.
   */
  void abandon(String reason);
}

package dev.baton.decodeservice;

/** An attempt whose session can go on at another decode worker. Step thread only. */
interface Movable {

  /**
   * Stops the session at its last token. Throws {@link dev.baton.engine.EngineException} or {@link
   * dev.baton.worker.wire.RefusedException} when it does not decode now; nothing has changed then.
   */
  void suspend();

  /** Throws {@link dev.baton.worker.wire.RefusedException} when the session is not suspended. */
  Suspension suspension();
}

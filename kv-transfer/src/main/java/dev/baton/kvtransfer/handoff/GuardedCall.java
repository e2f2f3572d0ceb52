package dev.baton.kvtransfer.handoff;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A call of a listener that must not end the thread it runs on. */
record GuardedCall(Runnable call) implements Runnable {
  private static final Logger log = LoggerFactory.getLogger(GuardedCall.class);

  @Override
  public void run() {
    try {
      call.run();
    } catch (RuntimeException | Error e) {
      log.error("a listener threw", e);
    }
  }
}

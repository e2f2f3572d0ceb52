package dev.baton.cli.lifecycle;

import java.util.concurrent.atomic.AtomicInteger;
import sun.misc.Signal;

/**
 * Turns SIGTERM, SIGINT and SIGHUP into two requests: the first asks for an orderly end, every
 * later one for an end at once. (A shutdown hook would see the first one only.)
 */
public final class StopSignals {

  private StopSignals() {}

  /**
   * Installs the handlers for the life of the process. Both actions run on threads of the signals'
   * own, possibly at the same time.
   *
   * @param orderly runs at the first signal
   * @param atOnce runs at each later one
   * @param terminal whether SIGINT counts; a child leaves Ctrl-C to its parent, which the terminal
   *     signals as well
   */
  public static void install(Runnable orderly, Runnable atOnce, boolean terminal) {
    AtomicInteger seen = new AtomicInteger();
    for (String name : new String[] {"TERM", "INT", "HUP"}) {
      boolean counts = terminal || name.equals("TERM");
      Signal.handle(
          new Signal(name),
          signal -> {
            if (counts) {
              (seen.getAndIncrement() == 0 ? orderly : atOnce).run();
            }
          });
    }
  }
}

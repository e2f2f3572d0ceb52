package dev.baton.cli.supervisor;

import java.time.Duration;

/**
 * The pause before a dead process is started again: doubles from {@link #FIRST} to {@link
 * #LONGEST}, and starts over after the process has lived for {@link #STEADY}.
 */
final class Backoff {

  /** Short, so that a system with one worker per role is whole again as soon as it can be. */
  static final Duration FIRST = Duration.ofMillis(100);

  /** Bounds the work of a process that can never start, such as one whose model was deleted. */
  static final Duration LONGEST = Duration.ofSeconds(15);

  static final Duration STEADY = Duration.ofSeconds(30);

  private Duration next = FIRST;

  /** The pause after a life of {@code lived}. */
  Duration after(Duration lived) {
    if (lived.compareTo(STEADY) >= 0) {
      next = FIRST;
    }
    Duration pause = next;
    next = pause.multipliedBy(2).compareTo(LONGEST) < 0 ? pause.multipliedBy(2) : LONGEST;
    return pause;
  }
}

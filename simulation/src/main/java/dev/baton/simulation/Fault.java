package dev.baton.simulation;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;

/**
 * Something that goes wrong for a while.
 *
 * @param from nanoseconds
 * @param nanos how long
 * @param worker index of the worker that it befalls
 * @param other index of another worker, for what befalls two
 */
public record Fault(Kind kind, long from, long nanos, int worker, int other) {

  /** What goes wrong. */
  public enum Kind {
    /** SIGKILL; the worker is started anew at the end. */
    KILL,
    /** SIGTERM with half of the time as grace; the worker is started anew. */
    TERMINATE,
    /** SIGSTOP, then SIGCONT. */
    FREEZE,
    /** The router's SIGSTOP, then SIGCONT. */
    FREEZE_ROUTER,
    /** Nothing passes between the worker and the router. */
    PART_FROM_ROUTER,
    /** What the router sends does not reach the worker; the other way it works. */
    DEAF_TO_ROUTER,
    /** The router's SIGKILL; it is started anew at the end, and knows nothing. */
    KILL_ROUTER,
    /** What the worker sends does not reach the other one; the other way it works. */
    DEAF_TO_WORKER,
    /** Nothing that other workers send reaches the worker; the other way it works. */
    DEAF_TO_WORKERS,
    /** Nothing passes between the two workers. */
    PART_FROM_WORKER,
    /** The worker's connections with the router are reset. */
    CUT,
    /** As CUT, but the worker does not hear of it before its keep-alive fails. */
    HALF_CUT,
    /** The wires between the two workers break. */
    CUT_WIRES,
    /** No fault, but as unsettling: the worker changes its role, and back. */
    CHANGE_ROLE,
    /** The worker runs no step, and is fine otherwise. */
    WEDGE,
    /** The worker's steps take ten times as long. */
    SLOW
  }

  private static final Set<Kind> DRAWN_APART =
      EnumSet.of(Kind.KILL_ROUTER, Kind.DEAF_TO_WORKER, Kind.DEAF_TO_WORKERS);

  private static final List<Kind> KINDS =
      Arrays.stream(Kind.values()).filter(kind -> !DRAWN_APART.contains(kind)).toList();

  /** Any fault within the first seconds. */
  static Fault draw(SplittableRandom random, int workers) {
    return draw(KINDS.get(random.nextInt(KINDS.size())), random, workers);
  }

  /** A fault of this kind within the first seconds. */
  static Fault draw(Kind kind, SplittableRandom random, int workers) {
    long from = 500_000_000L + random.nextLong(1_500_000_000L);
    long nanos =
        random.nextInt(4) == 0 ? random.nextLong(14_000_000_000L) : random.nextLong(2_500_000_000L);
    int worker = random.nextInt(workers);
    int other = (worker + 1 + random.nextInt(Math.max(1, workers - 1))) % workers;
    return new Fault(kind, from, nanos, worker, other);
  }

  /** When it is over. */
  public long to() {
    return from + nanos;
  }
}

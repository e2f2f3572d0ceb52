package dev.baton.simulation.clock;

import dev.baton.worker.step.StepLoop;
import org.jspecify.annotations.Nullable;

/**
 * The step thread of a simulated worker: runs the turns of its loop, one at a time, each as long as
 * its step {@link Process#spend spends}. It may be wedged, as by a device that never answers: then
 * the process lives on without it.
 */
public final class StepTurns {

  private final Process process;
  private @Nullable StepLoop loop;
  private VirtualTime.@Nullable Event next;
  private long nextAt;
  private long free;
  private boolean inTurn;
  private boolean posted;
  private boolean wedged;

  public StepTurns(Process process) {
    this.process = process;
  }

  public void start(StepLoop turns) {
    loop = turns;
    wake();
  }

  /** As {@code StepThread.wake}. */
  public void wake() {
    posted = true;
    if (!inTurn) {
      set(process.instant() + process.delay());
    }
  }

  /** No turn runs until {@link #unwedge}. */
  public void wedge() {
    wedged = true;
  }

  public void unwedge() {
    wedged = false;
    wake();
  }

  public boolean wedged() {
    return wedged;
  }

  /** A step is under way. */
  public boolean computing() {
    return !wedged && (inTurn || process.instant() < free);
  }

  private void set(long at) {
    long due = Math.max(at, free);
    if (next != null) {
      if (nextAt <= due) {
        return;
      }
      next.cancel();
    }
    nextAt = due;
    next = process.at(due, this::turn);
  }

  private void turn() {
    next = null;
    if (wedged || loop == null) {
      return;
    }
    posted = false;
    inTurn = true;
    long rest;
    try {
      rest = loop.turn();
    } finally {
      inTurn = false;
      free = process.instant();
    }
    if (rest == 0 || posted) {
      set(free);
    } else if (rest != StepLoop.UNTIL_POSTED) {
      set(free + rest);
    }
  }
}

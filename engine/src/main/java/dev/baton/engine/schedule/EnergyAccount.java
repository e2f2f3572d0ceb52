package dev.baton.engine.schedule;

import java.util.function.DoubleSupplier;
import java.util.function.LongSupplier;

/**
 * What each session's share of the steps has drawn, in joules. Every step's time goes to its
 * sessions by their share of its cost; a session has drawn its time times the power of the device
 * while it ran, which is what the device's counter rose by between two measurements. Time since the
 * last measurement counts with that one's power until the next one is there. What is drawn while no
 * step runs is nobody's.
 *
 * <p><b>Cost.</b> Prefills and decodes of one step share its time as {@link Pace} has learned what
 * they take. Prefills share theirs by tokens. Decodes share theirs by bytes that are read: the
 * weights are read for all of them together, its KV for each alone.
 *
 * <p>{@link #measure} is for one thread at a time, any; all else for the step thread.
 */
public final class EnergyAccount {

  /**
   * One session's part.
   *
   * <p>{@code joules} are those of measured times, {@code nanos} the time since measurement {@code
   * measured}.
   */
  static final class Share {
    private double joules;
    private double nanos;
    private long measured;
  }

  /**
   * The device's counter.
   *
   * @param number counts the measurements
   * @param watts since the one before; negative = there was none
   */
  private record Measurement(long number, double joules, long nanos, double watts) {}

  private final DoubleSupplier joules;
  private final LongSupplier nanoTime;
  private final long weightBytes;
  private final long tokenBytes;
  private volatile Measurement last = new Measurement(0, -1, 0, -1);

  /**
   * @param joules of the device's counter, which only rises; negative = not known
   * @param weightBytes read by a step that decodes; 0 = not known, and KV does not count either
   * @param tokenBytes of KV that are read for each position of a context
   */
  public EnergyAccount(
      DoubleSupplier joules, LongSupplier nanoTime, long weightBytes, long tokenBytes) {
    this.joules = joules;
    this.nanoTime = nanoTime;
    this.weightBytes = weightBytes;
    this.tokenBytes = tokenBytes;
  }

  /**
   * Reads the counter; to be called some times a second, or never.
   *
   * @return what it says; negative = there is none, and no need to call again
   */
  public double measure() {
    double now = joules.getAsDouble();
    if (now < 0) {
      return now;
    }
    Measurement before = last;
    long nanos = nanoTime.getAsLong();
    if (before.joules < 0 || now < before.joules) {
      last = new Measurement(before.number + 1, now, nanos, before.watts);
    } else if (nanos > before.nanos) {
      double watts = (now - before.joules) * 1e9 / (nanos - before.nanos);
      last = new Measurement(before.number + 1, now, nanos, watts);
    }
    return now;
  }

  /** A step was run; its sessions are as they were before it. */
  public void ran(StepPlan plan, Pace pace, long nanos) {
    Measurement now = last;
    if (now.watts < 0) {
      return;
    }
    double ofPrefills = pace.prefillPart(plan.decodes(), plan.prefillTokens()) * nanos;
    double ofDecodes = nanos - ofPrefills;
    double allDecodes = 0;
    for (int i = 0; i < plan.size(); i++) {
      allDecodes += plan.session(i).isPrefilling() ? 0 : decodeCost(plan, i);
    }
    for (int i = 0; i < plan.size(); i++) {
      Session session = plan.session(i);
      double part =
          session.isPrefilling()
              ? ofPrefills * plan.tokens(i) / plan.prefillTokens()
              : ofDecodes * decodeCost(plan, i) / allDecodes;
      add(session.energy(), part, now);
    }
  }

  private double decodeCost(StepPlan plan, int index) {
    double weights = (double) weightBytes / plan.decodes();
    return weightBytes == 0 ? 1 : weights + (double) tokenBytes * plan.session(index).computed();
  }

  private static void add(Share share, double nanos, Measurement now) {
    if (share.measured != now.number) {
      share.joules += share.nanos * now.watts / 1e9;
      share.nanos = 0;
      share.measured = now.number;
    }
    share.nanos += nanos;
  }

  /** What the session has drawn here so far; negative = not known. */
  public double of(Session session) {
    double watts = last.watts;
    Share share = session.energy();
    return watts < 0 ? -1 : share.joules + share.nanos * watts / 1e9;
  }
}

package dev.baton.router.registry;

import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import io.grpc.ManagedChannel;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * A worker as the router sees it: what it registered, its latest status, its load, and the channel
 * to it. Thread-safe.
 *
 * <p>The worker owns its channel. A worker that left in order lets its calls end; one that was lost
 * has them cut at once, which its sessions see as UNAVAILABLE. So has one that is fenced or out of
 * reach, which gets a new channel for the time after.
 */
public final class Worker {

  /** A session's place on a worker. Closing it twice does nothing more. */
  public interface Charge extends AutoCloseable {
    @Override
    void close();
  }

  private final Registration registration;
  private final ServedModel model;
  private final Runnable onReleased;
  private final WorkerLoad load = new WorkerLoad();
  private final ProgressWatch progress;
  private final ReachWatch reach = new ReachWatch();
  private final HandoffWatch handoffs = new HandoffWatch();
  private volatile ManagedChannel channel;
  private volatile long calledBackNanos;
  private long heardNanos;
  private boolean silent;
  private long timesCharged;

  Worker(
      Registration registration,
      ServedModel model,
      ManagedChannel channel,
      long nowNanos,
      Runnable onReleased) {
    this.registration = registration;
    this.model = model;
    this.channel = channel;
    this.heardNanos = nowNanos;
    this.calledBackNanos = nowNanos;
    this.progress = new ProgressWatch(nowNanos);
    this.onReleased = onReleased;
  }

  public String id() {
    return registration.getWorkerId();
  }

  public Registration registration() {
    return registration;
  }

  public ServedModel model() {
    return model;
  }

  public ManagedChannel channel() {
    return channel;
  }

  /** What it is to be given now; it may have changed since the registration. */
  public synchronized Role role() {
    WorkerStatus status = load.status();
    return status == null
            || status.getRole() == Role.ROLE_UNSPECIFIED
            || status.getRole() == Role.UNRECOGNIZED
        ? registration.getRole()
        : status.getRole();
  }

  public boolean decodes() {
    return role() == Role.DECODE || role() == Role.BOTH;
  }

  /** Can take a session's KV over, and hand it off, as far as is known. */
  public synchronized boolean handsOff() {
    return (registration.getHandOff() || registration.getRole() != Role.BOTH) && !handoffs.paused();
  }

  /** As {@link HandoffWatch#failed}. */
  synchronized long handOffFailed(long begunNanos, long nowNanos) {
    return handoffs.failed(begunNanos, nowNanos);
  }

  /** A hand-off from or to it has come about. */
  synchronized void handOffArrived() {
    handoffs.arrived();
  }

  /** As {@link HandoffWatch#resume}. */
  synchronized boolean resumeHandOffs(long nowNanos) {
    return handoffs.resume(nowNanos);
  }

  /** The latest status; empty until the first has come. */
  public synchronized Optional<WorkerStatus> status() {
    return Optional.ofNullable(load.status());
  }

  /** May be given new sessions: heard of lately, in reach, making progress and not draining. */
  public synchronized boolean open() {
    return !silent && !progress.fenced() && !reach.outOfReach() && !draining();
  }

  /** Not heard of lately, not lost yet, and nothing else held against it. */
  synchronized boolean expected() {
    return silent && !progress.fenced() && !reach.outOfReach() && !draining();
  }

  /** Has said that it drains. */
  synchronized boolean draining() {
    WorkerStatus status = load.status();
    return status != null && status.getDraining();
  }

  /** Takes as many sessions at a time as it registered for. */
  public synchronized boolean full() {
    int limit = registration.getMaxSessions();
    return limit > 0 && load.openSessions() >= limit;
  }

  /** Prompt tokens before a session that would be sent now. */
  public synchronized long queuedPromptTokens() {
    return load.queuedPromptTokens();
  }

  /** Sessions beside a session that would be sent now. */
  public synchronized long sessions() {
    return load.sessions();
  }

  /** Blocks that a new session could have, free or evictable; all of them until a status tells. */
  public synchronized long availableBlocks() {
    return load.availableBlocks(registration.getBlockCapacity());
  }

  /** Sessions that were ever sent here. */
  public synchronized long timesCharged() {
    return timesCharged;
  }

  /** Counts a session that is about to be sent here. */
  public Charge charge(int promptTokens) {
    int chargedIn;
    synchronized (this) {
      chargedIn = load.charge(promptTokens);
      timesCharged++;
    }
    AtomicBoolean closed = new AtomicBoolean();
    return () -> {
      if (closed.compareAndSet(false, true)) {
        synchronized (this) {
          load.release(chargedIn, promptTokens);
        }
        onReleased.run();
      }
    };
  }

  /**
   * Takes the next status.
   *
   * @return whether it ends a fence
   */
  synchronized boolean report(WorkerStatus status, long nowNanos) {
    load.report(status);
    heardNanos = nowNanos;
    silent = false;
    boolean busy =
        load.openSessions() > 0
            || status.getRunningSessions() > 0
            || status.getWaitingSessions() > 0;
    return progress.report(status, busy, nowNanos);
  }

  /** It is the same process as this one, which has registered before. */
  void inherit(Worker before) {
    synchronized (before) {
      synchronized (this) {
        progress.inherit(before.progress);
        reach.inherit(before.reach);
        handoffs.inherit(before.handoffs);
      }
    }
  }

  /** How long its sessions have waited for any progress when that is too long; 0 = well. */
  synchronized long stuckNanos(long nowNanos) {
    return load.openSessions() > 0 && progress.stuck(nowNanos) ? progress.standsNanos(nowNanos) : 0;
  }

  /** Gives it nothing new until it makes progress, and cuts all calls to it. */
  void fence(ManagedChannel next) {
    synchronized (this) {
      progress.fence();
    }
    change(next);
  }

  /** Gives it nothing new until it answers over the next channel, and cuts all calls to it. */
  void cut(ManagedChannel next) {
    synchronized (this) {
      reach.cut();
    }
    change(next);
  }

  private void change(ManagedChannel next) {
    ManagedChannel cut;
    synchronized (this) {
      cut = channel;
      channel = next;
    }
    cut.shutdownNow();
  }

  /** Whether the worker is to be asked for an answer now: the number of the question; 0 = no. */
  synchronized int question(long nowNanos) {
    return reach.reported(load.openSessions() > 0, nowNanos);
  }

  /** A call to the worker has brought something. */
  public void calledBack(long nowNanos) {
    calledBackNanos = nowNanos;
  }

  /** As {@link ReachWatch#over}. */
  synchronized boolean answered(int question, boolean answered) {
    return reach.over(question, answered);
  }

  /** How long the connection to it has stalled; 0 = it works, as far as is known. */
  synchronized long stalledNanos(long nowNanos) {
    return reach.stalledNanos(nowNanos, calledBackNanos);
  }

  /** When the worker was last heard of, as {@link System#nanoTime}. */
  synchronized long heardNanos() {
    return heardNanos;
  }

  /** This router was not listening for so long; that silence is not the worker's. */
  synchronized void excuse(long nanos, long nowNanos) {
    heardNanos = Math.min(nowNanos, heardNanos + nanos);
    progress.excuse(nanos, nowNanos);
    reach.excuse(nanos, nowNanos);
  }

  /** Notes the silence up to now and returns how long it lasts. */
  synchronized long silence(long nowNanos, long suspectNanos) {
    long nanos = nowNanos - heardNanos;
    silent = nanos > suspectNanos;
    return nanos;
  }

  @Override
  public String toString() {
    return id() + " at " + registration.getGrpcAddress();
  }
}

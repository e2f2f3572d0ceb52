package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.router.v1.SessionView;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.registry.WorkerDirectory;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Future;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/** Starts sessions and knows all that run. Thread-safe. */
public final class Sessions {

  /**
   * Bounds of what is taken on.
   *
   * @param active sessions at a time, waiting ones included
   * @param queued sessions that wait for a decode worker
   * @param queueTimeoutMillis how long one may wait
   */
  public record Bounds(int active, int queued, long queueTimeoutMillis) {}

  private static final long RETRY_AFTER_MILLIS = 1000;

  private final WorkerDirectory directory;
  private final Placer placer;
  private final AdmissionQueue queue;
  private final Bounds bounds;
  private final ScheduledExecutorService timer;
  private final LongSupplier nanoTime;
  private final RetryBudget budget;
  private final SessionObserver observer;
  private final Moves moves = new Moves();
  private final Map<String, PrefixPlanner> prefixes = new ConcurrentHashMap<>();
  private final Set<Session> active = ConcurrentHashMap.newKeySet();
  private final AtomicLong sequence = new AtomicLong();
  private final ReentrantLock ending = new ReentrantLock();
  private final Condition ended = ending.newCondition();
  private volatile boolean draining;

  /**
   * @param splitAbove prompts of more tokens than this go through a prefill worker
   * @param timer runs deadlines; its tasks do not block
   * @param nanoTime a clock that only rises, nanoseconds
   */
  public Sessions(
      WorkerDirectory directory,
      int splitAbove,
      Bounds bounds,
      ScheduledExecutorService timer,
      LongSupplier nanoTime,
      SessionObserver observer) {
    this.directory = directory;
    this.placer = new Placer(splitAbove);
    this.queue = new AdmissionQueue(bounds.queued());
    this.bounds = bounds;
    this.timer = timer;
    this.nanoTime = nanoTime;
    this.budget = new RetryBudget(nanoTime);
    this.observer = observer;
    directory.onCapacity(queue::signal);
    directory.onDraining(worker -> oldestFirst().forEach(session -> session.leave(worker)));
  }

  /**
   * Makes a session, to be started by {@link Session#start}; the listener hears of all that
   * follows, also of failures to place it.
   *
   * @throws FailureException when no more sessions are taken now
   */
  public Session open(SessionOrder order, SessionListener listener) {
    if (draining) {
      throw new FailureException(Failures.of(ErrorCode.DRAINING, "the router is shutting down"));
    }
    if (active.size() >= bounds.active()) {
      throw new FailureException(
          Failures.retryable(
              ErrorCode.OVERLOADED,
              "sessions: " + bounds.active() + " run or wait already (expected: fewer)",
              RETRY_AFTER_MILLIS));
    }
    Session session = new Session(this, order, listener, sequence.getAndIncrement());
    active.add(session);
    budget.deposit();
    observer.started(order.model().name());
    return session;
  }

  /** Sessions that run or wait. */
  public int active() {
    return active.size();
  }

  /** Sessions that wait for a decode worker. */
  public int waiting() {
    return queue.size();
  }

  /** What people may see of the sessions, the oldest first. */
  public List<SessionView> views(int most) {
    return oldestFirst().stream().limit(most).map(Session::view).toList();
  }

  private List<Session> oldestFirst() {
    return active.stream().sorted(Comparator.comparingLong(Session::sequence)).toList();
  }

  /** Takes no new session from now on. */
  public void drain() {
    draining = true;
  }

  /** Takes no new session any more. */
  public boolean draining() {
    return draining;
  }

  /**
   * Waits until no session runs.
   *
   * @return false when some still do after that time
   */
  public boolean awaitEnd(long millis) {
    long until = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
    ending.lock();
    try {
      while (!active.isEmpty()) {
        long left = until - System.nanoTime();
        if (left <= 0) {
          return false;
        }
        ended.awaitNanos(left);
      }
      return true;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return active.isEmpty();
    } finally {
      ending.unlock();
    }
  }

  /** Fails all sessions that still run. */
  public void endAll() {
    for (Session session : oldestFirst()) {
      session.end(ErrorCode.DRAINING, "the router has shut down");
    }
  }

  WorkerDirectory directory() {
    return directory;
  }

  Placer placer() {
    return placer;
  }

  /** Of a model. */
  PrefixPlanner prefixes(String model) {
    return prefixes.computeIfAbsent(model, _ -> new PrefixPlanner());
  }

  AdmissionQueue queue() {
    return queue;
  }

  Moves moves() {
    return moves;
  }

  SessionObserver observer() {
    return observer;
  }

  RetryBudget budget() {
    return budget;
  }

  long nanos() {
    return nanoTime.getAsLong();
  }

  long queueTimeoutMillis() {
    return bounds.queueTimeoutMillis();
  }

  long retryAfterMillis() {
    return RETRY_AFTER_MILLIS;
  }

  /** Runs the task later; null when the router is already down. */
  @Nullable Future<?> after(long millis, Runnable task) {
    try {
      return timer.schedule(task, millis, TimeUnit.MILLISECONDS);
    } catch (RejectedExecutionException e) {
      // Shutting down: everything is about to be cancelled anyway.
      return null;
    }
  }

  void ended(Session session, SessionObserver.Outcome outcome) {
    if (active.remove(session)) {
      observer.ended(session.order().model().name(), outcome);
      if (draining && active.isEmpty()) {
        ending.lock();
        try {
          ended.signalAll();
        } finally {
          ending.unlock();
        }
      }
    }
  }
}

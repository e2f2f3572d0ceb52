package dev.baton.worker.session;

import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SessionId;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.ledger.LeakWatch;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.SessionSpecs;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The sessions of this process, of all roles.
 *
 * <p><b>Epochs.</b> A session's key is (id, epoch). Of one id only the newest epoch runs: an older
 * one is refused, a newer one stops the attempt that is here, even if it is refused itself. The
 * newest epochs of sessions that have left are remembered for a while, so that a late request of a
 * dead attempt finds no room.
 *
 * <p><b>Bound.</b> {@code limit} sessions, those not yet admitted and those still freeing included;
 * more are refused as overload. This also bounds the step loop's queue.
 *
 * <p>The table itself is confined to the step thread; methods say when they are for any thread.
 */
public final class Sessions {

  private static final Logger log = LoggerFactory.getLogger(Sessions.class);

  /** Ended sessions whose newest epoch is remembered. */
  private static final int REMEMBERED = 8192;

  private final ModelInfo model;
  private final StepLoop loop;
  private final Outbox outbox;
  private final Alarms alarms;
  private final int limit;

  private final AtomicInteger open = new AtomicInteger();
  private final List<IntConsumer> watchers = new CopyOnWriteArrayList<>();
  private final CompletableFuture<Void> drained = new CompletableFuture<>();
  private volatile boolean draining;

  private final Set<Session<?>> here = new LinkedHashSet<>();
  private final Map<String, Session<?>> newest = new HashMap<>();
  private final Map<String, Integer> epochs =
      new LinkedHashMap<>() {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Integer> eldest) {
          return size() > REMEMBERED;
        }
      };
  private @Nullable Failure refusal;

  public Sessions(ModelInfo model, StepLoop loop, Outbox outbox, Alarms alarms, int limit) {
    this.model = model;
    this.loop = loop;
    this.outbox = outbox;
    this.alarms = alarms;
    this.limit = limit;
  }

  /**
   * Takes a call in: reads the session, has the role's attempt made, and admits it on the step
   * thread. Whatever is wrong goes into the stream as a failure event. For the thread of the call,
   * before its handler returns.
   *
   * @param failureEvent the role's event for a failure
   */
  public <E> void open(
      SessionSpec spec,
      StreamObserver<E> observer,
      Function<Failure, E> failureEvent,
      Attempt.Factory<E> factory) {
    ServerCallStreamObserver<E> call = (ServerCallStreamObserver<E>) observer;
    if (open.incrementAndGet() > limit) {
      refuse(
          spec, call, failureEvent, Failures.overloaded("sessions: more than %d".formatted(limit)));
      return;
    }
    Session<E> session;
    Attempt attempt;
    try {
      Generation generation = SessionSpecs.generation(spec, model);
      session = new Session<>(this, generation, new EventStream<>(call, outbox), failureEvent);
      attempt = factory.create(session);
    } catch (RefusedException e) {
      refuse(spec, call, failureEvent, e.failure());
      return;
    }
    call.setOnCancelHandler(() -> loop.post(session::cancelled));
    Alarms.@Nullable Alarm deadline =
        spec.getDeadlineMillis() == 0 ? null : deadline(session, spec.getDeadlineMillis());
    loop.post(
        () -> {
          session.prepare(attempt, deadline);
          admit(session);
        });
  }

  private <E> void refuse(
      SessionSpec spec,
      ServerCallStreamObserver<E> call,
      Function<Failure, E> failureEvent,
      Failure failure) {
    call.setOnCancelHandler(() -> {});
    call.onNext(failureEvent.apply(failure));
    call.onCompleted();
    open.decrementAndGet();
    String id = spec.getSessionId();
    int epoch = spec.getEpoch();
    loop.post(
        () -> {
          giveWay(id, epoch);
          settleDrain();
        });
  }

  private Alarms.Alarm deadline(Session<?> session, long millis) {
    Failure failure =
        Failures.of(
            ErrorCode.DEADLINE_EXCEEDED,
            "deadline: %d ms passed (session %s)".formatted(millis, session.id()));
    return alarms.after(Duration.ofMillis(millis), () -> loop.post(() -> session.stop(failure)));
  }

  private void admit(Session<?> session) {
    String id = session.id().id();
    int epoch = session.id().epoch();
    int known = epochs.getOrDefault(id, 0);
    if (epoch < known) {
      session.refuse(
          Failures.of(
              ErrorCode.CANCELLED,
              "epoch: %d of session %s (expected: >= %d, the newest attempt known)"
                  .formatted(epoch, id, known)));
      return;
    }
    Session<?> earlier = newest.get(id);
    if (earlier != null && earlier.id().epoch() == epoch) {
      session.refuse(
          Failures.invalid("", "session: %s is here already (expected: once)".formatted(id)));
      return;
    }
    giveWay(id, epoch);
    if (refusal != null) {
      session.refuse(refusal);
      return;
    }
    here.add(session);
    newest.put(id, session);
    epochs.remove(id);
    epochs.put(id, epoch);
    session.begin();
  }

  /**
   * An attempt of that epoch exists, here or elsewhere: an earlier one that is here has lost its
   * router, even if this worker does not take the new one.
   */
  private void giveWay(String id, int epoch) {
    Session<?> earlier = newest.get(id);
    if (earlier != null && earlier.id().epoch() < epoch) {
      earlier.stop(
          Failures.of(
              ErrorCode.CANCELLED,
              "epoch: %d of session %s gave way to %d".formatted(earlier.id().epoch(), id, epoch)));
    }
  }

  /**
   * Has the attempt of a session looked at on the step thread; empty when it is not here under that
   * epoch. Any thread.
   */
  public void visit(String id, int epoch, Consumer<Optional<Attempt>> action) {
    loop.post(
        () -> {
          Session<?> session = newest.get(id);
          action.accept(
              session == null || session.id().epoch() != epoch
                  ? Optional.empty()
                  : session.attempt());
        });
  }

  boolean holds(Session<?> session) {
    return here.contains(session);
  }

  void left(Session<?> session) {
    here.remove(session);
    newest.remove(session.id().id(), session);
    int sessionsLeft = open.decrementAndGet();
    log.debug("session {}: left, {} here", session.id(), sessionsLeft);
    watchers.forEach(watcher -> watcher.accept(sessionsLeft));
    settleDrain();
  }

  private void settleDrain() {
    if (draining && open.get() == 0) {
      drained.complete(null);
    }
  }

  /** Who answers for what is held on this worker. Step thread. */
  public LeakWatch.Claimants claimants() {
    Map<SessionId, Boolean> calls = new HashMap<>();
    here.forEach(session -> calls.put(session.id(), session.ended()));
    return new LeakWatch.Claimants(calls);
  }

  /** Sessions here, those still freeing included. Any thread. */
  public int count() {
    return open.get();
  }

  /** Takes no new session. Any thread. */
  public boolean draining() {
    return draining;
  }

  /**
   * Hears the number of sessions whenever one has left; on the step thread. Any thread.
   *
   * @return removes the watcher
   */
  public Runnable watch(IntConsumer watcher) {
    watchers.add(watcher);
    return () -> watchers.remove(watcher);
  }

  /**
   * Refuses new sessions from now on. Any thread; the first reason stays.
   *
   * @return completes when no session is left
   */
  public CompletableFuture<Void> drain(Failure reason) {
    draining = true;
    loop.post(
        () -> {
          if (refusal == null) {
            refusal = reason;
          }
          settleDrain();
        });
    return drained.copy();
  }

  /** Stops every session that is here, and refuses new ones. Any thread. */
  public void stopAll(Failure why) {
    drain(why);
    // A command each: one that fails to stop does not keep the others.
    loop.post(() -> List.copyOf(here).forEach(session -> loop.post(() -> session.stop(why))));
  }
}

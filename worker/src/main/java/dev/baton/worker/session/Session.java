package dev.baton.worker.session;

import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SessionId;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import java.util.Optional;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One attempt of a request on this worker: its stream of events {@code E}, its deadline, its place
 * in the table. The stream may end before the session leaves: what a failed or cancelled session
 * holds is freed only when no transfer touches it any more. Step thread, but for {@link #id} and
 * {@link #generation}.
 */
public final class Session<E> {

  private static final Logger log = LoggerFactory.getLogger(Session.class);

  private final Sessions table;
  private final Generation generation;
  private final EventStream<E> stream;
  private final Function<Failure, E> failureEvent;
  private @Nullable Attempt attempt;
  private Alarms.@Nullable Alarm deadline;
  private boolean left;

  Session(
      Sessions table,
      Generation generation,
      EventStream<E> stream,
      Function<Failure, E> failureEvent) {
    this.table = table;
    this.generation = generation;
    this.stream = stream;
    this.failureEvent = failureEvent;
  }

  public SessionId id() {
    return generation.session();
  }

  public Generation generation() {
    return generation;
  }

  /** Sends an event; no effect after the end of the stream. */
  public void send(E event) {
    stream.send(event);
  }

  /** Sends the last event. */
  public void end(E last) {
    stream.send(last);
    stream.end();
  }

  /** Ends the stream without a further event. */
  public void end() {
    stream.end();
  }

  /** Ends the stream with a failure. */
  public void fail(Failure failure) {
    if (!stream.ended()) {
      if (failure.getCode() == ErrorCode.INTERNAL) {
        log.warn("session {}: {}", id(), failure.getMessage());
      } else {
        log.debug("session {}: {} {}", id(), failure.getCode(), failure.getMessage());
      }
      end(failureEvent.apply(failure));
    }
  }

  /** The stream has ended. */
  boolean ended() {
    return stream.ended();
  }

  /** Nothing on this worker belongs to the session any more; the stream has ended. */
  public void leave() {
    if (left) {
      return;
    }
    left = true;
    if (deadline != null) {
      deadline.cancel();
    }
    if (!stream.ended()) {
      throw new IllegalStateException(
          "session %s: leaves with an open stream (expected: ended before)".formatted(id()));
    }
    table.left(this);
  }

  void prepare(Attempt value, Alarms.@Nullable Alarm alarm) {
    attempt = value;
    deadline = alarm;
  }

  Optional<Attempt> attempt() {
    return Optional.ofNullable(attempt);
  }

  void begin() {
    if (stream.ended() || attempt == null) {
      leave();
      return;
    }
    try {
      attempt.begin();
    } catch (EngineException | HandoffException | RefusedException e) {
      refuse(Failures.of(e));
    } catch (RuntimeException e) {
      // One session's fault must not end the others; a leak would show in the integrity check.
      log.error("session {}: admission failed", id(), e);
      refuse(Failures.of(e));
    }
  }

  /** Ends a session that holds nothing yet. */
  void refuse(Failure failure) {
    fail(failure);
    leave();
  }

  /** Tells the client why and gives up what is held. */
  public void stop(Failure why) {
    fail(why);
    abandon(why.getMessage());
  }

  /** The router has cancelled the call, or is gone. */
  void cancelled() {
    log.debug("session {}: call cancelled", id());
    stream.drop();
    abandon("cancelled by the router");
  }

  private void abandon(String reason) {
    if (left || attempt == null || !table.holds(this)) {
      return;
    }
    try {
      attempt.abandon(reason);
    } catch (RuntimeException e) {
      // What it held is unknown now, which the step loop treats as its own failure.
      leave();
      throw e;
    }
  }
}

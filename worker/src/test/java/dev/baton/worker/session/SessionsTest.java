package dev.baton.worker.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineException;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.FakeEngine;
import dev.baton.worker.fakes.ManualAlarms;
import dev.baton.worker.fakes.RecordingCall;
import dev.baton.worker.fakes.Sample;
import dev.baton.worker.step.Outbox;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.step.StepThread;
import dev.baton.worker.wire.Failures;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class SessionsTest {

  /** Notes what it is told, and leaves when the test says so. */
  private static final class Noted implements Attempt {
    final Session<DecodeEvent> session;
    final List<String> calls = new ArrayList<>();
    @Nullable RuntimeException atBegin;

    Noted(Session<DecodeEvent> session) {
      this.session = session;
    }

    @Override
    public void begin() {
      calls.add("begin");
      if (atBegin != null) {
        throw atBegin;
      }
    }

    @Override
    public void abandon(String reason) {
      calls.add("abandon");
    }
  }

  private final FakeEngine engine = new FakeEngine();
  private final Outbox outbox = new Outbox();
  private final ManualAlarms alarms = new ManualAlarms();
  private final AtomicInteger failures = new AtomicInteger();
  private final StepThread thread = new StepThread();
  private final StepLoop loop =
      new StepLoop(
          engine, outbox, cause -> failures.incrementAndGet(), System::nanoTime, thread::wake);
  private final Sessions sessions = new Sessions(engine.model(), loop, outbox, alarms, 4);
  private final List<Noted> attempts = new ArrayList<>();
  private @Nullable RuntimeException atBegin;

  @BeforeEach
  void start() {
    thread.start(loop);
  }

  @AfterEach
  void close() {
    thread.close();
    outbox.close();
    assertThat(failures).hasValue(0);
  }

  private RecordingCall<DecodeEvent> open(String id, int epoch) throws Exception {
    return open(Sample.session(id, 4, 4).toBuilder().setEpoch(epoch).build());
  }

  private RecordingCall<DecodeEvent> open(SessionSpec spec) throws Exception {
    RecordingCall<DecodeEvent> call = new RecordingCall<>();
    sessions.open(
        spec,
        call,
        failure -> DecodeEvent.newBuilder().setFailure(failure).build(),
        session -> {
          Noted attempt = new Noted(session);
          attempt.atBegin = atBegin;
          attempts.add(attempt);
          return attempt;
        });
    barrier();
    return call;
  }

  private void barrier() throws Exception {
    CompletableFuture<Void> reached = new CompletableFuture<>();
    loop.post(() -> loop.post(() -> reached.complete(null)));
    reached.get(60, TimeUnit.SECONDS);
  }

  private void leave(Noted attempt) throws Exception {
    loop.post(
        () -> {
          attempt.session.end();
          attempt.session.leave();
        });
    barrier();
  }

  private static Failure failure(RecordingCall<DecodeEvent> call) throws Exception {
    return call.await().getLast().getFailure();
  }

  @Test
  void anOlderEpochFindsNoRoomEvenAfterTheNewerHasLeft() throws Exception {
    open("a", 3);
    leave(attempts.getFirst());
    RecordingCall<DecodeEvent> late = open("a", 2);
    assertThat(failure(late).getCode()).isEqualTo(ErrorCode.CANCELLED);
    assertThat(failure(late).getMessage()).contains("epoch: 2").contains("expected: >= 3");
    assertThat(attempts.get(1).calls).isEmpty();
    assertThat(sessions.count()).isZero();
  }

  @Test
  void aNewerEpochThatIsRefusedStopsTheAttemptThatIsHereAllTheSame() throws Exception {
    RecordingCall<DecodeEvent> first = open("a", 1);
    RecordingCall<DecodeEvent> second = open("b", 1);
    open("c", 1);
    open("d", 1);
    RecordingCall<DecodeEvent> tooMany = open("a", 2);
    assertThat(failure(tooMany).getCode()).isEqualTo(ErrorCode.OVERLOADED);
    assertThat(failure(first).getMessage()).contains("epoch: 1").contains("gave way to 2");
    assertThat(attempts.get(0).calls).containsExactly("begin", "abandon");
    leave(attempts.get(0));

    sessions.drain(Failures.of(ErrorCode.DRAINING, "worker: draining"));
    RecordingCall<DecodeEvent> tooLate = open("b", 2);
    assertThat(failure(tooLate).getCode()).isEqualTo(ErrorCode.DRAINING);
    assertThat(failure(second).getMessage()).contains("epoch: 1").contains("gave way to 2");
    assertThat(attempts.get(1).calls).containsExactly("begin", "abandon");
  }

  @Test
  void aNewerEpochStopsTheAttemptThatIsHere() throws Exception {
    RecordingCall<DecodeEvent> old = open("a", 1);
    open("a", 2);
    assertThat(failure(old).getCode()).isEqualTo(ErrorCode.CANCELLED);
    assertThat(attempts.get(0).calls).containsExactly("begin", "abandon");
    assertThat(attempts.get(1).calls).containsExactly("begin");
    // The old one still frees what it held.
    assertThat(sessions.count()).isEqualTo(2);
    leave(attempts.get(0));
    leave(attempts.get(1));
    assertThat(sessions.count()).isZero();
  }

  @Test
  void theSameAttemptTwiceIsRefused() throws Exception {
    open("a", 1);
    assertThat(failure(open("a", 1)).getCode()).isEqualTo(ErrorCode.INVALID_REQUEST);
    leave(attempts.getFirst());
  }

  @Test
  void aDeadlineEndsTheStreamAndGivesUp() throws Exception {
    RecordingCall<DecodeEvent> call =
        open(Sample.session("a", 4, 4).toBuilder().setDeadlineMillis(1000).build());
    alarms.advance(Duration.ofMillis(999));
    barrier();
    assertThat(call.events()).isEmpty();
    alarms.advance(Duration.ofMillis(1));
    assertThat(failure(call).getCode()).isEqualTo(ErrorCode.DEADLINE_EXCEEDED);
    assertThat(attempts.getFirst().calls).containsExactly("begin", "abandon");
    leave(attempts.getFirst());
  }

  @Test
  void aSessionThatEndsInTimeTakesItsDeadlineAlong() throws Exception {
    open(Sample.session("a", 4, 4).toBuilder().setDeadlineMillis(1000).build());
    leave(attempts.getFirst());
    assertThat(alarms.set()).isZero();
  }

  @Test
  void aCancelledCallGivesUpAndHearsNothingMore() throws Exception {
    RecordingCall<DecodeEvent> call = open("a", 1);
    call.cancel();
    barrier();
    assertThat(attempts.getFirst().calls).containsExactly("begin", "abandon");
    loop.post(() -> attempts.getFirst().session.send(DecodeEvent.getDefaultInstance()));
    leave(attempts.getFirst());
    assertThat(call.events()).isEmpty();
    assertThat(sessions.count()).isZero();
  }

  @Test
  void refusalsOfTheEngineBecomeFailures() throws Exception {
    atBegin = new EngineException(EngineException.Kind.NO_CAPACITY, "blocks: none (expected: 3)");
    Failure failure = failure(open("a", 1));
    assertThat(failure.getCode()).isEqualTo(ErrorCode.OVERLOADED);
    assertThat(failure.getRetryAfterMillis()).isPositive();
    assertThat(sessions.count()).isZero();
  }

  @Test
  void anUnexpectedFaultOfOneSessionLeavesTheWorkerAlone() throws Exception {
    atBegin = new ArithmeticException("bug");
    assertThat(failure(open("a", 1)).getCode()).isEqualTo(ErrorCode.INTERNAL);
    assertThat(loop.failed()).isFalse();
  }

  @Test
  void badInputIsRefusedBeforeTheStepThread() throws Exception {
    SessionSpec.Builder spec = Sample.session("a", 4, 4).toBuilder();
    Failure failure = failure(open(spec.clone().addPrompt(1000).build()));
    assertThat(failure.getCode()).isEqualTo(ErrorCode.INVALID_REQUEST);
    assertThat(failure.getField()).isEqualTo("prompt");
    assertThat(failure.getMessage()).contains("1000").contains("position 4");
    spec.getSamplingBuilder().setMaxTokens(0);
    assertThat(failure(open(spec.build())).getField()).isEqualTo("max_tokens");
    assertThat(attempts).isEmpty();
    assertThat(sessions.count()).isZero();
  }

  @Test
  void moreSessionsThanTheLimitAreOverload() throws Exception {
    for (int i = 0; i < 4; i++) {
      open("s" + i, 1);
    }
    assertThat(failure(open("one too many", 1)).getCode()).isEqualTo(ErrorCode.OVERLOADED);
    leave(attempts.getFirst());
    assertThat(open("now there is room", 1).events()).isEmpty();
    for (Noted attempt : attempts.subList(1, attempts.size())) {
      leave(attempt);
    }
    assertThat(sessions.count()).isZero();
  }

  @Test
  void drainingWaitsForTheLastSessionAndRefusesNewOnes() throws Exception {
    open("a", 1);
    CompletableFuture<Void> drained =
        sessions.drain(Failures.of(ErrorCode.DRAINING, "worker: draining"));
    assertThat(failure(open("b", 1)).getCode()).isEqualTo(ErrorCode.DRAINING);
    assertThat(drained).isNotDone();
    leave(attempts.getFirst());
    drained.get(60, TimeUnit.SECONDS);
  }
}

package dev.baton.router.registry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.FakeTextModel;
import dev.baton.router.failure.FailureException;
import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextModelException;
import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

final class WorkerDirectoryTest {

  private static final long MILLI = 1_000_000;

  private final AtomicLong nanos = new AtomicLong();
  private final WorkerDirectory directory =
      new WorkerDirectory(
          new WorkerDirectory.Surroundings() {
            @Override
            public TextModel loadText(Path model) {
              if (model.endsWith("broken")) {
                throw new TextModelException("tokenizer.json: missing");
              }
              return new FakeTextModel();
            }

            @Override
            public ManagedChannel connect(String address) {
              return new Wire(true);
            }
          },
          () -> Instant.ofEpochSecond(1234),
          nanos::get);

  @AfterEach
  void close() {
    directory.close();
  }

  @Test
  void poolsHoldTheWorkersOfTheModelByRole() {
    Worker decode = directory.register(registration("d", Role.DECODE).build());
    Worker prefill = directory.register(registration("p", Role.PREFILL).build());
    Worker both = directory.register(registration("b", Role.BOTH).build());
    Pools pools = directory.pools(decode.model());
    assertThat(pools.decode()).containsExactlyInAnyOrder(decode, both);
    assertThat(pools.prefill()).containsExactly(prefill);
    assertThat(decode.model().createdSeconds()).isEqualTo(1234);
  }

  @Test
  void silentWorkerLeavesThePoolsFirstAndIsForgottenThen() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    pass(599);
    assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
    pass(2);
    assertThat(directory.pools(worker.model()).decode()).isEmpty();
    assertThat(directory.pools(worker.model()).expectsDecode()).isTrue();
    assertThat(worker.channel().isShutdown()).isFalse();
    assertThat(directory.report(worker, WorkerStatus.getDefaultInstance())).isTrue();
    assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
    pass(801);
    assertThat(directory.workers()).isEmpty();
    assertThat(worker.channel().isShutdown()).isTrue();
    assertThat(directory.report(worker, WorkerStatus.getDefaultInstance())).isFalse();
  }

  @Test
  void aModelIsServedForSomeSecondsAfterItsLastDecodeWorkerWasLost() {
    Worker silent = directory.register(registration("d", Role.DECODE).build());
    List<Long> news = new ArrayList<>();
    directory.onCapacity(() -> news.add(nanos.get()));
    pass(801);
    assertThat(directory.workers()).isEmpty();
    assertThat(directory.model(silent.model().name())).isEqualTo(silent.model());
    assertThat(directory.model("")).isEqualTo(silent.model());
    assertThat(directory.pools(silent.model()).expectsDecode()).isTrue();
    assertThat(directory.pools(silent.model()).ready()).isFalse();
    pass(5000);
    assertThat(directory.pools(silent.model()).expectsDecode()).isTrue();
    news.clear();
    pass(1);
    assertThat(directory.pools(silent.model()).expectsDecode()).isFalse();
    assertThat(news).hasSize(1);
    assertThatThrownBy(() -> directory.model(silent.model().name()))
        .hasMessageContaining("no decode worker serves it now");
  }

  @Test
  void aDecodeWorkerThatHasDrainedIsNotWaitedFor() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    directory.report(worker, WorkerStatus.newBuilder().setDraining(true).build());
    directory.leave(worker);
    assertThat(directory.pools(worker.model()).expectsDecode()).isFalse();
    assertThatThrownBy(() -> directory.model("")).hasMessageContaining("no decode worker");
  }

  @Test
  void workerThatNoHandOffReachesIsGivenNoneForAWhile() {
    Worker prefill = directory.register(registration("p", Role.PREFILL).build());
    Worker other = directory.register(registration("q", Role.PREFILL).build());
    Worker deaf = directory.register(registration("d", Role.DECODE).build());
    Worker well = directory.register(registration("e", Role.DECODE).build());
    for (Worker from : List.of(prefill, other, prefill)) {
      long begun = nanos.get();
      pass(1);
      directory.handOffOver(from, deaf, false, begun);
      directory.handOffOver(from, well, true, begun);
    }
    assertThat(deaf.handsOff()).isFalse();
    assertThat(deaf.open()).as("it decodes as ever").isTrue();
    assertThat(List.of(prefill, other, well)).allMatch(Worker::handsOff);
    nanos.addAndGet(HandoffWatch.PAUSE_NANOS);
    directory.checkSilence();
    assertThat(deaf.handsOff()).isTrue();
  }

  @Test
  void routerThatStoodStillItselfTakesNobodyForSilent() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    pass(100);
    nanos.addAndGet(10_000 * MILLI);
    directory.checkSilence();
    assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
    pass(950);
    assertThat(directory.workers()).isEmpty();
  }

  @Test
  void hostileNumbersDoNotTurnASumNegative() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus.Builder status =
        WorkerStatus.newBuilder()
            .setQueuedPromptTokens(Long.MAX_VALUE)
            .setRunningSessions(Integer.MIN_VALUE)
            .setWaitingSessions(-1);
    status.getLedgerBuilder().setFree(Long.MAX_VALUE).setCached(Long.MAX_VALUE);
    directory.report(worker, status.build());
    try (Worker.Charge _ = worker.charge(1000)) {
      assertThat(worker.queuedPromptTokens()).isPositive();
      assertThat(worker.sessions()).isEqualTo(1);
      assertThat(worker.availableBlocks()).isPositive();
    }
    status.setQueuedPromptTokens(-5).getLedgerBuilder().setFree(-1).setCached(Long.MIN_VALUE);
    directory.report(worker, status.build());
    assertThat(worker.queuedPromptTokens()).isZero();
    assertThat(worker.availableBlocks()).isZero();
  }

  @Test
  void nameOfALivingWorkerCannotBeTakenByAnother() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    Registration other = registration("d", Role.DECODE).setGrpcAddress("127.0.0.1:2").build();
    assertThatThrownBy(() -> directory.register(other))
        .hasMessageContaining("worker_id: d is that of the worker at 127.0.0.1:1");
    assertThat(directory.workers()).containsExactly(worker);
    assertThat(worker.channel().isShutdown()).isFalse();
    pass(800);
    assertThat(directory.register(other).registration()).isEqualTo(other);
  }

  @Test
  void workerThatReportsWithoutProgressIsFencedUntilItMakesSome() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus stuck = WorkerStatus.newBuilder().setRunningSessions(1).setProgress(7).build();
    directory.report(worker, stuck);
    ManagedChannel channel = worker.channel();
    try (Worker.Charge _ = worker.charge(1)) {
      report(worker, stuck, 2000);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
      report(worker, stuck.toBuilder().setBeats(1).build(), 500);
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
      assertThat(channel.isShutdown()).isTrue();
      assertThat(worker.channel().isShutdown()).isFalse();
    }
    Worker again = directory.register(registration("d", Role.DECODE).build());
    assertThat(directory.pools(worker.model()).decode()).as("not by registering").isEmpty();
    directory.report(again, stuck.toBuilder().setProgress(8).build());
    assertThat(directory.pools(worker.model()).decode()).containsExactly(again);
  }

  @Test
  void workerWhoseSessionsOnlyWaitShowsProgressByItsCanary() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    try (Worker.Charge _ = worker.charge(1)) {
      for (int i = 0; i < 20; i++) {
        report(worker, WorkerStatus.newBuilder().setProgress(1).setBeats(i).build(), 250);
      }
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
      report(worker, WorkerStatus.newBuilder().setProgress(1).setBeats(19).build(), 2500);
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
      report(worker, WorkerStatus.newBuilder().setProgress(1).setBeats(20).build(), 1);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
    }
  }

  @Test
  void workerOfLongStepsIsGivenTimeForThem() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus.Builder status = WorkerStatus.newBuilder().setRunningSessions(1);
    try (Worker.Charge _ = worker.charge(1)) {
      report(worker, status.setProgress(1).build(), 1500);
      report(worker, status.setProgress(2).build(), 5000);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
      report(worker, status.build(), 2000);
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
    }
  }

  @Test
  void workerWhoseThreadsSleepThoughItHasSessionsIsFencedSoon() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus.Builder status = WorkerStatus.newBuilder().setRunningSessions(1).setProgress(7);
    report(worker, status.setAsleepMillis(600).build(), 100);
    assertThat(directory.pools(worker.model()).decode()).as("none of ours").hasSize(1);
    try (Worker.Charge _ = worker.charge(1)) {
      report(worker, status.setAsleepMillis(400).build(), 600);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
      report(worker, status.setAsleepMillis(600).build(), 50);
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
      report(worker, status.setProgress(8).setAsleepMillis(0).build(), 1);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
    }
  }

  @Test
  void workerWhoseThreadsComputeIsGivenTimeForItsFirstLongStepToo() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus.Builder status =
        WorkerStatus.newBuilder().setRunningSessions(1).setProgress(7).setAsleepMillis(0);
    WorkerStatus.Builder idle = WorkerStatus.newBuilder().setProgress(7).setAsleepMillis(0);
    report(worker, idle.build(), 100);
    report(worker, idle.setBeats(5).build(), 100);
    try (Worker.Charge _ = worker.charge(1)) {
      report(worker, status.setBeats(6).build(), 14_000);
      assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
      report(worker, status.build(), 2000);
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
    }
  }

  @Test
  void workerThatAnswersBetweenStepsWithoutProgressIsInNoLongStep() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    WorkerStatus.Builder status =
        WorkerStatus.newBuilder().setRunningSessions(1).setProgress(7).setAsleepMillis(0);
    try (Worker.Charge _ = worker.charge(1)) {
      for (int i = 0; i < 10; i++) {
        report(worker, status.setBeats(i).build(), 250);
      }
      assertThat(directory.pools(worker.model()).decode()).isEmpty();
    }
  }

  @Test
  void drainingWorkerGetsNothingNew() {
    Worker worker = directory.register(registration("d", Role.DECODE).build());
    directory.report(worker, WorkerStatus.newBuilder().setDraining(true).build());
    assertThat(directory.pools(worker.model()).decode()).isEmpty();
    assertThat(directory.workers()).containsExactly(worker);
  }

  @Test
  void decodeWorkersAloneCanServe() {
    Worker prefill = directory.register(registration("p", Role.PREFILL).build());
    assertThat(directory.pools(prefill.model()).ready()).isFalse();
    Worker decode = directory.register(registration("d", Role.DECODE).build());
    assertThat(directory.pools(decode.model()).ready()).isTrue();
    directory.leave(prefill);
    assertThat(directory.pools(decode.model()).ready()).isTrue();
  }

  @Test
  void differingWorkerIsRefusedWhileOthersLive() {
    Worker first = directory.register(registration("d", Role.DECODE).build());
    Registration.Builder shorter = registration("p", Role.PREFILL);
    shorter.getModelBuilder().setContextLength(64);
    assertThatThrownBy(() -> directory.register(shorter.build()))
        .isInstanceOf(FailureException.class)
        .hasMessageContaining("model.context_length: 64 (expected: 128 as served here)");
    directory.leave(first);
    assertThat(directory.register(shorter.build()).model().contextLength()).isEqualTo(64);
  }

  @Test
  void unusableRegistrationsAreRefused() {
    assertThatThrownBy(() -> directory.register(Registration.getDefaultInstance()))
        .hasMessageContaining("worker_id");
    assertThatThrownBy(
            () ->
                directory.register(
                    registration("d", Role.DECODE).setGrpcAddress("nowhere").build()))
        .hasMessageContaining("grpc_address: \"nowhere\" (expected: host:port)");
    assertThatThrownBy(
            () ->
                directory.register(
                    registration("d", Role.DECODE).setModelDirectory("broken").build()))
        .hasMessageContaining("tokenizer.json: missing");
  }

  @Test
  void workerThatRegistersAgainReplacesItself() {
    Worker old = directory.register(registration("d", Role.DECODE).build());
    Worker now = directory.register(registration("d", Role.DECODE).build());
    directory.leave(old);
    assertThat(directory.workers()).containsExactly(now);
    assertThat(old.channel().isShutdown()).isTrue();
  }

  @Test
  void loadIsTheStatusAndWhatItCannotCountYet() {
    Worker worker = directory.register(registration("d", Role.DECODE).setMaxSessions(2).build());
    WorkerStatus status =
        WorkerStatus.newBuilder().setQueuedPromptTokens(50).setRunningSessions(1).build();
    directory.report(worker, status);
    Worker.Charge first = worker.charge(10);
    Worker.Charge second = worker.charge(20);
    assertThat(worker.queuedPromptTokens()).isEqualTo(80);
    assertThat(worker.sessions()).isEqualTo(3);
    assertThat(worker.full()).isTrue();
    first.close();
    first.close();
    assertThat(worker.queuedPromptTokens()).isEqualTo(70);
    assertThat(worker.full()).isFalse();
    directory.report(worker, status);
    assertThat(worker.queuedPromptTokens()).isEqualTo(70);
    directory.report(worker, status);
    assertThat(worker.queuedPromptTokens()).isEqualTo(50);
    second.close();
    assertThat(worker.queuedPromptTokens()).isEqualTo(50);
    assertThat(worker.sessions()).isEqualTo(1);
  }

  /** Has the same status come every 100 ms for so long. */
  private void report(Worker worker, WorkerStatus status, int millis) {
    for (int passed = 0; passed < millis; passed += 100) {
      directory.report(worker, status);
      pass(Math.min(100, millis - passed));
    }
    directory.report(worker, status);
  }

  /** Lets time pass while the directory looks for silence, as it does in a running router. */
  private void pass(int millis) {
    for (int i = 0; i < millis; i++) {
      nanos.addAndGet(MILLI);
      directory.checkSilence();
    }
  }

  private static Registration.Builder registration(String id, Role role) {
    return Registration.newBuilder()
        .setWorkerId(id)
        .setRole(role)
        .setGrpcAddress("127.0.0.1:1")
        .setBlockTokens(16)
        .setBlockCapacity(100)
        .setModelDirectory("somewhere")
        .setModel(
            ModelIdentity.newBuilder()
                .setName("letters")
                .setFingerprint("f")
                .setContextLength(128)
                .setVocabularySize(256));
  }
}

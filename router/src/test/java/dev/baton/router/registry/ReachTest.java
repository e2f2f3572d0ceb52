package dev.baton.router.registry;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.FakeTextModel;
import dev.baton.router.text.TextModel;
import io.grpc.ManagedChannel;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;

@DisplayName("A worker that reports, over a connection that may stall,")
class ReachTest {

  private static final long MILLI = 1_000_000;

  private final AtomicLong nanos = new AtomicLong();
  private final List<Wire> wires = new ArrayList<>();
  private final WorkerDirectory directory =
      new WorkerDirectory(
          new WorkerDirectory.Surroundings() {
            @Override
            public TextModel loadText(Path model) {
              return new FakeTextModel();
            }

            @Override
            public ManagedChannel connect(String address) {
              Wire wire = new Wire(false);
              wires.add(wire);
              return wire;
            }
          },
          () -> Instant.ofEpochSecond(1),
          nanos::get);
  private final Worker worker =
      directory.register(
          Registration.newBuilder()
              .setWorkerId("d")
              .setRole(Role.DECODE)
              .setGrpcAddress("d:1")
              .setBlockTokens(16)
              .setBlockCapacity(100)
              .setModelDirectory("somewhere")
              .setModel(
                  ModelIdentity.newBuilder()
                      .setName("m")
                      .setFingerprint("f")
                      .setContextLength(128)
                      .setVocabularySize(256))
              .build());
  private long progress;

  /** A status every 200 ms, and between them the directory looks. */
  private void report(int times) {
    for (int i = 0; i < times; i++) {
      for (int millis = 0; millis < 200; millis += 50) {
        nanos.addAndGet(50 * MILLI);
        directory.checkSilence();
      }
      directory.report(worker, WorkerStatus.newBuilder().setProgress(++progress).build());
    }
  }

  @Test
  void isCutOffAfterASecondAndServesAgainWhenItAnswersOverANewConnection() {
    worker.charge(1);
    report(5);
    assertThat(worker.open()).isFalse();
    assertThat(wires.getFirst().isShutdown()).isTrue();
    assertThat(wires).hasSize(2);
    report(1);
    wires.getFirst().answer();
    assertThat(worker.open()).as("after an answer over the connection that was cut").isFalse();
    wires.getLast().answer();
    assertThat(worker.open()).isTrue();
    assertThat(directory.pools(worker.model()).decode()).containsExactly(worker);
  }

  @Test
  void staysWhereItIsWhileItAnswers() {
    worker.charge(1);
    for (int i = 0; i < 20; i++) {
      report(1);
      wires.getFirst().answer();
    }
    assertThat(worker.open()).isTrue();
    assertThat(wires).hasSize(1);
  }

  @Test
  void isLeftAloneForAWhileAsLongAsItsTokensCome() {
    worker.charge(1);
    for (int i = 0; i < 7; i++) {
      report(1);
      worker.calledBack(nanos.get());
    }
    assertThat(worker.open()).isTrue();
    for (int i = 0; i < 5; i++) {
      report(1);
      worker.calledBack(nanos.get());
    }
    assertThat(worker.open()).isFalse();
  }

  @Test
  void isNotAskedWhileNoCallToItIsOpen() {
    report(8);
    assertThat(wires.getFirst().questions()).isZero();
    assertThat(worker.open()).isTrue();
  }

  @Test
  void isNotCutOffWhileItSaysNothingItself() {
    worker.charge(1);
    report(1);
    for (int millis = 0; millis < 800; millis += 50) {
      nanos.addAndGet(50 * MILLI);
      directory.checkSilence();
    }
    assertThat(wires).hasSize(1);
    assertThat(wires.getFirst().isShutdown()).isFalse();
  }

  @Test
  void staysOutOfReachWhenItRegistersAnewUntilItHasAnswered() {
    worker.charge(1);
    report(5);
    Worker anew = directory.register(worker.registration());
    assertThat(anew.open()).isFalse();
    directory.report(anew, WorkerStatus.newBuilder().setProgress(++progress).build());
    wires.getLast().answer();
    assertThat(anew.open()).isTrue();
  }
}

package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.FakeTextModel;
import dev.baton.router.registry.Pools;
import dev.baton.router.registry.ServedModel;
import dev.baton.router.registry.Worker;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.session.Placer.Placement;
import dev.baton.router.text.TextModel;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.file.Path;
import java.time.Instant;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PlacerTest {

  private static final int CONTEXT = 1000;

  private final AtomicLong nanos = new AtomicLong();
  private final WorkerDirectory directory =
      new WorkerDirectory(
          new WorkerDirectory.Surroundings() {
            @Override
            public TextModel loadText(Path model) {
              return new FakeTextModel();
            }

            @Override
            public ManagedChannel connect(String address) {
              // Nothing listens there; a placement calls nobody.
              return NettyChannelBuilder.forTarget(address).usePlaintext().build();
            }
          },
          () -> Instant.ofEpochSecond(1),
          nanos::get);
  private final Placer placer = new Placer(0);

  @AfterEach
  void close() {
    directory.close();
  }

  private Worker worker(String id, Role role, long queued) {
    Worker worker =
        directory.register(
            Registration.newBuilder()
                .setWorkerId(id)
                .setRole(role)
                .setGrpcAddress("127.0.0.1:1")
                .setBlockTokens(32)
                .setBlockCapacity(1000)
                .setHandOff(true)
                .setModelDirectory("somewhere")
                .setModel(
                    ModelIdentity.newBuilder()
                        .setName("m")
                        .setFingerprint("f")
                        .setContextLength(4096)
                        .setVocabularySize(256))
                .build());
    WorkerStatus.Builder status = WorkerStatus.newBuilder().setQueuedPromptTokens(queued);
    status.getLedgerBuilder().setFree(1000);
    directory.report(worker, status.build());
    return worker;
  }

  /** Tokens that workers hold, and that fetching saves them. */
  private record Hints(Map<String, Integer> held, Map<String, Double> saves)
      implements PrefixHints {

    @Override
    public int held(Worker worker) {
      return held.getOrDefault(worker.id(), 0);
    }

    @Override
    public double fetchSaves(Worker worker) {
      return saves.getOrDefault(worker.id(), 0.0);
    }
  }

  private Placement.Placed place(Pools pools, boolean whole, PrefixHints hints) {
    return (Placement.Placed) placer.place(pools, CONTEXT, Set.of(), whole, hints);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    // what,                                  queue a, b, held by a, b, fetching saves a, b, chosen
    "nothing known: the shorter queue,           500, 499,    0,   0,    0,   0, b",
    "both idle: the holder,                        0,   0,  960,   0,    0,   0, a",
    "the holder waits less than it saves,        900,   0,  960,   0,    0,   0, a",
    "the holder waits more than it saves,       1000,   0,  960,   0,    0,   0, b",
    "of two holders the one with the more,         0,   0,  320, 640,    0,   0, b",
    "a short prefix does not outweigh a queue,   500,   0,  320,   0,    0,   0, b",
    "fetching is dearer than the holders queue,  300,   0,  960,   0,    0, 400, a",
    "fetching is cheaper than its queue,         300,   0,  960,   0,    0, 800, b",
    "a hint of all of it still has a last token,   0,   0, 5000,   0,    0,   0, a",
    "fetching never makes a worker free,           0,   2, 1000,   0,    0, 1e9, a",
  })
  void prefillGoesWhereItIsDoneFirst(
      String what,
      long a,
      long b,
      int heldA,
      int heldB,
      double savesA,
      double savesB,
      String best) {
    worker("d", Role.DECODE, 0);
    worker("a", Role.PREFILL, a);
    Worker last = worker("b", Role.PREFILL, b);
    Hints hints = new Hints(Map.of("a", heldA, "b", heldB), Map.of("a", savesA, "b", savesB));
    Worker chosen =
        Objects.requireNonNull(place(directory.pools(last.model()), false, hints).prefill());
    assertThat(chosen.id()).as(what).isEqualTo(best);
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource({
    "the holder,                          0,   0, 960,   0, a",
    "the holder although others wait,   900,   0, 960,   0, a",
    "the other as more of them wait,   1000,   0, 960,   0, b",
  })
  void soDoesADecodeWorkerThatComputes(
      String what, long a, long b, int heldA, int heldB, String best) {
    worker("a", Role.DECODE, a);
    Worker last = worker("b", Role.DECODE, b);
    Hints hints = new Hints(Map.of("a", heldA, "b", heldB), Map.of());
    assertThat(place(directory.pools(last.model()), true, hints).decode().id())
        .as(what)
        .isEqualTo(best);
  }

  @Test
  void ofIdleDecodeWorkersTheOneThatNeedsLessOfTheHandOffTakesIt() {
    worker("p", Role.PREFILL, 0);
    worker("a", Role.DECODE, 0);
    Worker last = worker("b", Role.DECODE, 0);
    Hints hints = new Hints(Map.of("b", 320), Map.of());
    assertThat(place(directory.pools(last.model()), false, hints).decode()).isSameAs(last);
  }

  @Test
  void aSessionWaitsForASilentWorkerAndAWhileForOneThatIsLost() {
    Worker only = worker("d", Role.DECODE, 0);
    pass(601);
    assertThat(reason(only.model())).isEqualTo(ErrorCode.OVERLOADED);
    pass(200);
    assertThat(directory.workers()).isEmpty();
    assertThat(reason(only.model())).isEqualTo(ErrorCode.OVERLOADED);
    pass(5001);
    assertThat(reason(only.model())).isEqualTo(ErrorCode.NO_WORKER);
  }

  @Test
  void nobodyWaitsForAWorkerThatDrains() {
    Worker only = worker("d", Role.DECODE, 0);
    directory.report(only, WorkerStatus.newBuilder().setDraining(true).build());
    pass(601);
    assertThat(reason(only.model())).isEqualTo(ErrorCode.NO_WORKER);
  }

  private void pass(int millis) {
    for (int i = 0; i < millis; i++) {
      nanos.addAndGet(1_000_000);
      directory.checkSilence();
    }
  }

  private ErrorCode reason(ServedModel model) {
    Placement placement =
        placer.place(directory.pools(model), CONTEXT, Set.of(), false, PrefixHints.NONE);
    return ((Placement.Unplaceable) placement).reason().getCode();
  }
}

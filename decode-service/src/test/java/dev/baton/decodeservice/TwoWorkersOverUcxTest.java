package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.ucx.UcxTransport;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.Eventually;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Two real workers in one process on the model that ships with the repository; its KV crosses over
 * UCX.
 */
@Timeout(300)
class TwoWorkersOverUcxTest {

  private static final Path MODEL = Path.of("..", "models", "stories260K");
  private static final EngineOptions ENGINE =
      EngineOptions.of(MODEL)
          .withPrecision(Precision.FLOAT32)
          .withKvCacheBytes(16 << 20)
          .withPrefillChunk(64);
  private static final TransferOptions TRANSFER = TransferOptions.on("127.0.0.1");
  private static final long SEED = Long.getLong("seed", System.nanoTime());

  private final Random random = new Random(SEED);

  @BeforeAll
  static void needsUcx() {
    System.out.println("TwoWorkersOverUcxTest: -Dseed=" + SEED);
    assumeTrue(
        List.of("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
            .stream()
            .anyMatch(d -> Files.exists(Path.of(d, "libucp.so.0"))),
        "UCX is not installed (expected: libucx0)");
  }

  private static Engine engine(EngineOptions options) {
    return Engine.load(options, progress -> {});
  }

  private static WorkerPair pair(EngineOptions prefill, EngineOptions decode) throws Exception {
    return new WorkerPair(
        engine(prefill),
        KvTransferFactory.open(TRANSFER),
        engine(decode),
        KvTransferFactory.open(TRANSFER));
  }

  private static WorkerPair corrupting(int payloads) throws Exception {
    KvTransfer exporter =
        KvTransferFactory.open(
            TRANSFER,
            new CorruptingTransport(UcxTransport.open(TRANSFER.host(), TRANSFER.port()), payloads));
    return new WorkerPair(
        engine(ENGINE), exporter, engine(ENGINE), KvTransferFactory.open(TRANSFER));
  }

  /** Greedy or seeded by turns; half of them may end by themselves. */
  private SessionSpec session(String id, int promptTokens, int maxTokens) {
    SessionSpec.Builder spec = SessionSpec.newBuilder().setSessionId(id).setEpoch(1).addPrompt(1);
    for (int i = 1; i < promptTokens; i++) {
      spec.addPrompt(3 + random.nextInt(509));
    }
    return spec.setSampling(
            SamplingParameters.newBuilder()
                .setMaxTokens(maxTokens)
                .setTemperature(random.nextBoolean() ? 0f : 0.8f)
                .setTopK(random.nextBoolean() ? 0 : 40)
                .setTopP(0.95f)
                .setSeed(random.nextLong())
                .setIgnoreEos(random.nextBoolean()))
        .build();
  }

  /** A session that does not end before its last token. */
  private SessionSpec endless(String id, int promptTokens, int maxTokens) {
    SessionSpec.Builder spec = session(id, promptTokens, maxTokens).toBuilder();
    spec.getSamplingBuilder().setIgnoreEos(true);
    return spec.build();
  }

  /** The same session for a comparison: another name, and no prefix shared with the first. */
  private static SessionSpec again(SessionSpec spec) {
    return spec.toBuilder()
        .setSessionId(spec.getSessionId() + " again")
        .setCacheSalt("again")
        .build();
  }

  private void assertSplitEqualsAlone(WorkerPair pair, int sessions) throws Exception {
    List<SessionSpec> specs = new ArrayList<>();
    for (int i = 0; i < sessions; i++) {
      specs.add(session("s" + i, 1 + random.nextInt(400), 2 + random.nextInt(40)));
    }
    try (ExecutorService clients = Executors.newFixedThreadPool(8)) {
      List<Future<List<Integer>>> split =
          specs.stream().map(spec -> clients.submit(() -> pair.split(spec))).toList();
      for (int i = 0; i < sessions; i++) {
        assertThat(split.get(i).get())
            .as("session %d of seed %d", i, SEED)
            .isEqualTo(pair.alone(again(specs.get(i))));
      }
    }
    pair.awaitClosedLedgers();
  }

  @Test
  void splitTokensEqualThoseOfOneWorker() throws Exception {
    try (WorkerPair pair = pair(ENGINE, ENGINE)) {
      assertSplitEqualsAlone(pair, 16);
      WorkerStatus prefill = pair.prefillWorker().worker().status();
      WorkerStatus decode = pair.decodeWorker().worker().status();
      assertThat(prefill.getHandoffs().getExportedBytes()).isPositive();
      assertThat(decode.getHandoffs().getImportedBytes())
          .isEqualTo(prefill.getHandoffs().getExportedBytes());
      assertThat(decode.getHandoffs().getCorruptSlabs()).isZero();
    }
  }

  @Test
  void ranksOfPrefillAndDecodeNeedNotBeAsMany() throws Exception {
    try (WorkerPair pair =
        pair(ENGINE.withTensorParallel(2), ENGINE.withTensorParallel(4).withBlockTokens(96))) {
      assertSplitEqualsAlone(pair, 4);
    }
    try (WorkerPair pair = pair(ENGINE.withTensorParallel(4), ENGINE.withBlockTokens(64))) {
      assertSplitEqualsAlone(pair, 4);
    }
  }

  @Test
  void eightBitKvIsHandedOverAsItIs() throws Exception {
    EngineOptions eight = ENGINE.withKvPrecision(KvPrecision.INT8);
    try (WorkerPair pair =
        pair(eight.withTensorParallel(2), eight.withTensorParallel(4).withBlockTokens(96))) {
      assertSplitEqualsAlone(pair, 4);
    }
  }

  @Test
  void aPrefixThatIsHereAlreadyIsNotSentAgain() throws Exception {
    try (WorkerPair pair = pair(ENGINE, ENGINE)) {
      SessionSpec first = endless("first", 200, 8);
      pair.split(first);
      long sent = pair.prefillWorker().worker().status().getHandoffs().getExportedBytes();
      SessionSpec second = first.toBuilder().setSessionId("second").build();
      List<Integer> tokens = pair.split(second);
      pair.awaitClosedLedgers();
      long more = pair.prefillWorker().worker().status().getHandoffs().getExportedBytes() - sent;
      assertThat(more).isLessThan(sent / 4);
      assertThat(tokens).isEqualTo(pair.alone(again(second)));
    }
  }

  @Test
  void aSlabThatArrivesWrongOnceIsSentAgain() throws Exception {
    try (WorkerPair pair = corrupting(1)) {
      SessionSpec spec = endless("a", 150, 20);
      assertThat(pair.split(spec)).isEqualTo(pair.alone(again(spec)));
      assertThat(pair.decodeWorker().worker().status().getHandoffs().getCorruptSlabs())
          .isEqualTo(1);
      pair.awaitClosedLedgers();
    }
  }

  @Test
  void slabsThatStayWrongAreNeverSampledFrom() throws Exception {
    try (WorkerPair pair = corrupting(Integer.MAX_VALUE)) {
      SessionSpec spec = endless("a", 150, 20);
      Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
      Events<PrefillRequest, PrefillEvent> prefill = pair.prefill(spec, decode.next());
      List<Integer> alone = pair.alone(again(spec));
      assertThat(WorkerPair.tokens(decode.await(), 0)).isEqualTo(alone);
      assertThat(prefill.await().getLast().getFailure().getCode())
          .isEqualTo(ErrorCode.HANDOFF_FAILED);
      pair.awaitClosedLedgers();
    }
  }

  @Test
  void otherNumericsAreRefusedBeforeAByteMoves() throws Exception {
    try (WorkerPair pair = pair(ENGINE.withPrecision(Precision.BFLOAT16), ENGINE)) {
      SessionSpec spec = endless("a", 20, 8);
      Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
      PrefillEvent event = pair.prefill(spec, decode.next()).next();
      assertThat(event.getFailure().getCode()).isEqualTo(ErrorCode.FINGERPRINT_MISMATCH);
      assertThat(event.getFailure().getMessage()).contains("the difference: dtype, ");
      decode.cancel();
      pair.awaitClosedLedgers();
      assertThat(pair.decodeWorker().worker().status().getHandoffs().getImportedBytes()).isZero();
    }
  }

  @Test
  void anotherKvDtypeIsRefusedByName() throws Exception {
    try (WorkerPair pair = pair(ENGINE.withKvPrecision(KvPrecision.INT8), ENGINE)) {
      SessionSpec spec = endless("a", 20, 8);
      Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
      PrefillEvent event = pair.prefill(spec, decode.next()).next();
      assertThat(event.getFailure().getCode()).isEqualTo(ErrorCode.FINGERPRINT_MISMATCH);
      assertThat(event.getFailure().getMessage()).endsWith("the difference: kv_dtype)");
      decode.cancel();
      pair.awaitClosedLedgers();
      assertThat(pair.decodeWorker().worker().status().getHandoffs().getImportedBytes()).isZero();
    }
  }

  @Test
  void cancellingAtAnyTimeFreesBothSidesWithinASecond() throws Exception {
    Map<Integer, Duration> quickest = new TreeMap<>();
    try (WorkerPair pair = pair(ENGINE, ENGINE)) {
      for (int i = 0; i < 12; i++) {
        SessionSpec spec = endless("s" + i, 50 + random.nextInt(300), 100);
        Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
        Events<PrefillRequest, PrefillEvent> prefill = pair.prefill(spec, decode.next());
        switch (i % 4) {
          case 0 -> prefill.next();
          case 1 -> decode.next();
          case 2 -> prefill.cancel();
          default -> {
            // At once.
          }
        }
        long cancelled = System.nanoTime();
        decode.cancel();
        prefill.cancel();
        pair.awaitClosedLedgers();
        long taken = System.nanoTime() - cancelled;
        quickest.merge(i % 4, Duration.ofNanos(taken), (a, b) -> a.compareTo(b) < 0 ? a : b);
      }
      // A busy machine may hold one up; what waits for a timer would always wait.
      assertThat(quickest.values()).allMatch(d -> d.compareTo(Duration.ofSeconds(1)) < 0);
    }
  }

  @Test
  void theDecodeWorkerGoesOnAloneWhenThePrefillWorkerIsGone() throws Exception {
    try (WorkerPair pair = pair(ENGINE, ENGINE)) {
      SessionSpec spec = endless("a", 20, 8);
      Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
      assertThat(decode.next().hasReserved()).isTrue();
      pair.prefillWorker().worker().close();
      decode.cancel();
      pair.decodeWorker().awaitClosedLedger();
      assertThat(pair.alone(session("b", 20, 8))).isNotEmpty();
    }
  }

  @Test
  void drainingLetsTheHandedOffSessionFinish() throws Exception {
    try (WorkerPair pair = pair(ENGINE, ENGINE)) {
      SessionSpec spec = endless("a", 300, 150);
      Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
      Events<PrefillRequest, PrefillEvent> prefill = pair.prefill(spec, decode.next());
      List<Integer> expected = pair.alone(again(spec));
      Thread drain =
          Thread.ofVirtual()
              .start(() -> pair.prefillWorker().worker().drainAndClose(Eventually.AMPLE));
      Eventually.holds(
          "prefill worker is drained", () -> pair.prefillWorker().worker().sessions() == 0);
      pair.decodeWorker().worker().drainAndClose(Eventually.AMPLE);
      drain.join();
      List<Integer> all = new ArrayList<>();
      all.add(prefill.await().getFirst().getFirstToken().getTokenId());
      all.addAll(WorkerPair.tokens(decode.await(), 1));
      assertThat(all).isEqualTo(expected);
    }
  }
}

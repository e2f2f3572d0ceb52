package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.DeviceOptions.Slabs;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.ucx.UcxTransport;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.SlabPlacement;
import dev.baton.worker.fakes.Events;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Two workers on emulated GPUs whose KV crosses over UCX, from slabs in the memory of the GPU and
 * from slabs of the host. An emulated GPU's memory is the host's, so any UCX can send from it.
 */
@Timeout(300)
class GpuSlabsOverUcxTest {

  private static final EngineOptions ENGINE =
      EngineOptions.of(Path.of("..", "models", "stories260K"))
          .withContextLength(128)
          .withMaxSessions(4)
          .withStepTokens(128)
          .withPrefillChunk(40)
          .withKvCacheBytes(4 << 20);

  /** Several slabs a session. */
  private static final TransferOptions TRANSFER =
      TransferOptions.on("127.0.0.1").withSlabBytes(16 << 10);

  private static final long SEED = Long.getLong("seed", System.nanoTime());

  private final Random random = new Random(SEED);

  @BeforeAll
  static void needsUcx() {
    System.out.println("GpuSlabsOverUcxTest: -Dseed=" + SEED);
    assumeTrue(
        Stream.of("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib")
            .anyMatch(directory -> Files.exists(Path.of(directory, "libucp.so.0"))),
        "UCX is not installed (expected: libucx0)");
  }

  private record Side(Engine engine, KvTransfer transfer) {}

  private static Side side(Slabs slabs, UnaryOperator<Transport> wrapped) {
    UcxTransport ucx = UcxTransport.open(TRANSFER.host(), TRANSFER.port());
    DeviceOptions device =
        DeviceOptions.of(DeviceOptions.Kind.EMULATED_CUDA)
            .withGpus(List.of(0))
            .withGpuMemoryUtilization(0.08)
            .withSlabs(slabs);
    SlabPlacement place = SlabPlacement.of(device, ucx.knowsCuda());
    assertThat(place.onDevice()).isEqualTo(slabs == Slabs.DEVICE);
    Engine engine = Engine.load(place.reserved(ENGINE.withDevice(device), TRANSFER), line -> {});
    return new Side(engine, place.open(TRANSFER, wrapped.apply(ucx), engine));
  }

  private static WorkerPair pair(Slabs prefill, Slabs decode, UnaryOperator<Transport> sent)
      throws Exception {
    Side from = side(prefill, sent);
    Side to = side(decode, UnaryOperator.identity());
    return new WorkerPair(from.engine, from.transfer, to.engine, to.transfer);
  }

  private SessionSpec session(String id, int promptTokens, int maxTokens) {
    SessionSpec.Builder spec = SessionSpec.newBuilder().setSessionId(id).setEpoch(1).addPrompt(1);
    for (int i = 1; i < promptTokens; i++) {
      spec.addPrompt(3 + random.nextInt(509));
    }
    return spec.setSampling(
            SamplingParameters.newBuilder()
                .setMaxTokens(maxTokens)
                .setTopP(1)
                .setSeed(random.nextLong())
                .setIgnoreEos(true))
        .build();
  }

  private static SessionSpec again(SessionSpec spec) {
    return spec.toBuilder()
        .setSessionId(spec.getSessionId() + " again")
        .setCacheSalt("again")
        .build();
  }

  private void assertSplitEqualsAlone(Slabs prefill, Slabs decode) throws Exception {
    try (WorkerPair pair = pair(prefill, decode, UnaryOperator.identity())) {
      SessionSpec spec = session("a", 50, 3);
      assertThat(pair.split(spec)).as("seed %d", SEED).isEqualTo(pair.alone(again(spec)));
      assertThat(pair.decodeWorker().worker().status().getHandoffs().getImportedSlabs())
          .isGreaterThan(1);
      pair.awaitClosedLedgers();
    }
  }

  @Test
  void kvGoesFromGpuToGpuWithTheSameTokens() throws Exception {
    assertSplitEqualsAlone(Slabs.DEVICE, Slabs.DEVICE);
  }

  @Test
  void kvGoesBetweenGpuAndHostWithTheSameTokens() throws Exception {
    assertSplitEqualsAlone(Slabs.DEVICE, Slabs.HOST);
    assertSplitEqualsAlone(Slabs.HOST, Slabs.DEVICE);
  }

  @Test
  void aSlabThatComesToTheGpuWrongIsFoundThereAndSentAgain() throws Exception {
    try (WorkerPair pair =
        pair(Slabs.DEVICE, Slabs.DEVICE, transport -> new CorruptingTransport(transport, 1))) {
      SessionSpec spec = session("a", 50, 3);
      assertThat(pair.split(spec)).as("seed %d", SEED).isEqualTo(pair.alone(again(spec)));
      assertThat(pair.decodeWorker().worker().status().getHandoffs().getCorruptSlabs())
          .isEqualTo(1);
      pair.awaitClosedLedgers();
    }
  }

  @Test
  void aHandOffThatIsCancelledInItsMiddleLeavesNoSlabAndNoBlock() throws Exception {
    try (WorkerPair pair = pair(Slabs.DEVICE, Slabs.DEVICE, UnaryOperator.identity())) {
      for (int i = 0; i < 2; i++) {
        SessionSpec spec = session("s" + i, 60, 8);
        Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
        Events<PrefillRequest, PrefillEvent> prefill = pair.prefill(spec, decode.next());
        if (i == 0) {
          prefill.next();
        }
        decode.cancel();
        prefill.cancel();
        // A step of an emulated GPU takes its time, and is not broken off.
        pair.prefillWorker().awaitClosedLedger(Duration.ofSeconds(10));
        pair.decodeWorker().awaitClosedLedger(Duration.ofSeconds(10));
      }
      SessionSpec spec = session("last", 40, 3);
      assertThat(pair.split(spec)).as("seed %d", SEED).isEqualTo(pair.alone(again(spec)));
    }
  }
}

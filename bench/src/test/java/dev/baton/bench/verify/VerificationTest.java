package dev.baton.bench.verify;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** On the model that ships with the repository, over UCX. */
@Timeout(600)
class VerificationTest {

  private static final EngineOptions ENGINE =
      EngineOptions.of(Path.of("..", "models", "stories260K"));

  @BeforeAll
  static void needsUcx() {
    assumeTrue(
        List.of("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
            .stream()
            .anyMatch(d -> Files.exists(Path.of(d, "libucp.so.0"))),
        "UCX is not installed (expected: libucx0)");
  }

  private static KvTransfer transfer() {
    return KvTransferFactory.open(TransferOptions.on("127.0.0.1"));
  }

  private static VerifyReport run(
      EngineOptions prefill, EngineOptions decode, UnaryOperator<KvSink> landing)
      throws IOException {
    return run(prefill, decode, 200, landing);
  }

  private static VerifyReport run(
      EngineOptions prefill, EngineOptions decode, int longest, UnaryOperator<KvSink> landing)
      throws IOException {
    VerifyPlan plan = new VerifyPlan(prefill, decode, null, longest, 12, 1);
    return Verification.run(plan, VerificationTest::transfer, landing, line -> {});
  }

  @Test
  void equalWorkersAreVerified() throws Exception {
    VerifyReport report = run(ENGINE, ENGINE, sink -> sink);
    assertThat(report.verified()).as(report.text()).isTrue();
    assertThat(report.text()).contains("verified: token ids");
    assertThat(report.split()).allMatch(each -> each.kvBytes() > 0 && each.tokens() > 0);
  }

  @Test
  void workersOfAnotherShapeAreVerified() throws Exception {
    EngineOptions quantized =
        ENGINE.withPrecision(Precision.BFLOAT16).withKvPrecision(KvPrecision.INT8);
    VerifyReport report =
        run(
            quantized.withTensorParallel(2).withBlockTokens(64).withPrefillChunk(48),
            quantized.withTensorParallel(4),
            sink -> sink);
    assertThat(report.verified()).as(report.text()).isTrue();
  }

  /** Float32 weights are taken as bfloat16 there, and the KV's heads are filled up. */
  @Test
  void emulatedGpusAreVerified() throws Exception {
    EngineOptions gpu =
        ENGINE.withDevice(
            DeviceOptions.of(DeviceOptions.Kind.EMULATED_CUDA)
                .withGpus(List.of(0))
                .withGpuMemoryUtilization(0.1));
    VerifyReport report = run(gpu.withTensorParallel(2), gpu, 8, sink -> sink);
    assertThat(report.verified()).as(report.text()).isTrue();
  }

  @Test
  void aByteThatChangesOnTheWayIsFound() throws Exception {
    AtomicInteger slabs = new AtomicInteger();
    VerifyReport report =
        run(
            ENGINE,
            ENGINE,
            sink ->
                (range, slab) -> {
                  if (slabs.incrementAndGet() == 7) {
                    byte first = slab.get(ValueLayout.JAVA_BYTE, 0);
                    slab.set(ValueLayout.JAVA_BYTE, 0, (byte) (first ^ 1));
                  }
                  sink.unpack(range, slab);
                });
    assertThat(report.verified()).isFalse();
    assertThat(report.control().equal()).isTrue();
    assertThat(report.split().getFirst().differences())
        .singleElement()
        .asString()
        .contains("KV of layer 0");
    assertThat(report.text()).contains("NOT verified: the workers compute the same");
  }

  @Test
  void workersThatComputeDifferentlyAreRefused() {
    assertThatThrownBy(
            () ->
                run(
                    ENGINE.withPrecision(Precision.FLOAT32),
                    ENGINE.withPrecision(Precision.BFLOAT16),
                    sink -> sink))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("fingerprint");
  }
}

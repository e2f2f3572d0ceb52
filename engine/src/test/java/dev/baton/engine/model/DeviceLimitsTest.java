package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Quantization;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a GPU has no kernels for is said before anything is loaded, with the way out. */
@DisplayName("A GPU refuses")
class DeviceLimitsTest {

  private static final Path SMALL = Path.of("../models/stories260K");

  @TempDir private Path directory;

  private static void refused(EngineOptions options, String reason) {
    EngineOptions onGpu =
        options
            .withKvCacheBytes(8L << 20)
            .withDevice(
                DeviceOptions.of(DeviceOptions.Kind.EMULATED_CUDA).withGpuMemoryUtilization(0.1));
    assertThatThrownBy(() -> ModelLoader.random(onGpu, 1, line -> {}).close())
        .isInstanceOfSatisfying(
            EngineException.class, e -> assertThat(e.kind()).isEqualTo(Kind.INVALID))
        .hasMessageContaining(reason)
        .hasMessageContaining("--device cpu");
  }

  @Test
  void headsThatItsAttentionDoesNotTake() throws IOException {
    String config = Files.readString(SMALL.resolve("config.json"));
    Path file = directory.resolve("config.json");
    Files.writeString(file, config.replace("\"head_dim\": 8", "\"head_dim\": 192"));

    refused(EngineOptions.of(directory), file + ": head_dim: 192 on this device");
  }

  @Test
  void quantizedWeights() {
    refused(EngineOptions.of(SMALL).withQuantization(Quantization.INT8), "weights: INT8");
  }

  @Test
  void keysAndValuesInFloat32() {
    refused(EngineOptions.of(SMALL).withKvPrecision(KvPrecision.FLOAT32), "KV: FLOAT32");
  }
}

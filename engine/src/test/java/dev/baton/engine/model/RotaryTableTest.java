package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.Device;
import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TinyModel;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RotaryTableTest {

  @TempDir Path directory;

  @Test
  void plainFrequenciesFallGeometrically() throws IOException {
    float[] frequencies = RotaryTable.frequencies(config("null"));
    assertThat(frequencies).hasSize(32).startsWith(1f);
    for (int i = 0; i < 32; i++) {
      assertThat((double) frequencies[i])
          .isCloseTo(Math.pow(10000, -i / 32.0), within(1e-6 * frequencies[i]));
    }
  }

  @Test
  void linearScalingDividesAll() throws IOException {
    float[] plain = RotaryTable.frequencies(config("null"));
    float[] scaled = RotaryTable.frequencies(config("{\"rope_type\": \"linear\", \"factor\": 4}"));
    for (int i = 0; i < 32; i++) {
      assertThat(scaled[i]).isEqualTo(plain[i] / 4);
    }
  }

  @Test
  void llama3ScalingKeepsHighDividesLowAndRampsBetween() throws IOException {
    float[] plain = RotaryTable.frequencies(config("null"));
    float[] scaled =
        RotaryTable.frequencies(
            config(
                "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1,"
                    + " \"high_freq_factor\": 4, \"original_max_position_embeddings\": 1024}"));
    int kept = 0;
    int divided = 0;
    for (int i = 0; i < 32; i++) {
      double wavelength = 2 * Math.PI / plain[i];
      if (wavelength < 256) {
        assertThat(scaled[i]).isEqualTo(plain[i]);
        kept++;
      } else if (wavelength > 1024) {
        assertThat(scaled[i]).isEqualTo(plain[i] / 8);
        divided++;
      } else {
        double smooth = (1024 / wavelength - 1) / 3;
        assertThat((double) scaled[i])
            .isCloseTo((1 - smooth) * plain[i] / 8 + smooth * plain[i], within(1e-6 * plain[i]));
      }
    }
    assertThat(kept).isPositive();
    assertThat(divided).isPositive();
    assertThat(kept + divided).isLessThan(32);
  }

  @Test
  void yarnKeepsHighDividesLowRampsBetweenAndStretchesAll() throws IOException {
    float[] plain = RotaryTable.frequencies(config("null"));
    ModelConfig yarn =
        config(
            "{\"rope_type\": \"yarn\", \"factor\": 8, \"original_max_position_embeddings\": 1024,"
                + " \"attention_factor\": 1.5}");
    float[] scaled = RotaryTable.frequencies(yarn);
    // Pairs that turn 32 times and once in 1024 positions: 5.6 and 17.7, rounded outwards.
    for (int i = 0; i < 32; i++) {
      double kept = 1 - Math.clamp((i - 5) / 13.0, 0, 1);
      assertThat((double) scaled[i])
          .isCloseTo(plain[i] * (kept + (1 - kept) / 8), within(2e-7 * plain[i]));
    }
    try (Device device = ReferenceDevice.open()) {
      RotaryTable table = RotaryTable.compute(device, yarn, 2);
      assertThat(table.cos().segment().getAtIndex(ValueLayout.JAVA_FLOAT, 0)).isEqualTo(1.5f);
      assertThat(table.sin().segment().getAtIndex(ValueLayout.JAVA_FLOAT, 0)).isZero();
    }
  }

  @Test
  void rowsHoldCosineAndSineOfPositionTimesFrequency() throws IOException {
    ModelConfig config = config("null");
    float[] frequencies = RotaryTable.frequencies(config);
    try (Device device = ReferenceDevice.open()) {
      // More rows than are computed at a time.
      RotaryTable table = RotaryTable.compute(device, config, 2050);
      for (int position : new int[] {0, 1, 1023, 1024, 2049}) {
        for (int i = 0; i < 32; i++) {
          float angle = position * frequencies[i];
          long index = position * 32L + i;
          assertThat(table.cos().segment().getAtIndex(ValueLayout.JAVA_FLOAT, index))
              .isEqualTo((float) Math.cos(angle));
          assertThat(table.sin().segment().getAtIndex(ValueLayout.JAVA_FLOAT, index))
              .isEqualTo((float) Math.sin(angle));
        }
      }
      assertThat(table.cos().bytes() + table.sin().bytes())
          .isEqualTo(RotaryTable.bytes(config, 2050));
    }
  }

  private ModelConfig config(String scaling) throws IOException {
    return ConfigReader.read(
        new TinyModel().with("head_dim", 64).with("rope_scaling", scaling).write(directory));
  }
}

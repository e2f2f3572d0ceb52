package dev.baton.engine.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import dev.baton.engine.Formats;
import dev.baton.peer.FingerprintParts;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FingerprintTest {

  @TempDir Path directory;

  @Test
  void isTheSameForTheSameModelHoweverItIsCut() throws IOException {
    String single = of(new TinyModel(), "single");
    assertThat(single).matches("[0-9a-f]{64}\\.[0-9a-f]{42}");
    assertThat(of(new TinyModel().inShards(), "shards")).isEqualTo(single);
    assertThat(of(new TinyModel().with("torch_dtype", "\"float32\""), "declared"))
        .isEqualTo(single);
  }

  @Test
  void changesWithEverythingThatChangesKv() throws IOException {
    String first = of(new TinyModel(), "first");
    assertThat(of(new TinyModel().with("rope_theta", 20000), "theta")).isNotEqualTo(first);
    assertThat(of(new TinyModel().with("rms_norm_eps", 1e-5), "epsilon")).isNotEqualTo(first);
    assertThat(of(new TinyModel().with("num_key_value_heads", 4), "heads")).isNotEqualTo(first);
    assertThat(of(new TinyModel().withDtype(DType.BFLOAT16), "stored")).isNotEqualTo(first);
    String scaled = "{\"rope_type\": \"linear\", \"factor\": 2}";
    assertThat(of(new TinyModel().with("rope_scaling", scaled), "rope")).isNotEqualTo(first);
    assertThat(fingerprint(directory.resolve("first"), DType.BFLOAT16)).isNotEqualTo(first);
    assertThat(fingerprint(directory.resolve("first"), "other", DType.FLOAT32)).isNotEqualTo(first);
    Files.writeString(directory.resolve("first/tokenizer.json"), "{ }");
    assertThat(fingerprint(directory.resolve("first"), DType.FLOAT32)).isNotEqualTo(first);
  }

  @Test
  void refusesATokenizerTooLargeToBeOne() throws IOException {
    of(new TinyModel(), "large");
    Path file = directory.resolve("large/tokenizer.json");
    try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
      sparse.setLength(70L << 30);
    }
    assertThatThrownBy(() -> fingerprint(directory.resolve("large"), DType.FLOAT32))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining(file + ": 75161927680 bytes");
  }

  @Test
  void tellsWhichPartsDiffer() throws IOException {
    String first = of(new TinyModel(), "first");
    Path model = directory.resolve("first");
    assertThat(first.length()).isLessThanOrEqualTo(128);
    assertThat(FingerprintParts.differences(first, first)).isEmpty();
    assertThat(FingerprintParts.differences(first, fingerprint(model, "other", DType.FLOAT32)))
        .containsExactly("numerics");
    assertThat(FingerprintParts.differences(first, fingerprint(model, DType.BFLOAT16)))
        .contains("dtype", "kv_dtype")
        .doesNotContain("numerics", "config", "tokenizer", "weights");
    assertThat(
            FingerprintParts.differences(
                first, of(new TinyModel().with("rope_theta", 20000), "theta")))
        .containsExactly("config");
    Files.writeString(model.resolve("tokenizer.json"), "{ }");
    assertThat(FingerprintParts.differences(first, fingerprint(model, DType.FLOAT32)))
        .containsExactly("tokenizer");
    assertThat(FingerprintParts.differences(first, "f00d")).containsExactly("fingerprint");
  }

  @Test
  void changesWithAWeightAtEitherEndOfALargeTensor() throws IOException {
    String first = of(new TinyModel().with("vocab_size", 4000), "large");
    Path file = directory.resolve("large/model.safetensors");
    byte[] good = Files.readAllBytes(file);
    for (int at : new int[] {good.length - 1, good.length - 2000}) {
      byte[] changed = good.clone();
      changed[at] ^= 1;
      Files.write(file, changed);
      assertThat(fingerprint(directory.resolve("large"), DType.FLOAT32)).isNotEqualTo(first);
    }
    Files.write(file, good);
    assertThat(fingerprint(directory.resolve("large"), DType.FLOAT32)).isEqualTo(first);
  }

  private String of(TinyModel model, String name) throws IOException {
    return fingerprint(model.write(directory.resolve(name)), DType.FLOAT32);
  }

  private static String fingerprint(Path model, DType dtype) {
    return fingerprint(model, "ieee-fma", dtype);
  }

  private static String fingerprint(Path model, String numerics, DType dtype) {
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      Formats formats = Formats.of(dtype);
      return Fingerprint.of(
          ConfigReader.read(model), checkpoint, numerics, formats, formats.kv().toString());
    }
  }
}

package dev.baton.engine.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Supplier;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Headers and indexes that are right in form and wrong in what they say, drawn at random: each ends
 * in tensors that can be read whole, or in a BAD_MODEL that names the file.
 */
class HostileHeaderTest {

  private static final int ROUNDS = 1500;
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path directory;

  private Random random;

  @BeforeEach
  void seed() {
    random = Seed.random("hostile headers");
  }

  @Test
  void headersEndInTensorsOrInAnEngineException() throws IOException {
    Path file = directory.resolve("model.safetensors");
    int read = 0;
    for (int round = 0; round < ROUNDS; round++) {
      byte[] header = header().getBytes(StandardCharsets.UTF_8);
      long length = random.nextInt(8) == 0 ? anyNumber() : header.length;
      byte[] data = new byte[random.nextInt(64)];
      Files.write(file, SafetensorsWriter.file(length, header, data));
      try (Arena arena = Arena.ofConfined()) {
        for (CheckpointTensor each : SafetensorsFile.read(file, arena)) {
          long elements =
              each.shape().stream().mapToLong(Integer::longValue).reduce(1, (a, b) -> a * b);
          assertThat(each.data().toArray(ValueLayout.JAVA_BYTE))
              .hasSize((int) elements * each.dtype().bytes());
        }
        read++;
      } catch (EngineException e) {
        assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL);
        assertThat(e).hasMessageContaining("model.safetensors");
      }
    }
    assertThat(read).as("headers that were right").isBetween(1, ROUNDS - 1);
  }

  @Test
  void indexesEndInTensorsOrInAnEngineException() throws IOException {
    new TinyModel().inShards().write(directory);
    ModelConfig config = ConfigReader.read(directory);
    String good = Files.readString(directory.resolve(INDEX));
    for (int round = 0; round < ROUNDS / 15; round++) {
      Files.writeString(directory.resolve(INDEX), round == 0 ? good : index(good));
      try (Checkpoint checkpoint = Checkpoint.open(directory, config)) {
        assertThat(checkpoint.names()).containsExactlyElementsOf(tensors(config));
      } catch (EngineException e) {
        assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL);
        assertThat(e).hasMessageContaining(directory.toString());
      }
    }
  }

  private static Iterable<String> tensors(ModelConfig config) {
    return config.architecture().tensors(config).keySet();
  }

  /** Tensors one after the other, as a rule; now and then one of them is anywhere, or anything. */
  private String header() {
    List<String> fields = new ArrayList<>();
    long end = 0;
    for (int i = random.nextInt(5); i > 0; i--) {
      String dtype = oneOf("F32", "BF16", "F16");
      int rows = random.nextInt(4);
      int columns = 1 + random.nextInt(3);
      long from = end;
      end += (long) rows * columns * (dtype.equals("F32") ? 4 : 2);
      fields.add(
          "%s: {\"dtype\": %s, \"shape\": %s, \"data_offsets\": %s%s}"
              .formatted(
                  sometimes(() -> "\"" + "a".repeat(random.nextInt(300)) + "\"", "\"w" + i + "\""),
                  sometimes(this::anyValue, "\"" + dtype + "\""),
                  sometimes(this::anyValue, "[%d, %d]".formatted(rows, columns)),
                  sometimes(this::anyValue, "[%d, %d]".formatted(from, end)),
                  sometimes(() -> ", \"more\": " + anyValue(), "")));
    }
    fields.add("\"__metadata__\": " + sometimes(this::anyValue, "{\"format\": \"pt\"}"));
    return sometimes(this::anyValue, "{" + String.join(", ", fields) + "}");
  }

  private String index(String good) {
    return switch (random.nextInt(5)) {
      case 0 ->
          good.replaceFirst(
              "model-0000[12]-of-00002.safetensors",
              oneOf("../x.safetensors", "x", "/", "model-3.safetensors", "config.json"));
      case 1 ->
          good.replaceFirst(
              "\"model[^\"]*weight\"", "\"" + oneOf("", "x", "model", "lm_head.weight") + "\"");
      case 2 -> good.replaceFirst("\"model-0000[12][^\"]*\"", anyJson());
      case 3 -> "{\"weight_map\": " + anyJson() + "}";
      default -> good.substring(0, random.nextInt(good.length()));
    };
  }

  private String anyJson() {
    return anyValue().replace("\\", "");
  }

  private String sometimes(Supplier<String> odd, String usual) {
    return random.nextInt(16) == 0 ? odd.get() : usual;
  }

  private String anyValue() {
    return switch (random.nextInt(9)) {
      case 0 -> "null";
      case 1 -> String.valueOf(anyNumber());
      case 2 -> oneOf("1e400", "-0", "1.5", "99999999999999999999", "0x10", "NaN");
      case 3 -> oneOf("\"F64\"", "\"I8\"", "\"\"", "\"\\u0000\"", "\"\\ud800\"");
      case 4 -> "[]";
      case 5 -> "[%d, %d]".formatted(anyNumber(), anyNumber());
      case 6 -> "[%s]".formatted(anyValue());
      case 7 -> "{\"a\": %s}".formatted(anyValue());
      default -> "[".repeat(random.nextInt(2000));
    };
  }

  private long anyNumber() {
    return switch (random.nextInt(4)) {
      case 0 -> random.nextLong();
      case 1 -> random.nextInt();
      case 2 -> random.nextInt(-3, 40);
      default -> 1L << random.nextInt(64);
    };
  }

  private String oneOf(String... values) {
    return values[random.nextInt(values.length)];
  }
}

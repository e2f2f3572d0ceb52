package dev.baton.engine.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SafetensorsFileTest {

  @TempDir Path directory;

  @Test
  void readsTensorsWithNameDtypeShapeAndData() throws IOException {
    byte[] file =
        new SafetensorsWriter()
            .add("matrix", List.of(2, 3), 1, 2, 3, 4, 5, 6)
            .add("half", DType.FLOAT16, List.of(2), new byte[4])
            .add("scalar", DType.BFLOAT16, List.of(), new byte[] {7, 8})
            .add("nothing", DType.FLOAT32, List.of(0, 4), new byte[0])
            .toBytes();
    try (Arena arena = Arena.ofConfined()) {
      List<CheckpointTensor> tensors = read(file, arena);
      assertThat(tensors)
          .extracting(each -> each.name() + " " + each.dtype() + " " + each.shape())
          .containsExactlyInAnyOrder(
              "matrix FLOAT32 [2, 3]",
              "half FLOAT16 [2]",
              "scalar BFLOAT16 []",
              "nothing FLOAT32 [0, 4]");
      assertThat(tensors.getFirst().data().toArray(FLOATS)).containsExactly(1, 2, 3, 4, 5, 6);
    }
  }

  private static final ValueLayout.OfFloat FLOATS = ValueLayout.JAVA_FLOAT_UNALIGNED;

  @Test
  void acceptsMetadataAndSpacesAfterTheHeader() throws IOException {
    String header =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"
            + "   ";
    try (Arena arena = Arena.ofConfined()) {
      assertThat(read(SafetensorsWriter.file(header, new byte[4]), arena)).hasSize(1);
    }
  }

  @ParameterizedTest(name = "length {0}")
  @ValueSource(longs = {0, 1, 3, 1L << 31, (32 << 20) + 1, Long.MAX_VALUE, -1, Long.MIN_VALUE})
  void refusesAHeaderLengthThatCannotBe(long length) {
    refuses(SafetensorsWriter.file(length, new byte[] {'{', '}'}, new byte[0]), "header length");
  }

  @ParameterizedTest(name = "{0}")
  @ValueSource(strings = {"nonsense", "[]", "{\"a\":", "{} {}", "\"a\"", "{\"a\":1}", "{a:1}"})
  void refusesAHeaderThatIsNotAnObjectOfTensors(String header) {
    refuses(SafetensorsWriter.file(header, new byte[0]), "header");
  }

  @ParameterizedTest(name = "{0}")
  @CsvSource(
      delimiter = '|',
      value = {
        "\"shape\":[1],\"data_offsets\":[0,4]                                           | dtype:"
            + " missing",
        "\"dtype\":\"F32\",\"data_offsets\":[0,4]                                       | shape",
        "\"dtype\":\"F32\",\"shape\":[1]                                                |"
            + " data_offsets",
        "\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]                         | F32, BF16"
            + " or F16",
        "\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]                               | a string",
        "\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]                        | shape",
        "\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]                       | shape",
        "\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]                     | shape",
        "\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]         | 8"
            + " dimensions",
        "\"dtype\":\"F32\",\"shape\":[99999999999],\"data_offsets\":[0,4]               | shape",
        "\"dtype\":\"F32\",\"shape\":[2147483647,2147483647,2147483647],\"data_offsets\":[0,4] |"
            + " more than the file has",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]                        |"
            + " data_offsets",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]                         | begin <="
            + " end",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]                           | [begin,"
            + " end]",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,3]                         | 4 bytes"
            + " for shape [1]",
        "\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]                        |"
            + " data_offsets",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]       |"
            + " the bytes of data in the file",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]      |"
            + " data_offsets",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]                         | 4, the"
            + " tensors' end",
        "\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]                         | no holes",
      })
  void refusesATensorWhoseEntryIsWrong(String entry, String reason) {
    refuses(SafetensorsWriter.file("{\"w\":{" + entry + "}}", new byte[8]), reason);
  }

  @Test
  void refusesTensorsThatOverlap() {
    String header =
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}";
    refuses(SafetensorsWriter.file(header, new byte[8]), "no overlaps");
  }

  @Test
  void refusesATensorNamedTwice() {
    String tensor = "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}";
    refuses(SafetensorsWriter.file("{" + tensor + "," + tensor + "}", new byte[4]), "not JSON");
  }

  @Test
  void refusesAFileTooShortForAHeader() {
    refuses(new byte[0], "10 bytes");
    refuses(new byte[9], "10 bytes");
  }

  @Test
  void refusesEndlessNesting() {
    refuses(SafetensorsWriter.file("{\"a\":" + "[".repeat(100_000), new byte[0]), "not JSON");
  }

  @Test
  void refusesADirectoryInPlaceOfAFile() {
    try (Arena arena = Arena.ofConfined()) {
      assertThatThrownBy(() -> SafetensorsFile.read(directory, arena))
          .isInstanceOf(EngineException.class)
          .hasMessageContaining("no regular file");
    }
  }

  @Test
  void mutatedFilesEndInTensorsOrInAnEngineException() throws IOException {
    Random random = Seed.random("safetensors mutations");
    byte[] good =
        new SafetensorsWriter()
            .add("model.norm.weight", List.of(4), 1, 2, 3, 4)
            .add("model.embed_tokens.weight", List.of(2, 2), 1, 2, 3, 4)
            .add("b", DType.BFLOAT16, List.of(3), new byte[6])
            .toBytes();
    int refused = 0;
    for (int round = 0; round < 3000; round++) {
      byte[] bad = mutate(good, random);
      try (Arena arena = Arena.ofConfined()) {
        for (CheckpointTensor each : read(bad, arena)) {
          assertThat(each.data().toArray(ValueLayout.JAVA_BYTE).length % 2).isZero();
        }
      } catch (EngineException e) {
        assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL);
        assertThat(e).hasMessageContaining("fuzz.safetensors");
        refused++;
      }
    }
    assertThat(refused).isGreaterThan(1000);
  }

  private static byte[] mutate(byte[] good, Random random) {
    byte[] bad = good.clone();
    for (int i = random.nextInt(4); i >= 0; i--) {
      int at = random.nextInt(bad.length);
      switch (random.nextInt(4)) {
        case 0 -> bad[at] = (byte) random.nextInt(256);
        case 1 ->
            bad[at] =
                "0123456789-[]{}\",:eE.".getBytes(StandardCharsets.US_ASCII)[random.nextInt(21)];
        case 2 -> bad = java.util.Arrays.copyOf(bad, at + 1);
        default -> bad[random.nextInt(Math.min(9, bad.length))] ^= (byte) (1 << random.nextInt(8));
      }
    }
    return bad;
  }

  private List<CheckpointTensor> read(byte[] bytes, Arena arena) throws IOException {
    Path file = directory.resolve("fuzz.safetensors");
    Files.write(file, bytes);
    return SafetensorsFile.read(file, arena);
  }

  private void refuses(byte[] bytes, String reason) {
    try (Arena arena = Arena.ofConfined()) {
      assertThatThrownBy(() -> read(bytes, arena))
          .isInstanceOfSatisfying(
              EngineException.class,
              e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.BAD_MODEL))
          .hasMessageContaining("fuzz.safetensors")
          .hasMessageContaining(reason.strip());
    }
  }
}

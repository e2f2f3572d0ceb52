package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Reads one safetensors file: 8 bytes of header length, little-endian; a JSON object {@code {name:
 * {dtype, shape, data_offsets: [begin, end)}}}, offsets counted from the header's end; then the
 * data.
 *
 * <p>As the format demands, the tensors must cover the data without holes or overlaps. The file is
 * mapped, not read; nothing in it is believed before it is checked.
 */
final class SafetensorsFile {

  /**
   * Bounds the memory that a hostile header can take. The format allows 100 MB; headers of the
   * largest models in use stay under a tenth of this.
   */
  private static final long MAX_HEADER_BYTES = 32 << 20;

  private static final int MAX_DIMENSIONS = 8;
  private static final String METADATA = "__metadata__";
  private static final ValueLayout.OfLong LENGTH =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private SafetensorsFile() {}

  /**
   * Tensors of the file in order of their data.
   *
   * @param arena keeps the mapping
   */
  static List<CheckpointTensor> read(Path file, Arena arena) {
    MemorySegment mapped = map(file, arena);
    long headerBytes = mapped.get(LENGTH, 0);
    if (headerBytes < 2
        || headerBytes > MAX_HEADER_BYTES
        || headerBytes > mapped.byteSize() - Long.BYTES) {
      throw bad(
          file,
          "header length: %s (expected: 2 to %d)"
              .formatted(
                  Long.toUnsignedString(headerBytes),
                  Math.min(MAX_HEADER_BYTES, mapped.byteSize() - Long.BYTES)));
    }
    byte[] header = mapped.asSlice(Long.BYTES, headerBytes).toArray(ValueLayout.JAVA_BYTE);
    JsonObject json = JsonObject.parse(file + ": header", header);
    MemorySegment data = mapped.asSlice(Long.BYTES + headerBytes);
    List<Entry> entries = new ArrayList<>();
    for (String name : json.names()) {
      if (!name.equals(METADATA)) {
        entries.add(entry(json.object(name), name, data.byteSize()));
      }
    }
    entries.sort(
        Comparator.comparingLong(Entry::begin)
            .thenComparingLong(Entry::end)
            .thenComparing(Entry::name));
    requireCovered(file, entries, data.byteSize());
    return entries.stream()
        .map(
            each ->
                new CheckpointTensor(
                    file.toString(),
                    each.name,
                    each.dtype,
                    each.shape,
                    data.asSlice(each.begin, each.end - each.begin)))
        .toList();
  }

  private static MemorySegment map(Path file, Arena arena) {
    if (!Files.isRegularFile(file)) {
      // Opening a pipe would wait for its writer.
      throw bad(file, "no regular file (expected: a safetensors file, or a link to one)");
    }
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      long size = channel.size();
      if (size < Long.BYTES + 2) {
        throw bad(file, "%d bytes (expected: a safetensors file of >= 10 bytes)".formatted(size));
      }
      return channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
    } catch (IOException e) {
      throw new EngineException(
          EngineException.Kind.BAD_MODEL, "%s: cannot be read: %s".formatted(file, e), e);
    }
  }

  private record Entry(String name, DType dtype, List<Integer> shape, long begin, long end) {}

  private static Entry entry(JsonObject json, String name, long dataBytes) {
    DType dtype =
        switch (json.string("dtype")) {
          case "F32" -> DType.FLOAT32;
          case "BF16" -> DType.BFLOAT16;
          case "F16" -> DType.FLOAT16;
          default -> throw json.bad("dtype", "F32, BF16 or F16");
        };
    List<Integer> shape = json.integers("shape", 0, Integer.MAX_VALUE);
    if (!json.has("shape") || shape.size() > MAX_DIMENSIONS) {
      throw json.bad("shape", "at most %d dimensions".formatted(MAX_DIMENSIONS));
    }
    List<Long> offsets = json.longs("data_offsets", 0, Long.MAX_VALUE);
    if (offsets.size() != 2 || offsets.get(0) > offsets.get(1) || offsets.get(1) > dataBytes) {
      throw json.bad(
          "data_offsets",
          "[begin, end], begin <= end <= %d, the bytes of data in the file".formatted(dataBytes));
    }
    long bytes = bytes(shape, dtype, dataBytes);
    if (offsets.get(1) - offsets.get(0) != bytes) {
      throw json.bad(
          "data_offsets",
          bytes > dataBytes
              ? "more than the file has, for shape " + shape
              : "%d bytes for shape %s of %s".formatted(bytes, shape, dtype));
    }
    return new Entry(name, dtype, shape, offsets.get(0), offsets.get(1));
  }

  /** Bytes of a tensor; any number above {@code most} when there are more. */
  private static long bytes(List<Integer> shape, DType dtype, long most) {
    if (shape.contains(0)) {
      return 0;
    }
    long bytes = dtype.bytes();
    for (int dimension : shape) {
      if (bytes > most / dimension) {
        return Long.MAX_VALUE;
      }
      bytes *= dimension;
    }
    return bytes;
  }

  private static void requireCovered(Path file, List<Entry> entries, long dataBytes) {
    long covered = 0;
    for (Entry each : entries) {
      if (each.begin != covered) {
        throw bad(
            file,
            "%s: data_offsets: begins at %d (expected: %d; no holes, no overlaps)"
                .formatted(each.name, each.begin, covered));
      }
      covered = each.end;
    }
    if (covered != dataBytes) {
      throw bad(
          file, "data: %d bytes (expected: %d, the tensors' end)".formatted(dataBytes, covered));
    }
  }

  private static EngineException bad(Path file, String message) {
    return new EngineException(EngineException.Kind.BAD_MODEL, file + ": " + message);
  }
}

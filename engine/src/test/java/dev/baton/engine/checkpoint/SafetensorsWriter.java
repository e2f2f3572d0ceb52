package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.StringJoiner;
import java.util.stream.Collectors;

/** Writes safetensors files for tests: right ones from tensors, or any header with any data. */
public final class SafetensorsWriter {

  private final StringJoiner entries = new StringJoiner(",");
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  public SafetensorsWriter add(String name, DType dtype, List<Integer> shape, byte[] bytes) {
    String type =
        switch (dtype) {
          case FLOAT32 -> "F32";
          case BFLOAT16 -> "BF16";
          case FLOAT16 -> "F16";
          case INT8 -> "I8";
          case INT32 -> "I32";
        };
    String dimensions =
        shape.stream().map(String::valueOf).collect(Collectors.joining(",", "[", "]"));
    entries.add(
        "\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%d,%d]}"
            .formatted(name, type, dimensions, data.size(), data.size() + bytes.length));
    data.writeBytes(bytes);
    return this;
  }

  public SafetensorsWriter add(String name, List<Integer> shape, float... values) {
    return add(name, DType.FLOAT32, shape, bytes(values));
  }

  byte[] toBytes() {
    return file("{" + entries + "}", data.toByteArray());
  }

  public void write(Path file) throws IOException {
    Files.write(file, toBytes());
  }

  /** A file whose length field is right. */
  static byte[] file(String header, byte[] data) {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    return file(text.length, text, data);
  }

  static byte[] file(long headerLength, byte[] header, byte[] data) {
    return ByteBuffer.allocate(Long.BYTES + header.length + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(headerLength)
        .put(header)
        .put(data)
        .array();
  }

  static byte[] bytes(float... values) {
    ByteBuffer buffer =
        ByteBuffer.allocate(values.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      buffer.putFloat(value);
    }
    return buffer.array();
  }
}

package dev.baton.engine.checkpoint;

import dev.baton.device.DType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;

/** Writes the directory of a Llama with small random weights, of any shape, for tests. */
public final class TinyModel {

  private final Map<String, Object> config = new TreeMap<>();
  private final Map<String, List<Integer>> changed = new TreeMap<>();
  private DType dtype = DType.FLOAT32;
  private boolean sharded;

  public TinyModel() {
    config.put("architectures", "[\"LlamaForCausalLM\"]");
    config.put("vocab_size", 40);
    config.put("hidden_size", 32);
    config.put("intermediate_size", 44);
    config.put("num_hidden_layers", 2);
    config.put("num_attention_heads", 4);
    config.put("num_key_value_heads", 2);
    config.put("max_position_embeddings", 64);
    config.put("tie_word_embeddings", false);
    config.put("eos_token_id", 2);
  }

  /** Sets a field of config.json; a string is taken as JSON. */
  public TinyModel with(String field, Object value) {
    config.put(field, value);
    return this;
  }

  public TinyModel withDtype(DType value) {
    dtype = value;
    return this;
  }

  /** Adds a tensor or gives one another shape; an empty shape leaves it out. */
  public TinyModel withTensor(String name, List<Integer> shape) {
    changed.put(name, shape);
    return this;
  }

  /** Writes two shards and an index. */
  public TinyModel inShards() {
    sharded = true;
    return this;
  }

  public Path write(Path directory) throws IOException {
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("config.json"), json());
    Files.writeString(directory.resolve("tokenizer.json"), "{}");
    ModelConfig read = ConfigReader.read(directory);
    Map<String, List<Integer>> tensors = new TreeMap<>(read.architecture().tensors(read));
    changed.forEach(
        (name, shape) -> {
          if (shape.isEmpty()) {
            tensors.remove(name);
          } else {
            tensors.put(name, shape);
          }
        });
    if (!sharded) {
      writeTensors(directory.resolve("model.safetensors"), tensors);
      return directory;
    }
    Map<String, Map<String, List<Integer>>> files = new TreeMap<>();
    StringBuilder index = new StringBuilder("{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    String comma = "";
    for (Map.Entry<String, List<Integer>> each : tensors.entrySet()) {
      String file =
          each.getKey().contains(".1.")
              ? "model-00002-of-00002.safetensors"
              : "model-00001-of-00002.safetensors";
      files.computeIfAbsent(file, any -> new TreeMap<>()).put(each.getKey(), each.getValue());
      index.append(comma).append("\"%s\":\"%s\"".formatted(each.getKey(), file));
      comma = ",";
    }
    Files.writeString(directory.resolve("model.safetensors.index.json"), index + "}}");
    for (Map.Entry<String, Map<String, List<Integer>>> each : files.entrySet()) {
      writeTensors(directory.resolve(each.getKey()), each.getValue());
    }
    return directory;
  }

  public String json() {
    StringBuilder json = new StringBuilder("{");
    config.forEach(
        (name, value) ->
            json.append(json.length() > 1 ? "," : "").append("\"%s\":%s".formatted(name, value)));
    return json + "}";
  }

  private void writeTensors(Path file, Map<String, List<Integer>> tensors) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (Map.Entry<String, List<Integer>> each : tensors.entrySet()) {
      writer.add(each.getKey(), dtype, each.getValue(), values(each.getKey(), each.getValue()));
    }
    writer.write(file);
  }

  /** The same for a name, whatever the file; norms near 1. */
  private byte[] values(String name, List<Integer> shape) {
    Random random = new Random(name.hashCode());
    int count = shape.stream().reduce(1, (a, b) -> a * b);
    ByteBuffer bytes = ByteBuffer.allocate(count * dtype.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      float value = (float) random.nextGaussian() * 0.2f + (name.contains("norm") ? 1 : 0);
      switch (dtype) {
        case FLOAT32 -> bytes.putFloat(value);
        case BFLOAT16 -> bytes.putShort((short) (Float.floatToRawIntBits(value) >>> 16));
        case FLOAT16 -> bytes.putShort(Float.floatToFloat16(value));
        case INT8, INT32 ->
            throw new IllegalArgumentException("dtype: %s (expected: a float)".formatted(dtype));
      }
    }
    return bytes.array();
  }
}

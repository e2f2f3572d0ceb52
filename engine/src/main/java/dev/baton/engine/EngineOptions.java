package dev.baton.engine;

import java.nio.file.Path;

/**
 * How to load and run one model replica. {@link #of} gives the defaults; the {@code with} methods
 * change one value.
 *
 * @param modelDirectory a Hugging Face model directory
 * @param servedName the model's public name
 * @param precision dtype of weights and KV
 * @param tensorParallel ranks: 1, 2, 4 or 8
 * @param blockTokens token positions of a KV block, a positive multiple of 16
 * @param kvCacheBytes bytes for KV over all ranks; 0 = chosen from free memory
 * @param stepTokens most tokens of one step, decode and prefill together
 * @param prefillChunk most tokens of one sequence in one step
 * @param maxSessions most sessions running at a time
 * @param contextLength most tokens of a session; 0 = the model's
 */
public record EngineOptions(
    Path modelDirectory,
    String servedName,
    Precision precision,
    int tensorParallel,
    int blockTokens,
    long kvCacheBytes,
    int stepTokens,
    int prefillChunk,
    int maxSessions,
    int contextLength) {

  public EngineOptions {
    if (tensorParallel != 1 && tensorParallel != 2 && tensorParallel != 4 && tensorParallel != 8) {
      throw new IllegalArgumentException(
          "tensorParallel: %d (expected: 1, 2, 4 or 8)".formatted(tensorParallel));
    }
    if (blockTokens <= 0 || blockTokens % 16 != 0) {
      throw new IllegalArgumentException(
          "blockTokens: %d (expected: a positive multiple of 16)".formatted(blockTokens));
    }
    requireAtLeast("kvCacheBytes", kvCacheBytes, 0);
    requireAtLeast("stepTokens", stepTokens, 1);
    requireAtLeast("prefillChunk", prefillChunk, 1);
    requireAtLeast("maxSessions", maxSessions, 1);
    requireAtLeast("contextLength", contextLength, 0);
  }

  private static void requireAtLeast(String name, long value, long least) {
    if (value < least) {
      throw new IllegalArgumentException("%s: %d (expected: >= %d)".formatted(name, value, least));
    }
  }

  public static EngineOptions of(Path modelDirectory) {
    Path name = modelDirectory.toAbsolutePath().normalize().getFileName();
    return new EngineOptions(
        modelDirectory,
        name == null ? "model" : name.toString(),
        Precision.AUTO,
        1,
        32,
        0,
        512,
        256,
        64,
        0);
  }

  public EngineOptions withServedName(String name) {
    return new EngineOptions(
        modelDirectory,
        name,
        precision,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withPrecision(Precision value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        value,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withTensorParallel(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        value,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withBlockTokens(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        value,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withKvCacheBytes(long value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        blockTokens,
        value,
        stepTokens,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withStepTokens(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        value,
        prefillChunk,
        maxSessions,
        contextLength);
  }

  public EngineOptions withPrefillChunk(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        value,
        maxSessions,
        contextLength);
  }

  public EngineOptions withMaxSessions(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        value,
        contextLength);
  }

  public EngineOptions withContextLength(int value) {
    return new EngineOptions(
        modelDirectory,
        servedName,
        precision,
        tensorParallel,
        blockTokens,
        kvCacheBytes,
        stepTokens,
        prefillChunk,
        maxSessions,
        value);
  }
}

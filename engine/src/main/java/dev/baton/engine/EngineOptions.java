package dev.baton.engine;

import dev.baton.device.KvShape;
import java.nio.file.Path;
import java.util.function.Consumer;

/**
 * How to load and run one model replica. {@link #of} gives the defaults, some of them from the
 * machine ({@link MachineSizes}); the {@code with} methods change one value.
 *
 * @param modelDirectory a Hugging Face model directory
 * @param servedName the model's public name
 * @param precision dtype of weights, and of KV unless kvPrecision says another
 * @param quantization what becomes of matrices at load
 * @param kvPrecision dtype of keys and values
 * @param tensorParallel ranks: 1, 2, 4 or 8
 * @param blockTokens token positions of a KV block, a positive multiple of 32
 * @param kvCacheBytes bytes for KV over all ranks; 0 = chosen from free memory
 * @param stepTokens most tokens of one step, decode and prefill together
 * @param prefillChunk most tokens of one sequence in one step; 0 = what the step has left, shared
 *     between prompts
 * @param maxStepMillis what a step should take at most while sessions decode, by which prefill
 *     chunks are cut; 0 = no bound
 * @param maxSessions most sessions running at a time
 * @param contextLength most tokens of a session; 0 = the model's, or as many as fit memory
 * @param swapBytes host memory for the KV of preempted sessions; 0 = none, {@link #AUTO} = chosen
 *     from free memory
 * @param checkLedger recounts every block after every step, and at the end; by default what the
 *     system property {@link #CHECK_LEDGER} says
 * @param device on what it runs
 */
public record EngineOptions(
    Path modelDirectory,
    String servedName,
    Precision precision,
    Quantization quantization,
    KvPrecision kvPrecision,
    int tensorParallel,
    int blockTokens,
    long kvCacheBytes,
    int stepTokens,
    int prefillChunk,
    int maxStepMillis,
    int maxSessions,
    int contextLength,
    long swapBytes,
    boolean checkLedger,
    DeviceOptions device) {

  /** True where every step is to be checked, as in tests. */
  public static final String CHECK_LEDGER = "baton.ledger.check";

  /** Of {@code swapBytes}: chosen from free memory. */
  public static final long AUTO = -1;

  public EngineOptions {
    if (tensorParallel != 1 && tensorParallel != 2 && tensorParallel != 4 && tensorParallel != 8) {
      throw new IllegalArgumentException(
          "tensorParallel: %d (expected: 1, 2, 4 or 8)".formatted(tensorParallel));
    }
    if (blockTokens <= 0 || blockTokens % KvShape.TILE_TOKENS != 0) {
      throw new IllegalArgumentException(
          "blockTokens: %d (expected: a positive multiple of %d)"
              .formatted(blockTokens, KvShape.TILE_TOKENS));
    }
    requireAtLeast("kvCacheBytes", kvCacheBytes, 0);
    requireAtLeast("stepTokens", stepTokens, 1);
    requireAtLeast("prefillChunk", prefillChunk, 0);
    requireAtLeast("maxStepMillis", maxStepMillis, 0);
    requireAtLeast("maxSessions", maxSessions, 1);
    requireAtLeast("contextLength", contextLength, 0);
    requireAtLeast("swapBytes", swapBytes, AUTO);
  }

  private static void requireAtLeast(String name, long value, long least) {
    if (value < least) {
      throw new IllegalArgumentException("%s: %d (expected: >= %d)".formatted(name, value, least));
    }
  }

  public static EngineOptions of(Path modelDirectory) {
    Path name = modelDirectory.toAbsolutePath().normalize().getFileName();
    return new Draft(modelDirectory, name == null ? "model" : name.toString()).options();
  }

  public EngineOptions withServedName(String name) {
    return with(draft -> draft.servedName = name);
  }

  public EngineOptions withPrecision(Precision value) {
    return with(draft -> draft.precision = value);
  }

  public EngineOptions withQuantization(Quantization value) {
    return with(draft -> draft.quantization = value);
  }

  public EngineOptions withKvPrecision(KvPrecision value) {
    return with(draft -> draft.kvPrecision = value);
  }

  public EngineOptions withTensorParallel(int value) {
    return with(draft -> draft.tensorParallel = value);
  }

  public EngineOptions withBlockTokens(int value) {
    return with(draft -> draft.blockTokens = value);
  }

  public EngineOptions withKvCacheBytes(long value) {
    return with(draft -> draft.kvCacheBytes = value);
  }

  public EngineOptions withStepTokens(int value) {
    return with(draft -> draft.stepTokens = value);
  }

  public EngineOptions withPrefillChunk(int value) {
    return with(draft -> draft.prefillChunk = value);
  }

  public EngineOptions withMaxSessions(int value) {
    return with(draft -> draft.maxSessions = value);
  }

  public EngineOptions withMaxStepMillis(int value) {
    return with(draft -> draft.maxStepMillis = value);
  }

  public EngineOptions withSwapBytes(long value) {
    return with(draft -> draft.swapBytes = value);
  }

  public EngineOptions withContextLength(int value) {
    return with(draft -> draft.contextLength = value);
  }

  public EngineOptions withCheckLedger(boolean value) {
    return with(draft -> draft.checkLedger = value);
  }

  public EngineOptions withDevice(DeviceOptions value) {
    return with(draft -> draft.device = value);
  }

  private EngineOptions with(Consumer<Draft> change) {
    Draft draft = new Draft(modelDirectory, servedName);
    draft.precision = precision;
    draft.quantization = quantization;
    draft.kvPrecision = kvPrecision;
    draft.tensorParallel = tensorParallel;
    draft.blockTokens = blockTokens;
    draft.kvCacheBytes = kvCacheBytes;
    draft.stepTokens = stepTokens;
    draft.prefillChunk = prefillChunk;
    draft.maxStepMillis = maxStepMillis;
    draft.maxSessions = maxSessions;
    draft.contextLength = contextLength;
    draft.swapBytes = swapBytes;
    draft.checkLedger = checkLedger;
    draft.device = device;
    change.accept(draft);
    return draft.options();
  }

  /** The options while one of them changes; begins with the defaults. */
  private static final class Draft {
    final Path modelDirectory;
    String servedName;
    Precision precision = Precision.AUTO;
    Quantization quantization = Quantization.NONE;
    KvPrecision kvPrecision = KvPrecision.AUTO;
    int tensorParallel = 1;
    int blockTokens = MachineSizes.HERE.blockTokens();
    long kvCacheBytes = 0;
    int stepTokens = MachineSizes.HERE.stepTokens();
    int prefillChunk = 0;
    int maxStepMillis = 200;
    int maxSessions = MachineSizes.HERE.maxSessions();
    int contextLength = 0;
    long swapBytes = AUTO;
    boolean checkLedger = Boolean.getBoolean(CHECK_LEDGER);
    DeviceOptions device = DeviceOptions.CPU;

    Draft(Path modelDirectory, String servedName) {
      this.modelDirectory = modelDirectory;
      this.servedName = servedName;
    }

    EngineOptions options() {
      return new EngineOptions(
          modelDirectory,
          servedName,
          precision,
          quantization,
          kvPrecision,
          tensorParallel,
          blockTokens,
          kvCacheBytes,
          stepTokens,
          prefillChunk,
          maxStepMillis,
          maxSessions,
          contextLength,
          swapBytes,
          checkLedger,
          device);
    }
  }
}

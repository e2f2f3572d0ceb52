package dev.baton.bench.load;

import dev.baton.bench.ModelMemory;
import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.Checkpoint;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * {@code baton bench load}: reads the checkpoint's files once, so that the disk does not count,
 * then loads it again and again through the production engine.
 */
public final class LoadBench {

  private static final int READ_BYTES = 1 << 22;

  private LoadBench() {}

  /**
   * Runs a plan on the calling thread. Throws EngineException when the model cannot be loaded.
   *
   * @param progress hears what is being done; called on the calling thread
   */
  public static LoadReport run(LoadPlan plan, Consumer<String> progress) throws IOException {
    ModelConfig config = ConfigReader.read(plan.model());
    DType stored = stored(plan, config);
    progress.accept("reading the files");
    long fileBytes = readFiles(plan.model());
    EngineOptions options = options(plan, config, stored);
    Formats formats = Formats.choose(options, stored);
    List<LoadReport.Round> rounds = new ArrayList<>();
    for (int round = 1; round <= plan.repeats(); round++) {
      progress.accept("load %d of %d".formatted(round, plan.repeats()));
      rounds.add(load(options, progress));
    }
    return new LoadReport(
        options.servedName(),
        formats,
        fileBytes,
        ModelMemory.weightBytes(config, formats),
        options.kvCacheBytes(),
        rounds);
  }

  private static DType stored(LoadPlan plan, ModelConfig config) {
    DType declared = config.dtype();
    if (declared != null) {
      return declared;
    }
    try (Checkpoint checkpoint = Checkpoint.open(plan.model(), config)) {
      return checkpoint.get(TensorNames.EMBEDDING).dtype();
    }
  }

  private static EngineOptions options(LoadPlan plan, ModelConfig config, DType stored) {
    int context = plan.contextLength() == 0 ? config.contextLength() : plan.contextLength();
    EngineOptions options =
        plan.format()
            .in(EngineOptions.of(plan.model()))
            .withTensorParallel(plan.tensorParallel())
            .withContextLength(context);
    long blocks = Math.ceilDiv(context, options.blockTokens());
    long bytes = plan.kvCacheBytes();
    return options.withKvCacheBytes(
        bytes == 0 ? ModelMemory.kvBytes(config, stored, options, blocks) : bytes);
  }

  private static long readFiles(Path directory) throws IOException {
    List<Path> files;
    try (Stream<Path> all = Files.list(directory)) {
      files = all.filter(file -> file.toString().endsWith(".safetensors")).sorted().toList();
    }
    long bytes = 0;
    ByteBuffer buffer = ByteBuffer.allocateDirect(READ_BYTES);
    for (Path file : files) {
      try (FileChannel channel = FileChannel.open(file)) {
        for (int read = 0; read >= 0; read = channel.read(buffer.clear())) {
          bytes += read;
        }
      }
    }
    return bytes;
  }

  private static LoadReport.Round load(EngineOptions options, Consumer<String> progress) {
    System.gc();
    try (ResidentMemory memory = new ResidentMemory()) {
      long before = ResidentMemory.anonymous();
      long begun = System.nanoTime();
      try (Engine engine = Engine.load(options, progress)) {
        double seconds = (System.nanoTime() - begun) / 1e9;
        long after = ResidentMemory.anonymous();
        return new LoadReport.Round(
            seconds, before, Math.max(after, memory.anonymousPeak()), after, ResidentMemory.peak());
      }
    }
  }
}

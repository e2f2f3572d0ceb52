package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.device.cuda.CudaDevice;
import dev.baton.device.cuda.CudaOptions;
import dev.baton.device.host.MachineMemory;
import dev.baton.engine.DeviceOptions;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Formats;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.checkpoint.Checkpoint;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.Fingerprint;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.RandomTensors;
import dev.baton.engine.checkpoint.TensorNames;
import dev.baton.engine.checkpoint.TensorSource;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Brings a model directory onto a device: reads and checks config and weights, plans memory, packs
 * each rank's shard, starts the ranks. Any failure is one EngineException, and frees what was
 * taken.
 */
public final class ModelLoader {

  /** In fingerprints of workers that take KV of any arithmetic and dtype. */
  private static final String MIXED = "mixed";

  private static final Logger LOG = LoggerFactory.getLogger(ModelLoader.class);

  /** A load is long when it has gone on for this time; then each tenth of the layers is told. */
  private static final long QUIET_NANOS = 1_000_000_000L;

  private final EngineOptions options;
  private final Consumer<String> progress;
  private final Device device;
  private final long available;
  private final long quietNanos;

  private ModelLoader(
      EngineOptions options,
      Consumer<String> progress,
      Device device,
      long available,
      long quietNanos) {
    this.options = options;
    this.progress = progress;
    this.device = device;
    this.available = available;
    this.quietNanos = quietNanos;
  }

  /**
   * Opens the device and loads onto it.
   *
   * @param progress hears a line now and then when loading takes long; called on the calling thread
   */
  public static ModelRunner load(EngineOptions options, Consumer<String> progress) {
    return load(options, progress, openDevice(options));
  }

  private static Device openDevice(EngineOptions options) {
    DeviceOptions chosen = options.device();
    try {
      return switch (chosen.kind()) {
        case CPU -> CpuDevice.open();
        case CUDA -> openGpus(chosen, false, options.tensorParallel());
        case EMULATED_CUDA -> openGpus(chosen, true, options.tensorParallel());
      };
    } catch (IllegalArgumentException e) {
      // A setting of the device, such as an instruction set that this processor does not have.
      throw new EngineException(EngineException.Kind.INVALID, String.valueOf(e.getMessage()), e);
    } catch (RuntimeException e) {
      throw new EngineException(EngineException.Kind.INTERNAL, "device: cannot be opened: " + e, e);
    }
  }

  private static Device openGpus(DeviceOptions chosen, boolean emulated, int ranks) {
    return CudaDevice.open(
        new CudaOptions(
            emulated,
            chosen.gpus(),
            chosen.gpuMemoryUtilization(),
            true,
            chosen.products() == DeviceOptions.Products.CUBLASLT,
            chosen.slabBytes()),
        ranks);
  }

  /**
   * Loads onto a device that the runner then owns; a failure closes it too.
   *
   * @param progress hears a line now and then when loading takes long; called on the calling thread
   */
  static ModelRunner load(EngineOptions options, Consumer<String> progress, Device device) {
    return load(options, progress, device, MachineMemory.available(), QUIET_NANOS);
  }

  /**
   * Opens the device and makes a model of random weights on it, for measuring: of the directory
   * only config.json is read. Throws as {@link #load} does.
   *
   * @param seed equal seeds give equal weights
   */
  public static ModelRunner random(EngineOptions options, long seed, Consumer<String> progress) {
    Device device = openDevice(options);
    ModelLoader loader =
        new ModelLoader(options, progress, device, MachineMemory.available(), QUIET_NANOS);
    return loader.closingOnFailure(() -> loader.makeRandom(seed));
  }

  /**
   * @param available bytes that the process may take
   * @param quietNanos no progress is told before this time
   */
  static ModelRunner load(
      EngineOptions options,
      Consumer<String> progress,
      Device device,
      long available,
      long quietNanos) {
    ModelLoader loader = new ModelLoader(options, progress, device, available, quietNanos);
    return loader.closingOnFailure(loader::load);
  }

  private ModelRunner closingOnFailure(Supplier<ModelRunner> work) {
    try {
      return work.get();
    } catch (OutOfDeviceMemoryException e) {
      device.close();
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY, String.valueOf(e.getMessage()), e);
    } catch (EngineException | Error e) {
      device.close();
      throw e;
    } catch (RuntimeException e) {
      device.close();
      throw new EngineException(
          EngineException.Kind.INTERNAL, "%s: %s".formatted(options.modelDirectory(), e), e);
    }
  }

  private ModelRunner load() {
    ModelConfig config = ConfigReader.read(options.modelDirectory());
    Shard.check(config, options.tensorParallel());
    int contextLength = contextLength(config);
    try (Checkpoint checkpoint = Checkpoint.open(options.modelDirectory(), config)) {
      Formats formats = formats(config, checkpoint.get(TensorNames.EMBEDDING).dtype());
      String kv = mixed() ? MIXED : formats.kv().toString();
      String fingerprint = Fingerprint.of(config, checkpoint, numerics(formats), formats, kv);
      return start(config, fingerprint, contextLength, formats, checkpoint);
    }
  }

  /** KV goes between workers of any arithmetic, and is converted where its dtype is another. */
  private boolean mixed() {
    return options.device().numerics() == DeviceOptions.Numerics.MIXED;
  }

  /** Of all products: a mixture's router is never quantized. */
  private String numerics(Formats formats) {
    if (mixed()) {
      return MIXED;
    }
    return device.numerics(formats.weights())
        + "+"
        + device.numerics(WeightFormat.of(formats.dtype()));
  }

  private ModelRunner makeRandom(long seed) {
    ModelConfig config = ConfigReader.read(options.modelDirectory());
    Shard.check(config, options.tensorParallel());
    Formats formats = formats(config, DType.BFLOAT16);
    try (RandomTensors tensors =
        new RandomTensors(config, formats.dtype(), seed, device.makesRandom())) {
      // Nobody exchanges KV with a model that exists once.
      return start(config, "%064x".formatted(seed), contextLength(config), formats, tensors);
    }
  }

  private ModelRunner start(
      ModelConfig config,
      String fingerprint,
      int contextLength,
      Formats formats,
      TensorSource tensors) {
    MemoryPlan plan =
        MemoryPlan.make(
            config, options, contextLength, formats, device, device.memory().limit(available));
    ModelInfo model = describe(config, fingerprint, plan.contextLength(), formats.kv());
    LOG.info("device: {}", device.description());
    LOG.info(
        "model: {} ({}), {} layers, {} heads and {} KV heads of {}, context {}, weights {}, output"
            + " layer {}, KV {}, TP {}, fingerprint {}",
        model.name(),
        model.architecture(),
        config.layers(),
        config.heads(),
        config.kvHeads(),
        config.headDim(),
        plan.contextLength(),
        formats.weights(),
        formats.head(),
        formats.kv(),
        options.tensorParallel(),
        model.fingerprint());
    LOG.info("memory: {}", plan.table());
    if (plan.contextLength() < contextLength) {
      LOG.warn(
          "context: cut to {} tokens, what the KV cache holds, of the model's {}; a larger"
              + " kvCacheBytes holds more",
          plan.contextLength(),
          contextLength);
    }
    return start(model, config, plan, new WeightLoader(device, tensors, config, formats));
  }

  private int contextLength(ModelConfig config) {
    if (options.contextLength() > config.contextLength()) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "contextLength: %d (expected: <= %d, the model's max_position_embeddings)"
              .formatted(options.contextLength(), config.contextLength()));
    }
    return options.contextLength() == 0 ? config.contextLength() : options.contextLength();
  }

  /**
   * @throws EngineException when the device has no kernels for the model
   */
  private Formats formats(ModelConfig config, DType stored) {
    if (config.headDim() > device.maxHeadDim()) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "%s: head_dim: %d on this device (expected: at most %d; use --device cpu for more): %s"
              .formatted(
                  options.modelDirectory().resolve("config.json"),
                  config.headDim(),
                  device.maxHeadDim(),
                  device.description()));
    }
    DType declared = config.dtype();
    return Formats.choose(options, declared == null ? stored : declared, device);
  }

  private ModelInfo describe(
      ModelConfig config, String fingerprint, int contextLength, DType kvDtype) {
    return new ModelInfo(
        options.servedName(),
        config.architecture().configName(),
        fingerprint,
        contextLength,
        config.vocabularySize(),
        config.layers(),
        config.kvHeads(),
        config.headDim(),
        kvDtype,
        config.eosTokenIds());
  }

  private ModelRunner start(
      ModelInfo model, ModelConfig config, MemoryPlan plan, WeightLoader weights) {
    List<Shard> shards =
        IntStream.range(0, options.tensorParallel())
            .mapToObj(rank -> new Shard(config, rank, options.tensorParallel()))
            .toList();
    for (Shard shard : shards) {
      device.onRank(shard.rank()).reserve(plan.stepShape(shard, options));
    }
    List<Ops> ops = device.openRanks(options.tensorParallel());
    List<SharedWeights> shared = weights.shared(ops.size(), model.contextLength());
    List<RankWeights> packed =
        weights.shards(shards, shared, new Progress(config.layers(), plan.weights())::loaded);
    List<LinearWeight> outputLayers = packed.stream().map(RankWeights::lmHead).toList();
    StepBatch batch =
        device.allocateStepBatch(
            options.stepTokens(),
            Math.min(options.stepTokens(), options.maxSessions()),
            plan.sessionBlocks(options.blockTokens()));
    Tensor logits = device.allocate(DType.FLOAT32, plan.logitRows(), config.vocabularySize());
    ForwardPass[] passes = new ForwardPass[ops.size()];
    KvCache[] caches = new KvCache[ops.size()];
    Ranks ranks = new Ranks(ops);
    try {
      // On the ranks' own threads: where memory is near a processor, it is near the one that asks.
      ranks.runAll(
          rank -> {
            Shard shard = shards.get(rank);
            Device own = device.onRank(rank);
            caches[rank] =
                own.allocateKvCache(
                    MemoryPlan.kvShape(shard, options, plan.blocks(), model.kvDtype()));
            passes[rank] =
                new ForwardPass(
                    ops.get(rank),
                    shard,
                    shared.get(rank),
                    packed.get(rank),
                    outputLayers,
                    Activations.allocate(own, shard, options.stepTokens(), logits),
                    caches[rank],
                    batch,
                    logits);
          });
      return new RankedModelRunner(
          model,
          device,
          ranks,
          shards,
          List.of(passes),
          List.of(caches),
          batch,
          logits,
          plan.swap(),
          plan.weights());
    } catch (RuntimeException | Error e) {
      ranks.close();
      throw e;
    }
  }

  /** Tells each tenth of the layers, once a load has proved to be long. */
  private final class Progress {
    private final long begun = System.nanoTime();
    private final int layers;
    private final long bytes;

    /**
     * @param bytes of all weights when packed
     */
    Progress(int layers, long bytes) {
      this.layers = layers;
      this.bytes = bytes;
    }

    void loaded(int done) {
      boolean tenth = done * 10 / layers > (done - 1) * 10 / layers;
      long nanos = System.nanoTime() - begun;
      if (tenth && nanos >= quietNanos) {
        double seconds = Math.max(nanos, 1) / 1e9;
        progress.accept(
            "loading %s: %d of %d layers, %s/s"
                .formatted(
                    options.servedName(),
                    done,
                    layers,
                    MemoryPlan.size((long) (bytes * ((double) done / layers) / seconds))));
      }
    }
  }
}

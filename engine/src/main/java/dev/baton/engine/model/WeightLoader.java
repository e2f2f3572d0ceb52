package dev.baton.engine.model;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.LinearWeight;
import dev.baton.device.Parallelism;
import dev.baton.device.Tensor;
import dev.baton.device.UnusableElementException;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.engine.EngineException;
import dev.baton.engine.Formats;
import dev.baton.engine.checkpoint.Architecture;
import dev.baton.engine.checkpoint.Biases;
import dev.baton.engine.checkpoint.CheckpointTensor;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import dev.baton.engine.checkpoint.TensorSource;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadFactory;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/**
 * Brings the tensors of a checked checkpoint, or random ones, to a device.
 *
 * @param formats in what tables and matrices are kept; norms are float32 always, and what routes to
 *     experts is not quantized
 */
record WeightLoader(Device device, TensorSource checkpoint, ModelConfig config, Formats formats) {

  /** What ranks read alike, for each rank: the very same where they share memory. */
  List<SharedWeights> shared(int ranks, int positions) {
    List<SharedWeights> shared = new ArrayList<>();
    for (int rank = 0; rank < ranks; rank++) {
      Device own = device.onRank(rank);
      shared.add(
          rank > 0 && own == device.onRank(0) ? shared.getFirst() : on(rank).sharedHere(positions));
    }
    return shared;
  }

  /** Loads to where a rank is. */
  private WeightLoader on(int rank) {
    return new WeightLoader(device.onRank(rank), checkpoint, config, formats);
  }

  private SharedWeights sharedHere(int positions) {
    int hidden = config.hiddenSize();
    List<Tensor> inputNorms = new ArrayList<>();
    List<Tensor> queryNorms = new ArrayList<>();
    List<Tensor> keyNorms = new ArrayList<>();
    List<Tensor> postAttentionNorms = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      TensorNames names = new TensorNames(layer);
      inputNorms.add(norm(names.inputNorm(), hidden));
      postAttentionNorms.add(norm(names.postAttentionNorm(), hidden));
      if (config.architecture().headNorms()) {
        queryNorms.add(norm(names.queryNorm(), config.headDim()));
        keyNorms.add(norm(names.keyNorm(), config.headDim()));
      }
    }
    return new SharedWeights(
        config.tiedEmbeddings() ? null : table(TensorNames.EMBEDDING),
        inputNorms,
        queryNorms,
        keyNorms,
        postAttentionNorms,
        norm(TensorNames.FINAL_NORM, hidden),
        RotaryTable.compute(device, config, positions));
  }

  /**
   * Packs every rank's weights, in the file's order as a rule and on all processors. Its threads
   * have ended their work when this returns or throws.
   *
   * @param loaded hears the number of layers done so far, on the calling thread
   */
  List<RankWeights> shards(List<Shard> shards, List<SharedWeights> shared, IntConsumer loaded) {
    ThreadFactory threads = Thread.ofPlatform().daemon().name("baton-load-", 0).factory();
    int processors = Runtime.getRuntime().availableProcessors();
    try (ExecutorService pool = Executors.newFixedThreadPool(processors, threads)) {
      try {
        return pack(pool, shards, shared, loaded);
      } catch (RuntimeException | Error e) {
        pool.shutdownNow();
        throw e;
      }
    }
  }

  private List<RankWeights> pack(
      ExecutorService pool, List<Shard> shards, List<SharedWeights> shared, IntConsumer loaded) {
    // The largest first: what is unpacked beside it counts least while little is packed.
    String head = config.tiedEmbeddings() ? TensorNames.EMBEDDING : TensorNames.LM_HEAD;
    List<Future<LinearWeight>> heads =
        shards.stream()
            .map(
                shard ->
                    pool.submit(
                        () -> on(shard.rank()).rows(head, shard.vocabulary(), formats.head())))
            .toList();
    List<List<Future<LayerWeights>>> layers = new ArrayList<>();
    for (int layer = 0; layer < config.layers(); layer++) {
      int number = layer;
      layers.add(
          shards.stream()
              .map(
                  shard ->
                      pool.submit(
                          () -> on(shard.rank()).layer(shard, shared.get(shard.rank()), number)))
              .toList());
    }

    List<List<LayerWeights>> packed = new ArrayList<>();
    for (List<Future<LayerWeights>> ofAllRanks : layers) {
      packed.add(ofAllRanks.stream().map(WeightLoader::await).toList());
      loaded.accept(packed.size());
    }
    return IntStream.range(0, shards.size())
        .mapToObj(
            rank ->
                new RankWeights(
                    packed.stream().map(each -> each.get(rank)).toList(), await(heads.get(rank))))
        .toList();
  }

  private static <T> T await(Future<T> future) {
    try {
      return future.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new EngineException(EngineException.Kind.INTERNAL, "loading weights: interrupted", e);
    } catch (ExecutionException e) {
      switch (e.getCause()) {
        case RuntimeException cause -> throw cause;
        case Error cause -> throw cause;
        case null, default ->
            throw new EngineException(EngineException.Kind.INTERNAL, "loading weights: " + e, e);
      }
    }
  }

  private LayerWeights layer(Shard shard, SharedWeights shared, int layer) {
    return new LayerWeights(
        shared.inputNorms().get(layer),
        attention(shard, shared, layer),
        shared.postAttentionNorms().get(layer),
        feedForward(shard, layer));
  }

  private AttentionWeights attention(Shard shard, SharedWeights shared, int layer) {
    TensorNames names = new TensorNames(layer);
    Biases biases = config.biases();
    Shard.Range hidden = new Shard.Range(0, config.hiddenSize());
    boolean norms = config.architecture().headNorms();
    return new AttentionWeights(
        rows(names.query(), shard.queries()),
        rows(names.key(), shard.keys()),
        rows(names.value(), shard.keys()),
        columns(names.output(), shard.queries()),
        biases.projections() ? bias(names.queryBias(), shard.queries()) : null,
        biases.projections() ? bias(names.keyBias(), shard.keys()) : null,
        biases.projections() ? bias(names.valueBias(), shard.keys()) : null,
        biases.attentionOutput() ? bias(names.outputBias(), hidden) : null,
        norms ? shared.queryNorms().get(layer) : null,
        norms ? shared.keyNorms().get(layer) : null);
  }

  private FeedForwardWeights feedForward(Shard shard, int layer) {
    TensorNames names = new TensorNames(layer);
    Mixture mixture = config.mixtureIn(layer);
    if (mixture == null) {
      boolean biases = config.biases().feedForward();
      Shard.Range hidden = new Shard.Range(0, config.hiddenSize());
      return new FeedForwardWeights.Dense(
          gated(names.gate(), names.up(), shard.inner()),
          columns(names.down(), shard.inner()),
          biases ? bias(names.gateBias(), shard.inner()) : null,
          biases ? bias(names.upBias(), shard.inner()) : null,
          biases ? bias(names.downBias(), hidden) : null);
    }
    Architecture architecture = config.architecture();
    List<GatedWeight> gated = new ArrayList<>();
    List<LinearWeight> downs = new ArrayList<>();
    for (int each = 0; each < mixture.experts(); each++) {
      TensorNames.Expert expert = names.expert(architecture, each);
      gated.add(gated(expert.gate(), expert.up(), shard.expertInner()));
      downs.add(columns(expert.down(), shard.expertInner()));
    }
    Shard.Range all = new Shard.Range(0, mixture.experts());
    // A small matrix that decides much: in any other format rounded inputs change who is chosen.
    WeightFormat exact =
        device.supports(WeightFormat.FLOAT32) ? WeightFormat.FLOAT32 : WeightFormat.BFLOAT16;
    LinearWeight router = rows(names.router(architecture), all, exact);
    return new FeedForwardWeights.Experts(router, gated, downs);
  }

  /** Bytes that {@link #shared} and {@link #shards} take, not counting padding. */
  static long bytes(ModelConfig config, int ranks, Formats formats) {
    long hidden = config.hiddenSize();
    long table = config.vocabularySize() * hidden;
    long quantizable = 0;
    long routers = 0;
    for (int rank = 0; rank < ranks; rank++) {
      Shard shard = new Shard(config, rank, ranks);
      for (int layer = 0; layer < config.layers(); layer++) {
        quantizable += (2L * shard.queries().size() + 2L * shard.keys().size()) * hidden;
        Mixture mixture = config.mixtureIn(layer);
        if (mixture == null) {
          quantizable += 3L * shard.inner().size() * hidden;
        } else {
          quantizable += 3L * mixture.experts() * shard.expertInner().size() * hidden;
          routers += mixture.experts() * hidden;
        }
      }
    }
    // Biases, head norms and scales of INT8 are too small to count: less than a row of each matrix.
    long norms = (2L * config.layers() + 1) * hidden;
    return (config.tiedEmbeddings() ? 0 : table * formats.dtype().bytes())
        + routers * Float.BYTES
        + (table * bitsOfSixteen(formats.head()) + quantizable * bitsOfSixteen(formats.weights()))
            / (16 * Byte.SIZE)
        + norms * Float.BYTES;
  }

  /** Of these, what every rank has where they share no memory. */
  static long sharedBytes(ModelConfig config, Formats formats) {
    long hidden = config.hiddenSize();
    long table = config.tiedEmbeddings() ? 0 : config.vocabularySize() * hidden;
    return table * formats.dtype().bytes() + (2L * config.layers() + 1) * hidden * Float.BYTES;
  }

  /** Bits of sixteen weights, with the scales of their groups. */
  private static long bitsOfSixteen(WeightFormat format) {
    return switch (format) {
      case FLOAT32 -> 16 * 32;
      case BFLOAT16 -> 16 * 16;
      case INT8 -> 16 * 8;
      case INT4 -> 16 * 4 + 4;
    };
  }

  private Tensor norm(String name, int width) {
    CheckpointTensor tensor = checkpoint.get(name);
    return converted(tensor, tensor.slice(0, 1, 0, width), DType.FLOAT32);
  }

  private Tensor table(String name) {
    CheckpointTensor tensor = checkpoint.get(name);
    Tensor converted = converted(tensor, tensor.whole(), formats.dtype());
    checkpoint.release(tensor);
    return converted;
  }

  private Tensor bias(String name, Shard.Range range) {
    CheckpointTensor tensor = checkpoint.get(name);
    return converted(tensor, tensor.slice(0, 1, range.from(), range.to()), DType.FLOAT32);
  }

  private Tensor converted(CheckpointTensor tensor, WeightSlice slice, DType dtype) {
    try {
      return device.convert(usable(tensor, slice), dtype);
    } catch (UnusableElementException e) {
      throw unusable(tensor, slice, e.place());
    }
  }

  private LinearWeight packed(
      CheckpointTensor tensor, WeightSlice slice, WeightFormat format, Parallelism parallelism) {
    try {
      LinearWeight packed = device.packLinear(usable(tensor, slice), format, parallelism);
      checkpoint.release(tensor);
      return packed;
    } catch (UnusableElementException e) {
      throw unusable(tensor, slice, e.place());
    }
  }

  private LinearWeight rows(String name, Shard.Range range) {
    return rows(name, range, formats.weights());
  }

  private LinearWeight rows(String name, Shard.Range range, WeightFormat format) {
    CheckpointTensor tensor = checkpoint.get(name);
    return packed(tensor, rowsOf(tensor, range), format, Parallelism.COLUMN);
  }

  private GatedWeight gated(String gate, String up, Shard.Range range) {
    CheckpointTensor first = checkpoint.get(gate);
    CheckpointTensor second = checkpoint.get(up);
    WeightSlice gates = usable(first, rowsOf(first, range));
    WeightSlice ups = usable(second, rowsOf(second, range));
    GatedWeight packed;
    try {
      packed = device.packGated(gates, ups, formats.weights());
    } catch (UnusableElementException e) {
      // Of the gate or of what it lets through; a checkpoint that is as bad as this is not worth
      // more.
      throw unusable(first, gates, e.place());
    }
    checkpoint.release(first);
    checkpoint.release(second);
    return packed;
  }

  private WeightSlice rowsOf(CheckpointTensor tensor, Shard.Range range) {
    return tensor.slice(range.from(), range.to(), 0, tensor.shape().getLast());
  }

  private LinearWeight columns(String name, Shard.Range range) {
    CheckpointTensor tensor = checkpoint.get(name);
    WeightSlice part = tensor.slice(0, tensor.shape().getFirst(), range.from(), range.to());
    return packed(tensor, part, formats.weights(), Parallelism.ROW);
  }

  /** The slice, whose elements are all usable; throws BAD_MODEL when one is not. */
  private WeightSlice usable(CheckpointTensor tensor, WeightSlice slice) {
    long at = device.findUnusable(slice);
    if (at < 0) {
      return slice;
    }
    throw unusable(tensor, slice, at);
  }

  private static EngineException unusable(CheckpointTensor tensor, WeightSlice slice, long at) {
    int width = slice.columnTo() - slice.columnFrom();
    long column = slice.columnFrom() + at % width;
    long row = slice.rowFrom() + at / width;
    return new EngineException(
        EngineException.Kind.BAD_MODEL,
        "%s: %s: element %s is infinite, 2^127 or more, or no number (expected: finite weights)"
            .formatted(
                tensor.source(),
                tensor.name(),
                tensor.shape().size() == 1
                    ? "[" + column + "]"
                    : "[%d, %d]".formatted(row, column)));
  }
}

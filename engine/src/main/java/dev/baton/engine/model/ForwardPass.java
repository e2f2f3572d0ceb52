package dev.baton.engine.model;

import static java.util.Objects.requireNonNull;

import dev.baton.device.KvCache;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Ops;
import dev.baton.device.Projection;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.TokenChoice;
import dev.baton.engine.checkpoint.Mixture;
import dev.baton.engine.checkpoint.ModelConfig;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * One rank's program: a decoder of the Llama kind, from token ids to logits. All ranks run the same
 * program on their shards and meet in two all-reduces a layer and one gather at the end. Only the
 * rank's thread calls {@link #run}.
 */
final class ForwardPass {

  private final Ops ops;
  private final Shard shard;
  private final SharedWeights shared;
  private final RankWeights weights;
  private final List<LinearWeight> outputLayers;
  private final Activations act;
  private final KvCache cache;
  private final StepBatch batch;
  private final Tensor logits;
  private final int hidden;
  private final Shard.Range vocabulary;
  private final int queryWidth;
  private final int keyWidth;
  private final float epsilon;
  private final float scale;

  /** Query, key and value of each layer, and the norms before each layer's products. */
  private final List<List<Projection>> projections;

  private final List<Norm> attentionNorms;
  private final List<Norm> feedForwardNorms;
  private final List<Projection> head;
  private final Norm finalNorm;
  private final Runnable program = this::forward;
  private final Runnable choosingProgram = this::forwardAndChoose;
  private @Nullable TokenChoice choice;

  /** Layers run since the start; written by the rank's thread alone. */
  private final AtomicLong layersRun = new AtomicLong();

  /**
   * @param outputLayers of all ranks, in order
   * @param logits {@code [logitRows, vocabulary]}, shared by the ranks
   */
  ForwardPass(
      Ops ops,
      Shard shard,
      SharedWeights shared,
      RankWeights weights,
      List<LinearWeight> outputLayers,
      Activations activations,
      KvCache cache,
      StepBatch batch,
      Tensor logits) {
    ModelConfig config = shard.config();
    this.ops = ops;
    this.shard = shard;
    this.shared = shared;
    this.weights = weights;
    this.outputLayers = outputLayers;
    this.act = activations;
    this.cache = cache;
    this.batch = batch;
    this.logits = logits;
    this.hidden = config.hiddenSize();
    this.vocabulary = shard.vocabulary();
    this.queryWidth = shard.queries().size();
    this.keyWidth = shard.keys().size();
    this.epsilon = config.normEpsilon();
    this.scale = (float) (1 / Math.sqrt(config.headDim()));
    List<LayerWeights> layers = weights.layers();
    projections = layers.stream().map(layer -> projections(layer.attention())).toList();
    attentionNorms = layers.stream().map(layer -> new Norm(layer.inputNorm(), epsilon)).toList();
    feedForwardNorms =
        layers.stream().map(layer -> new Norm(layer.postAttentionNorm(), epsilon)).toList();
    head = List.of(new Projection(act.logits(), weights.lmHead(), null));
    finalNorm = new Norm(shared.finalNorm(), epsilon);
  }

  private List<Projection> projections(AttentionWeights w) {
    return List.of(
        new Projection(act.query(), w.query(), w.queryBias()),
        new Projection(act.key(), w.key(), w.keyBias()),
        new Projection(act.value(), w.value(), w.valueBias()));
  }

  /** Layers run since the start. Any thread. */
  long layersRun() {
    return layersRun.getAcquire();
  }

  /** Lets {@link #runAndChoose} choose so. */
  void choose(TokenChoice deviceChoice) {
    choice = deviceChoice;
  }

  /** Runs the sealed batch. */
  void run() {
    ops.run(batch, program);
  }

  /** Runs the sealed batch and carries out the orders of its rows. */
  void runAndChoose() {
    ops.run(batch, choosingProgram);
  }

  private void forwardAndChoose() {
    forward();
    if (batch.logitRows() > 0) {
      ops.choose(requireNonNull(choice), logits, batch.logitRows());
    }
  }

  private void forward() {
    int rows = batch.tokens();
    Tensor table = shared.embedding();
    if (table == null) {
      ops.embed(act.stream(), outputLayers, batch);
    } else {
      ops.embed(act.stream(), table, batch);
    }
    for (int layer = 0; layer < weights.layers().size(); layer++) {
      LayerWeights w = weights.layers().get(layer);
      attend(layer, w.attention(), rows);
      switch (w.feedForward()) {
        case FeedForwardWeights.Dense dense ->
            feedForward(dense, feedForwardNorms.get(layer), rows);
        case FeedForwardWeights.Experts experts -> {
          ops.rmsNorm(act.normed(), act.stream(), w.postAttentionNorm(), epsilon, rows, hidden);
          mixture(experts, rows);
          ops.add(act.stream(), act.delta(), rows, hidden);
        }
      }
      layersRun.setRelease(layersRun.getPlain() + 1);
    }
    if (batch.logitRows() > 0) {
      outputLayer(batch.logitRows());
    }
  }

  private void attend(int layer, AttentionWeights w, int rows) {
    ops.linear(projections.get(layer), act.stream(), attentionNorms.get(layer), rows);
    if (w.queryNorm() != null) {
      ops.rmsNorm(act.query(), act.query(), w.queryNorm(), epsilon, rows, queryWidth);
    }
    if (w.keyNorm() != null) {
      ops.rmsNorm(act.key(), act.key(), w.keyNorm(), epsilon, rows, keyWidth);
    }
    ops.ropeStore(
        act.query(),
        act.key(),
        act.value(),
        shared.rotary().cos(),
        shared.rotary().sin(),
        cache,
        layer,
        batch);
    int window = shard.config().windows().get(layer);
    ops.attention(act.attended(), act.query(), cache, layer, batch, scale, window);
    ops.addLinear(act.stream(), act.attended(), w.output(), w.outputBias(), act.delta(), rows);
  }

  private void feedForward(FeedForwardWeights.Dense w, Norm norm, int rows) {
    ops.feedForward(
        act.stream(),
        act.stream(),
        norm,
        w.gated(),
        w.gateBias(),
        w.upBias(),
        act.gated(),
        w.down(),
        w.downBias(),
        act.delta(),
        rows);
  }

  /**
   * Every rank routes alike, from the same scores. Each expert's result is summed over the ranks
   * before a token's experts are added up: the other order would move fewer bytes, but its sums
   * would depend on the number of ranks.
   */
  private void mixture(FeedForwardWeights.Experts w, int rows) {
    MixtureActivations own = requireNonNull(act.mixture());
    Mixture mixture = requireNonNull(shard.config().mixture());
    int slots = rows * mixture.chosen();
    ops.linear(own.scores(), act.normed(), w.router(), null, rows);
    ops.route(own.routing(), own.scores(), rows, mixture.normalized());
    ops.gatherRouted(own.slots(), act.normed(), own.routing(), hidden);
    ops.gatedRouted(own.gated(), own.slots(), w.gated(), own.routing());
    ops.linearRouted(own.slots(), own.gated(), w.downs(), own.routing());
    ops.allReduce(own.slots(), slots, hidden);
    ops.combineRouted(act.delta(), own.slots(), own.routing(), hidden);
  }

  private void outputLayer(int rows) {
    ops.gatherLogitRows(act.last(), act.stream(), batch);
    ops.linear(head, act.last(), finalNorm, rows);
    if (act.logits() != logits) {
      ops.allGather(logits, act.logits(), rows, vocabulary.from(), vocabulary.size());
    }
  }
}

package dev.baton.device;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The operations of one rank, in float32 with weights and KV in float32 or bfloat16. Calls are
 * enqueued in order; a host device runs them at once. Only the rank's own thread may call. Outputs
 * must not overlap inputs unless said.
 *
 * <p>{@code rows} is the number of leading rows that take part; tensors may be larger. Shapes below
 * leave out what is larger.
 */
public interface Ops {

  int rank();

  int ranks();

  /**
   * Runs a pass over a sealed batch: the program calls these ops, for the batch's tokens, its logit
   * rows after {@link #gatherLogitRows} and the slots of its routings. On return all has been done.
   * A device may record what is called and repeat it for other batches without running the program
   * again, so the calls depend on nothing else of the batch.
   */
  default void run(StepBatch batch, Runnable program) {
    program.run();
  }

  /**
   * {@code out[i] = table[batch.tokenId(i)]}; out {@code [tokens, hidden]} float32, table {@code
   * [vocabulary, hidden]}.
   */
  void embed(Tensor out, Tensor table, StepBatch batch);

  /**
   * As {@link #embed(Tensor, Tensor, StepBatch)}, from the packed output layer of a model whose
   * output layer is its embedding: the values that its products multiply, quantized ones as integer
   * times scale.
   *
   * @param table the output layers of all ranks in order, on a host device; column-parallel
   */
  void embed(Tensor out, List<LinearWeight> table, StepBatch batch);

  /**
   * {@code out = x / sqrt(mean(x^2) + epsilon) * weight} over groups of {@code weight.columns()}
   * elements: a whole row, or each head of a row (query and key norms). {@code out} may be {@code
   * x}. {@code width} is the elements of a row that take part, a multiple of the group.
   */
  void rmsNorm(Tensor out, Tensor x, Tensor weight, float epsilon, int rows, int width);

  /**
   * {@code out[rows, weight.outputs()] = x[rows, weight.inputs()] * weight^T (+ bias)}, summed
   * canonically (see the package). For a row-parallel weight the result is this rank's subtree, to
   * be completed by {@link #allReduce}.
   *
   * @param bias {@code [1, outputs]} float32, added last
   */
  void linear(Tensor out, Tensor x, LinearWeight weight, @Nullable Tensor bias, int rows);

  /**
   * Several products of the same inputs, each as {@link #linear(Tensor, Tensor, LinearWeight,
   * Tensor, int)} would give it: the inputs are prepared once and the rank's threads meet once. All
   * weights are of one format and column-parallel, or all shards of the same inputs.
   *
   * @param norm goes over {@code x} first, as {@link #rmsNorm} would; null = none
   */
  void linear(List<Projection> products, Tensor x, @Nullable Norm norm, int rows);

  /**
   * {@code stream += x * weight^T (+ bias)}, for row-parallel weights summed over all ranks before
   * the bias: the same bits as {@link #linear} to {@code scratch}, {@link #allReduce} and {@link
   * #add}.
   *
   * @param bias {@code [1, outputs]} float32
   * @param scratch {@code [rows, weight.outputs()]}; content undefined afterwards
   */
  void addLinear(
      Tensor stream,
      Tensor x,
      LinearWeight weight,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows);

  /**
   * {@code out = gate / (1 + exp(-gate)) * up} with {@code gate} and {@code up} the products of x
   * with the two weights: the same bits as two products and {@link #siluMultiply}.
   *
   * @param out {@code [rows, weight.outputs()]}
   * @param norm goes over {@code x} first, as {@link #rmsNorm} would; null = none
   * @param gateBias {@code [1, outputs]} float32, added to the gate's product
   * @param upBias likewise
   */
  void gated(
      Tensor out,
      Tensor x,
      @Nullable Norm norm,
      GatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      int rows);

  /**
   * {@code stream += gated(x) * down^T (+ bias)}: the same bits as {@link #gated} to {@code inner}
   * and {@link #addLinear}; a device may leave out what lies between. {@code x} may be {@code
   * stream}.
   *
   * @param inner {@code [rows, down.inputs()]}; content undefined afterwards
   * @param scratch {@code [rows, down.outputs()]}; content undefined afterwards
   */
  default void feedForward(
      Tensor stream,
      Tensor x,
      @Nullable Norm norm,
      GatedWeight weight,
      @Nullable Tensor gateBias,
      @Nullable Tensor upBias,
      Tensor inner,
      LinearWeight down,
      @Nullable Tensor bias,
      Tensor scratch,
      int rows) {
    gated(inner, x, norm, weight, gateBias, upBias, rows);
    addLinear(stream, inner, down, bias, scratch, rows);
  }

  /**
   * Rotates queries in place and writes rotated keys, and values, to the cache, for every token of
   * the batch. Pairs are {@code (i, i + headDim/2)}, Hugging Face's convention.
   *
   * @param q {@code [tokens, heads * headDim]}
   * @param k {@code [tokens, kvHeads * headDim]}; content undefined afterwards
   * @param v {@code [tokens, kvHeads * headDim]}
   * @param cos {@code [positions, headDim / 2]} float32
   * @param sin likewise
   */
  void ropeStore(
      Tensor q,
      Tensor k,
      Tensor v,
      Tensor cos,
      Tensor sin,
      KvCache cache,
      int layer,
      StepBatch batch);

  /**
   * Causal attention of every token of the batch over its sequence's blocks; query head {@code h}
   * reads KV head {@code h / (heads / kvHeads)} of the rank.
   *
   * @param out {@code [tokens, heads * headDim]}
   * @param window positions seen back, counting the token's own; 0 = all
   */
  void attention(
      Tensor out, Tensor q, KvCache cache, int layer, StepBatch batch, float scale, int window);

  /**
   * {@code x += y} over {@code rows} rows of {@code width} elements; a {@code y} of a single row is
   * added to each.
   */
  void add(Tensor x, Tensor y, int rows, int width);

  /** {@code out = gate / (1 + exp(-gate)) * up}; {@code out} may be {@code gate}. */
  void siluMultiply(Tensor out, Tensor gate, Tensor up, int rows, int width);

  /**
   * Chooses {@code routing.chosen()} experts for each row by their scores: larger ones first, among
   * equals the lower number. Their weights are the softmax of the scores, over the chosen alone
   * when {@code normalize}, else over all experts.
   *
   * @param scores {@code [rows, experts]} float32
   */
  void route(Routing routing, Tensor scores, int rows, boolean normalize);

  /**
   * Copies each routed row of {@code x} to the slots of its experts: {@code out[rows * chosen,
   * width]}.
   */
  void gatherRouted(Tensor out, Tensor x, Routing routing, int width);

  /**
   * Multiplies every slot by the weight of its expert, as {@link #linear} does.
   *
   * @param out {@code [rows * chosen, outputs]}
   * @param x {@code [rows * chosen, inputs]}
   * @param experts all of one shape and format, by number; a list that never changes
   */
  void linearRouted(Tensor out, Tensor x, List<LinearWeight> experts, Routing routing);

  /**
   * Multiplies every slot by the gate of its expert and by what that lets through, as {@link
   * #gated} does.
   *
   * @param out {@code [rows * chosen, outputs]}
   * @param x {@code [rows * chosen, inputs]}
   * @param experts all of one shape and format, by number; a list that never changes
   */
  void gatedRouted(Tensor out, Tensor x, List<GatedWeight> experts, Routing routing);

  /**
   * {@code out[row] = sum of weight * x[slot]} over the row's experts in order of choice; out
   * {@code [rows, width]}, x {@code [rows * chosen, width]}. For row-parallel experts {@code x}
   * must have been completed by {@link #allReduce}, or the sum would depend on the number of ranks.
   */
  void combineRouted(Tensor out, Tensor x, Routing routing, int width);

  /**
   * Copies the rows of {@code x} that need logits to the first {@code batch.logitRows()} rows of
   * {@code out}.
   */
  void gatherLogitRows(Tensor out, Tensor x, StepBatch batch);

  /**
   * Sums {@code x[rows, width]} over all ranks in the canonical tree; every rank ends with the same
   * bits. All ranks must call it alike. Throws {@link RankAbortedException} when another rank has
   * aborted.
   */
  void allReduce(Tensor x, int rows, int width);

  /**
   * Gathers column shards: afterwards {@code out[row, offset_r + c] = part_r[row, c]} for every
   * rank {@code r}, where {@code offset_r} is the {@code columnFrom} that rank {@code r} gave.
   * {@code out} is shared by all ranks on a host device.
   */
  void allGather(Tensor out, Tensor part, int rows, int columnFrom, int width);

  /**
   * Carries out a choice's orders for the batch's logit rows, behind what was called before. All
   * ranks call it alike, last in a pass. Only where the device has choices of its own ({@link
   * Device#openTokenChoice}).
   *
   * @param logits of the device's first rank, {@code [rows, vocabulary]}
   */
  default void choose(TokenChoice choice, Tensor logits, int rows) {
    throw new UnsupportedOperationException("choices: none of this device's own");
  }

  /** Makes every other rank's present or next collective throw; for a rank that has failed. */
  void abort(Throwable cause);
}

/**
 * The face of a device, and the CPU behind it. Knows nothing of tokens' meaning, of text or of
 * requests.
 *
 * <h2>Exactness</h2>
 *
 * Every operation gives each output element by one fixed sequence of float32 roundings, which does
 * not depend on the number of rows, on the place of a row in the batch, on the block size, on the
 * number of ranks or on the number of threads that share a rank's work:
 *
 * <ul>
 *   <li><b>linear</b>, column-parallel ({@link Parallelism}): {@code acc = fma(x[k], w[k], acc)}
 *       for rising {@code k}, from 0. Row-parallel: the inputs are cut into {@link
 *       LinearWeight#PARTIALS} ranges, range {@code i} of {@code K} inputs being {@code
 *       [floor(i*K/8), floor((i+1)*K/8))} of the whole model's width. Within a range: {@code acc =
 *       fma(x[k], w[k], acc)} for rising {@code k}, from 0. The eight sums are added as a binary
 *       tree: {@code ((p0+p1)+(p2+p3))+((p4+p5)+(p6+p7))}. A rank of a row-parallel weight owns
 *       {@code 8/T} whole ranges, adds its own subtree, and {@link Ops#allReduce} adds the rest of
 *       the tree.
 *   <li><b>linear with bfloat16 weights</b>: what the matrix units' tdpbf16ps computes, on any
 *       unit. The inputs are rounded to bfloat16 too, and a range is summed in tiles of 32 inputs
 *       from its first, the last filled up with zeros: in a tile the even and the odd inputs alone,
 *       each by fma in order from 0, then {@code sum + (even + odd)}, with denormals as 0 in inputs
 *       and results. The tree over the ranges is the same, and denormals are kept in it.
 *   <li><b>linear, quantized weights</b>: below.
 *   <li><b>sums over a row</b> (norms): 16 lanes, lane {@code j} takes the elements {@code j, j+16,
 *       ...} in order by fma; lanes are added by halves: {@code j + (j+8)}, then 4, 2, 1.
 *   <li><b>rms norm</b>: {@code (x * (1 / sqrt(sum / n + epsilon))) * weight}.
 *   <li><b>rotation</b>: {@code fma(a, cos, -(b * sin))} and {@code fma(b, cos, a * sin)}.
 *   <li><b>attention over float32 KV</b>: keys in tiles of 16 positions, aligned to position 0;
 *       scores by fma over the head dimension in order, then times the scale; one running maximum
 *       per query and head; the sum of weights in 16 lanes, lane {@code j} taking position {@code
 *       j} of every tile, by {@code fma(sum, correction, weight)}, lanes added by halves at the
 *       end; results times the correction once a tile, then values by fma in order of position; at
 *       last times {@code 1 / sum}. Positions that the query does not see add nothing and their
 *       slots may hold anything.
 *   <li><b>products by the bfloat16 rule</b> (the processor's tdpbf16ps): both sides bfloat16; 32
 *       terms at a time, the last ones filled up with zeros: the even and the odd terms alone, each
 *       by fma in order from 0, then {@code sum + (even + odd)}. Denormal inputs and results count
 *       as 0, also in all else that the next rule does.
 *   <li><b>attention over bfloat16 or int8 KV</b>: queries are rounded to bfloat16; a score is the
 *       product by that rule over the head dimension, times the key's scale in int8. Positions are
 *       taken in tiles of 64, aligned to position 0. Once a tile: {@code max' = max(largest score
 *       seen * base, max)} with {@code base = scale * 1.44269504f}, from the lowest finite number;
 *       {@code correction = 2^(max - max')}; weights {@code 2^fma(score, base, -max')}, exactly 0
 *       for positions that the query does not see. The sum of weights is kept in 16 lanes, lane
 *       {@code j} by {@code fma(sum, correction, (w[j] + w[j+16]) + (w[j+32] + w[j+48]))}, added by
 *       halves at the end. For the values the weights, times the value's scale in int8, are rounded
 *       to bfloat16; results times the correction, then by the bfloat16 rule over positions, 32 at
 *       a time; at last times {@code 1 / sum}. {@code 2^x} is one polynomial of ours ({@code
 *       Canonical.power}). Slots beyond a sequence's positions may hold anything; between them, a
 *       later token's value that is not finite is no longer kept from earlier tokens of its step.
 *   <li><b>int8 KV</b>: the scale of a token's key or value in a head is its largest magnitude
 *       divided by 127, rounded to 16 significant bits; elements are {@code x * (1 / scale)} to the
 *       nearest integer. So int8 rows survive a slab of float32 exactly.
 *   <li><b>routing</b>: experts by falling score, equal ones by rising number; weights {@code
 *       exp(score - largest) / sum}, exp being StrictMath's rounded to float32, summed in order of
 *       choice or, over all experts, of number; the experts' results are added in order of choice,
 *       the first as a product, the others by fma, after each has been summed over the ranks.
 *   <li><b>weights of logits</b> ({@link LogitScan}): {@code exp((x - peak) * inverse) * 2^30 +
 *       0.5} by one fma, its fraction cut off; sums of them are whole numbers. Sums of exponentials
 *       for log probabilities: per block of 128 in 16 lanes, lanes added by halves, blocks in order
 *       in float64.
 *   <li><b>exp</b>, elsewhere: one polynomial of ours, the same operations in every tier and in the
 *       Java reference ({@code Canonical.exp}).
 *   <li><b>bfloat16</b> stores round to nearest even; weights that are read are widened, exactly,
 *       and summed in float32.
 * </ul>
 *
 * So all tiers of instructions, the matrix units among them, and the Java reference agree bit for
 * bit; {@link Device#numerics} has one name for all.
 *
 * <h2>Quantized weights</h2>
 *
 * {@link WeightFormat#INT8} and {@link WeightFormat#INT4} are made from a checkpoint's weights when
 * they are packed; the inputs of each product are quantized to eight bits. What is not said here is
 * as for other weights: the ranges, their tree, the bias at last. All devices give the same bits.
 *
 * <ul>
 *   <li><b>eight bits</b> of numbers with the largest magnitude {@code m}: {@code q = rint(v * (127
 *       / m))}, to even, {@code scale = m / 127}. Where {@code m < 2^-100} both are 0; where one
 *       number is infinite or none, {@code scale} is NaN, and so are the products. {@code m} of an
 *       input is that of its row and range.
 *   <li><b>INT8</b>: {@code m} of a weight is that of its output's row of the whole model, whatever
 *       slice of it a rank holds.
 *   <li><b>INT4</b>: a weight is {@code q = level * factor}, a whole number again, of levels from
 *       -8 to 7 and a factor from -15 to 15 for each group of {@link WeightFormat#INT4_GROUP}
 *       inputs, counted from the first of their range; the last may be shorter. With {@code m} as
 *       for INT8, {@code scale = m / 120}, 0 where {@code m < 2^-100}. For a group let {@code e} be
 *       its element of largest magnitude, the first among equals, and {@code n = rint(|e| * (120 /
 *       m) * 0.125)}. Tried are {@code n}, {@code n + 1}, {@code n - 1}, within 1 to 15, negative
 *       where {@code e > 0}: with {@code s = factor * scale}, levels are {@code rint(w * (1 / s))}
 *       within -8 to 7, the error {@code err = fma(r, r, err)} over the group in order, from 0,
 *       {@code r = fma(-level, s, w)}; the factor of least error is taken, the first among equals.
 *       (Whole factors keep sums exact over groups: Lin et al., "QServe: W4A8KV4 Quantization and
 *       System Co-design", 2024.)
 *   <li><b>the result</b> of a range is {@code float(sum of q * q) * (scale of input * scale of
 *       weight)}; the sum is exact, for at most {@code (2^31 - 1) / 127^2} inputs.
 * </ul>
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device;

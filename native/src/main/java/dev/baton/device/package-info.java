/**
 * The face of a device, and the CPU behind it. Knows nothing of tokens' meaning, of text or of
 * requests.
 *
 * <h2>Exactness</h2>
 *
 * Every operation gives each output element by one fixed sequence of float32 roundings, which does
 * not depend on the number of rows, on the place of a row in the batch, on the block size or on the
 * number of ranks:
 *
 * <ul>
 *   <li><b>linear</b>: the inputs are cut into {@link LinearWeight#PARTIALS} ranges, range {@code
 *       i} of {@code K} inputs being {@code [floor(i*K/8), floor((i+1)*K/8))} of the whole model's
 *       width. Within a range: {@code acc = fma(x[k], w[k], acc)} for rising {@code k}, from 0. The
 *       eight sums are added as a binary tree: {@code ((p0+p1)+(p2+p3))+((p4+p5)+(p6+p7))}. A rank
 *       of a row-parallel weight owns {@code 8/T} whole ranges, adds its own subtree, and {@link
 *       Ops#allReduce} adds the rest of the tree. A column-parallel weight owns all eight.
 *   <li><b>sums over a row</b> (norms): 16 lanes, lane {@code j} takes the elements {@code j, j+16,
 *       ...} in order by fma; lanes are added by halves: {@code j + (j+8)}, then 4, 2, 1.
 *   <li><b>attention</b>: keys in tiles of 16 positions, aligned to position 0; scores by fma over
 *       the head dimension in order; one running maximum and sum per query and head, rescaled once
 *       a tile; values by fma in order of position.
 *   <li><b>exp</b>: one polynomial of ours, the same operations in every tier and in the Java
 *       reference.
 * </ul>
 *
 * So scalar, AVX2, AVX-512 and the Java reference agree bit for bit in float32 and with bfloat16
 * weights and KV.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.device;

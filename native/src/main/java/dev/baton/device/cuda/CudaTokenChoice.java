package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.baton.device.LogitScan;
import dev.baton.device.TokenChoice;
import java.lang.foreign.MemorySegment;

/**
 * Chooses tokens by kernels at the end of a pass ({@code sampling.cu}). Orders, changes and results
 * are in pinned memory: kernels read changes and write the results of plain choices there
 * themselves, orders travel once to the GPU. What is launched depends on the orders only by {@link
 * #variant}, so that it can be recorded. Belongs to the step thread; {@link #launch} to the first
 * rank's, during a step.
 */
final class CudaTokenChoice implements TokenChoice {

  private static final int FIRST_CHANGES = 4096;
  private static final int PEAK_BLOCK = 256;
  private static final int ROW_BLOCK = 512;
  private static final int WARPS = PEAK_BLOCK / 32;
  private static final int HALF_WARPS = 2 * WARPS;
  private static final int BEST_SHARED = 128;

  /** Sums and digits; then for each block a number, a key and an amount. */
  private static final int FIXED_SHARED = 128 + 256 * Long.BYTES;

  private static final int BLOCK_SHARED = 2 * Integer.BYTES + Long.BYTES;

  private final CudaGpu gpu;
  private final CudaDriver driver;
  private final int vocabulary;
  private final int maxRows;
  private final int blocks;
  private final MemorySegment orders;
  private final MemorySegment results;
  private final long ordersAt;
  private final long resultsAt;
  private final long peaksAt;
  private final long exponentialsAt;
  private final long weightsAt;
  private MemorySegment changes = MemorySegment.NULL;
  private long overwrittenAt;
  private int growths;

  CudaTokenChoice(CudaGpu gpu, int vocabulary, int maxRows) {
    this.gpu = gpu;
    this.driver = gpu.driver();
    this.vocabulary = vocabulary;
    this.maxRows = maxRows;
    blocks = LogitScan.blocks(vocabulary);
    orders = gpu.pinned((long) maxRows * ORDER_BYTES).fill((byte) 0);
    results = gpu.pinned((long) maxRows * RESULT_BYTES).fill((byte) 0);
    ordersAt = gpu.allocate(orders.byteSize(), "orders").address();
    resultsAt = gpu.allocate(results.byteSize(), "choices").address();
    long all = (long) maxRows * blocks;
    peaksAt = gpu.allocate(all * Float.BYTES, "peaks of logits").address();
    exponentialsAt = gpu.allocate(all * Float.BYTES, "sums of logits").address();
    weightsAt = gpu.allocate(all * Long.BYTES, "weights of logits").address();
    grow(FIRST_CHANGES);
  }

  /** What was there before stays with the GPU, because recorded steps may still name it. */
  private void grow(int count) {
    MemorySegment larger = gpu.pinned((long) count * CHANGE_BYTES);
    larger.asSlice(0, changes.byteSize()).copyFrom(changes);
    changes = larger;
    overwrittenAt = gpu.allocate((long) count * Float.BYTES, "changed logits").address();
    growths++;
  }

  @Override
  public MemorySegment orders() {
    return orders;
  }

  @Override
  public MemorySegment changes(int count) {
    if ((long) count * CHANGE_BYTES > changes.byteSize()) {
      grow(Math.max(count, Math.toIntExact(2 * changes.byteSize() / CHANGE_BYTES)));
    }
    return changes;
  }

  /** The pass has done so. */
  @Override
  public void choose(MemorySegment logits, int rows) {}

  @Override
  public MemorySegment results() {
    return results;
  }

  /** Names what is launched for the orders of the first rows; 0 = only the largest are wanted. */
  int variant(int rows) {
    for (int row = 0; row < rows; row++) {
      long order = (long) row * ORDER_BYTES;
      if (orders.get(JAVA_INT, order + KIND) != GREEDY
          || orders.get(JAVA_INT, order + TOPS) >= 0
          || orders.get(JAVA_INT, order + CHANGES) > 0) {
        return growths;
      }
    }
    return 0;
  }

  /**
   * @param logits {@code [rows, vocabulary]}
   * @param variant of the step's orders
   */
  void launch(Launch launch, long logits, Rows all, int variant) {
    Rows rows = new Rows(all.address(), Math.min(all.grid(), maxRows));
    if (variant == 0) {
      best(launch, logits, rows, results.address(), false);
      return;
    }
    driver.upload(ordersAt, orders.asSlice(0, (long) rows.grid() * ORDER_BYTES), launch.stream());
    best(launch, logits, rows, resultsAt, false);
    likelihoods(launch, logits, rows);
    launch
        .of("logit_change")
        .address(logits)
        .address(overwrittenAt)
        .number(vocabulary)
        .address(changes.address())
        .address(ordersAt)
        .address(resultsAt)
        .address(rows.address())
        .run(rows.grid(), PEAK_BLOCK, 0);
    best(launch, logits, rows, resultsAt, true);
    draw(launch, logits, rows);
    driver.download(
        results.asSlice(0, (long) rows.grid() * RESULT_BYTES), resultsAt, launch.stream());
  }

  private void best(Launch launch, long logits, Rows rows, long to, boolean changed) {
    launch
        .of("logit_peaks")
        .address(peaksAt)
        .address(logits)
        .number(vocabulary)
        .address(ordersAt)
        .address(rows.address())
        .number(changed ? 1 : 0)
        .run(Math.ceilDiv(blocks, WARPS), rows.grid(), 1, PEAK_BLOCK, 0);
    launch
        .of("logit_best")
        .address(to)
        .address(peaksAt)
        .address(logits)
        .number(vocabulary)
        .address(ordersAt)
        .address(rows.address())
        .number(changed ? 1 : 0)
        .run(rows.grid(), PEAK_BLOCK, BEST_SHARED);
  }

  private void likelihoods(Launch launch, long logits, Rows rows) {
    launch
        .of("logit_exponentials")
        .address(exponentialsAt)
        .address(logits)
        .number(vocabulary)
        .address(ordersAt)
        .address(resultsAt)
        .address(rows.address())
        .run(Math.ceilDiv(blocks, HALF_WARPS), rows.grid(), 1, PEAK_BLOCK, 0);
    launch
        .of("logit_rank")
        .address(resultsAt)
        .address(logits)
        .address(peaksAt)
        .address(exponentialsAt)
        .number(vocabulary)
        .address(ordersAt)
        .address(rows.address())
        .run(rows.grid(), ROW_BLOCK, rowShared());
  }

  private void draw(Launch launch, long logits, Rows rows) {
    launch
        .of("logit_weights")
        .address(weightsAt)
        .address(logits)
        .number(vocabulary)
        .address(ordersAt)
        .address(resultsAt)
        .address(rows.address())
        .run(Math.ceilDiv(blocks, WARPS), rows.grid(), 1, PEAK_BLOCK, 0);
    launch
        .of("logit_draw")
        .address(resultsAt)
        .address(logits)
        .address(overwrittenAt)
        .address(peaksAt)
        .address(weightsAt)
        .number(vocabulary)
        .address(changes.address())
        .address(ordersAt)
        .address(rows.address())
        .run(rows.grid(), ROW_BLOCK, rowShared());
  }

  private int rowShared() {
    return FIXED_SHARED + (blocks + 1) / 2 * 2 * BLOCK_SHARED;
  }
}

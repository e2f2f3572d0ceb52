package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** Ranks that meet on the emulated GPU, each on a host thread of its own. */
final class CollectiveKernelTest {

  private static final int BLOCKS = 2;

  private static byte[][] peers(EmulatedGpu gpu, int ranks, int half, MemorySegment abort) {
    Object[] fields = new Object[8 + 8 + 2 + 1 + 2];
    java.util.Arrays.fill(fields, 0L);
    for (int rank = 0; rank < ranks; rank++) {
      fields[rank] = gpu.bytes(8L * half).address();
      fields[8 + rank] = gpu.ints(new int[16]).address();
    }
    byte[][] all = new byte[ranks][];
    for (int rank = 0; rank < ranks; rank++) {
      fields[16] = gpu.ints(new int[16]).address();
      fields[17] = abort.address();
      fields[18] = (long) half;
      fields[19] = rank;
      fields[20] = ranks;
      all[rank] = EmulatedGpu.inner(gpu.struct(fields));
      assertEquals(160, all[rank].length);
    }
    return all;
  }

  private static void reduce(
      EmulatedGpu gpu,
      MemorySegment x,
      MemorySegment stream,
      MemorySegment bias,
      byte[] peers,
      MemorySegment rows,
      int width) {
    gpu.launch(
        "all_reduce",
        new Grid(BLOCKS, 1, 1),
        512,
        16,
        x,
        width + 1,
        x,
        width + 1,
        0L,
        0,
        peers,
        rows,
        width);
    gpu.launch(
        "all_reduce",
        new Grid(BLOCKS, 1, 1),
        512,
        16,
        stream,
        width,
        x,
        width + 1,
        bias,
        1,
        peers,
        rows,
        width);
  }

  @Test
  void everyRankEndsWithTheSameTree() throws Exception {
    Trial trial = Trial.named("reduce");
    for (int ranks : new int[] {2, 8}) {
      int width = trial.between(1, 300);
      int rows = 5;
      try (EmulatedGpu gpu = new EmulatedGpu();
          ExecutorService threads = Executors.newFixedThreadPool(ranks)) {
        byte[][] peers = peers(gpu, ranks, rows * width, gpu.ints(0));
        MemorySegment count = gpu.ints(rows - 1);
        float[][] parts = new float[ranks][];
        MemorySegment[] x = new MemorySegment[ranks];
        MemorySegment[] streams = new MemorySegment[ranks];
        float[] bias = trial.normal(width, 1);
        MemorySegment biases = gpu.floats(bias);
        float[] stream = trial.normal((long) rows * width, 1);
        for (int rank = 0; rank < ranks; rank++) {
          parts[rank] = trial.normal((long) rows * (width + 1), 1);
          x[rank] = gpu.floats(parts[rank]);
          streams[rank] = gpu.floats(stream);
        }
        Future<?>[] runs =
            IntStream.range(0, ranks)
                .mapToObj(
                    rank ->
                        threads.submit(
                            () ->
                                reduce(
                                    gpu,
                                    x[rank],
                                    streams[rank],
                                    biases,
                                    peers[rank],
                                    count,
                                    width)))
                .toArray(Future<?>[]::new);
        for (Future<?> run : runs) {
          run.get();
        }
        for (int rank = 0; rank < ranks; rank++) {
          float[] actual = EmulatedGpu.floatsOf(x[rank]);
          float[] added = EmulatedGpu.floatsOf(streams[rank]);
          for (int row = 0; row < rows - 1; row++) {
            for (int c = 0; c < width; c++) {
              float once = tree(parts, 0, ranks, row * (width + 1) + c);
              assertEquals(once, actual[row * (width + 1) + c]);
              // Every rank holds the sum now, so the second tree is that of equal parts.
              float[][] equal = new float[ranks][1];
              for (float[] part : equal) {
                part[0] = once;
              }
              assertEquals(
                  stream[row * width + c] + (tree(equal, 0, ranks, 0) + bias[c]),
                  added[row * width + c]);
            }
          }
          assertEquals(parts[rank][width], actual[width], "between the rows");
        }
      }
    }
  }

  private static float tree(float[][] parts, int from, int to, int at) {
    return to - from == 1
        ? parts[from][at]
        : tree(parts, from, (from + to) / 2, at) + tree(parts, (from + to) / 2, to, at);
  }

  @Test
  void aRankThatWaitsInVainIsLetGoByAnAbort() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      byte[][] peers = peers(gpu, 2, 8, gpu.ints(1));
      MemorySegment x = gpu.floats(1, 2);
      gpu.launch(
          "all_reduce",
          new Grid(BLOCKS, 1, 1),
          512,
          16,
          x,
          2,
          x,
          2,
          0L,
          0,
          peers[0],
          gpu.ints(1),
          2);
      assertEquals(1f, EmulatedGpu.floatsOf(x)[0]);
    }
  }

  @Test
  void columnsOfARankAreCopiedToTheirPlace() {
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      MemorySegment out = gpu.floats(new float[8]);
      gpu.launch(
          "copy_columns",
          new Grid(1, 2, 1),
          256,
          0,
          out.address() + 8,
          4,
          gpu.floats(1, 2, 3, 4),
          2,
          gpu.ints(2),
          2);
      Trial.assertSameBits(
          EmulatedGpu.bitsOf(out), EmulatedGpu.bitsOf(gpu.floats(0, 0, 1, 2, 0, 0, 3, 4)), "out");
    }
  }
}

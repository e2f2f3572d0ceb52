package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.RankAbortedException;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.host.CanonicalRanges;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ranks on threads of their own: the same bits as one rank, and no rank left waiting. */
@Timeout(300)
class TensorParallelTest {

  /** Every tier that runs here, and the reference. */
  static Stream<String> devices() {
    return Stream.concat(Tiers.running(), Stream.of("reference"));
  }

  /** What one rank does. */
  @FunctionalInterface
  private interface Program {
    void run(Ops ops) throws Exception;
  }

  private static void onRanks(List<Ops> ranks, Program program) throws Exception {
    try (ExecutorService threads = Executors.newFixedThreadPool(ranks.size())) {
      List<Future<?>> running = new ArrayList<>();
      for (Ops ops : ranks) {
        running.add(
            threads.submit(
                () -> {
                  program.run(ops);
                  return null;
                }));
      }
      for (Future<?> rank : running) {
        rank.get(250, TimeUnit.SECONDS);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void rowParallelProductsEqualOneRanksBitForBit(String isa) throws Exception {
    Trial trial = Trial.named("row parallel, " + isa);
    for (int inputs : new int[] {8, 64, 172, 257}) {
      int outputs = trial.between(1, 90);
      int rows = trial.between(1, 9);
      DType dtype = trial.random.nextBoolean() ? DType.FLOAT32 : DType.BFLOAT16;
      float[] x = trial.normal((long) rows * inputs, 1);
      float[] w = trial.normal((long) inputs * outputs, 1);
      try (Device device = Tiers.open(isa)) {
        WeightSlice whole =
            WeightSlice.whole(Trial.stored(w, DType.FLOAT32), DType.FLOAT32, outputs, inputs);
        LinearWeight packed = device.packLinear(whole, WeightFormat.of(dtype), Parallelism.ROW);
        Tensor expected = device.allocate(DType.FLOAT32, rows, outputs);
        device
            .openRanks(1)
            .getFirst()
            .linear(expected, Trial.tensor(device, rows, inputs, x), packed, null, rows);
        for (int ranks : new int[] {2, 4, 8}) {
          onRanks(
              device.openRanks(ranks),
              ops -> {
                int from = CanonicalRanges.border(8 / ranks * ops.rank(), inputs);
                int to = CanonicalRanges.border(8 / ranks * (ops.rank() + 1), inputs);
                float[] part = new float[rows * (to - from)];
                for (int row = 0; row < rows; row++) {
                  System.arraycopy(x, row * inputs + from, part, row * (to - from), to - from);
                }
                WeightSlice slice =
                    new WeightSlice(
                        whole.data(), DType.FLOAT32, outputs, inputs, 0, outputs, from, to);
                Tensor sum = Trial.poisoned(device, rows, outputs);
                ops.linear(
                    sum,
                    Trial.tensor(device, rows, to - from, part),
                    device.packLinear(slice, WeightFormat.of(dtype), Parallelism.ROW),
                    null,
                    rows);
                ops.allReduce(sum, rows, outputs);
                Trial.assertSameBits(
                    Trial.bits(sum),
                    Trial.bits(expected),
                    "%d of %d ranks, %d inputs".formatted(ops.rank(), ranks, inputs));
              });
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void feedForwardBlocksEqualOneRanksBitForBit(String isa) throws Exception {
    Trial trial = Trial.named("feed forward, " + isa);
    int hidden = 40;
    int inner = 512;
    int rows = trial.between(2, 50);
    float[] x = trial.normal((long) rows * hidden, 1);
    WeightSlice gate = slice(trial, inner, hidden);
    WeightSlice up = slice(trial, inner, hidden);
    WeightSlice down = slice(trial, hidden, inner);
    try (Device device = Tiers.open(isa)) {
      Tensor expected = Trial.tensor(device, rows, hidden, x);
      for (int ranks : new int[] {1, 2, 4}) {
        onRanks(
            device.openRanks(ranks),
            ops -> {
              int from = inner / ranks * ops.rank();
              int to = inner / ranks * (ops.rank() + 1);
              Tensor stream = ranks == 1 ? expected : Trial.tensor(device, rows, hidden, x);
              ops.feedForward(
                  stream,
                  stream,
                  null,
                  device.packGated(
                      part(gate, from, to, 0, hidden),
                      part(up, from, to, 0, hidden),
                      WeightFormat.BFLOAT16),
                  null,
                  null,
                  Trial.poisoned(device, rows, to - from),
                  device.packLinear(
                      part(down, 0, hidden, from, to), WeightFormat.BFLOAT16, Parallelism.ROW),
                  null,
                  Trial.poisoned(device, rows, hidden),
                  rows);
              Trial.assertSameBits(
                  Trial.bits(stream),
                  Trial.bits(expected),
                  "%d of %d ranks, %d rows".formatted(ops.rank(), ranks, rows));
            });
      }
    }
  }

  private static WeightSlice slice(Trial trial, int outputs, int inputs) {
    float[] values = trial.normal((long) outputs * inputs, 0.3);
    return WeightSlice.whole(Trial.stored(values, DType.FLOAT32), DType.FLOAT32, outputs, inputs);
  }

  private static WeightSlice part(
      WeightSlice whole, int rowFrom, int rowTo, int columnFrom, int columnTo) {
    return new WeightSlice(
        whole.data(),
        whole.dtype(),
        whole.rows(),
        whole.columns(),
        rowFrom,
        rowTo,
        columnFrom,
        columnTo);
  }

  @ParameterizedTest
  @MethodSource("devices")
  void allGatherPutsEveryShardInItsPlace(String isa) throws Exception {
    try (Device device = Tiers.open(isa)) {
      Tensor all = Trial.poisoned(device, 5, 8 * 7);
      onRanks(
          device.openRanks(8),
          ops -> {
            Tensor part = device.allocate(DType.FLOAT32, 5, 9);
            for (int i = 0; i < 45; i++) {
              part.segment().setAtIndex(JAVA_FLOAT, i, 100f * ops.rank() + 10f * (i / 9) + i % 9);
            }
            for (int round = 0; round < 200; round++) {
              ops.allGather(all, part, 4, ops.rank() * 7, 7);
            }
          });
      float[] values = all.segment().toArray(JAVA_FLOAT);
      for (int row = 0; row < 4; row++) {
        for (int c = 0; c < 56; c++) {
          assertThat(values[row * 56 + c]).isEqualTo(100f * (c / 7) + 10f * row + c % 7);
        }
      }
      assertThat(values[4 * 56]).isNaN();
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void manyRoundsOnMoreRanksThanProcessorsGoThrough(String isa) throws Exception {
    try (Device device = Tiers.open(isa)) {
      onRanks(
          device.openRanks(8),
          ops -> {
            Tensor x = device.allocate(DType.FLOAT32, 1, 20);
            for (int round = 1; round <= 2000; round++) {
              x.segment().fill((byte) 0);
              x.segment().setAtIndex(JAVA_FLOAT, 19, round);
              ops.allReduce(x, 1, 20);
              assertThat(x.segment().getAtIndex(JAVA_FLOAT, 19)).isEqualTo(8f * round);
            }
          });
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void anAbortWakesTheRanksThatWaitAndStopsThoseThatCome(String isa) throws Exception {
    try (Device device = Tiers.open(isa)) {
      IllegalStateException cause = new IllegalStateException("disk on fire");
      onRanks(
          device.openRanks(4),
          ops -> {
            Tensor x = device.allocate(DType.FLOAT32, 1, 4);
            ops.allReduce(x, 1, 4);
            if (ops.rank() == 2) {
              ops.abort(cause);
              return;
            }
            for (int i = 0; i < 2; i++) {
              assertThatThrownBy(() -> ops.allReduce(x, 1, 4))
                  .isInstanceOf(RankAbortedException.class)
                  .hasCause(cause)
                  .hasMessageContaining("disk on fire");
            }
          });
    }
  }

  @ParameterizedTest
  @MethodSource("devices")
  void ranksThatCallDifferentlyAllFail(String isa) {
    try (Device device = Tiers.open(isa)) {
      assertThatThrownBy(
              () ->
                  onRanks(
                      device.openRanks(2),
                      ops -> {
                        Tensor x = device.allocate(DType.FLOAT32, 3, 4);
                        ops.allReduce(x, 2 + ops.rank(), 4);
                      }))
          .isInstanceOf(ExecutionException.class)
          .hasMessageContaining("allReduce of [3, 4] (expected: as rank 0, allReduce of [2, 4])");
    }
  }
}

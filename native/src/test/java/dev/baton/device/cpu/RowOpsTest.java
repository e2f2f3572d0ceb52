package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.LinearWeight;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Operations on rows, of every tier, against the reference, bit for bit. */
class RowOpsTest {

  private static final String TIERS = "dev.baton.device.cpu.Tiers#running";

  private static void assertSame(String tier, Function<Device, Tensor> run, Object what) {
    try (Device cpu = Tiers.open(tier);
        Device reference = ReferenceDevice.open()) {
      Trial.assertSameBits(
          Trial.bits(run.apply(cpu)), Trial.bits(run.apply(reference)), tier + ": " + what);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void rmsNormEqualsTheReferenceForRowsAndHeads(String tier) {
    Trial trial = Trial.named("rmsNorm, " + tier);
    for (int i = 0; i < 40; i++) {
      int group = trial.between(1, 200);
      int width = group * trial.between(1, 4);
      int rows = trial.between(1, 9);
      boolean inPlace = trial.random.nextBoolean();
      float[] x = trial.normal((long) rows * width, Math.exp(trial.random.nextGaussian() * 4));
      float[] w = trial.normal(group, 1);
      assertSame(
          tier,
          device -> {
            Tensor in = Trial.tensor(device, rows, width, x);
            Tensor out = inPlace ? in : Trial.poisoned(device, rows + 1, width + 3);
            Tensor weight = Trial.tensor(device, 1, group, w);
            device.openRanks(1).getFirst().rmsNorm(out, in, weight, 1e-5f, rows, width);
            return out;
          },
          "rows %d, width %d, group %d".formatted(rows, width, group));
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void siluMultiplyEqualsTheReferenceOverTheWholeRangeOfFloats(String tier) {
    Trial trial = Trial.named("siluMultiply, " + tier);
    int width = 20_003;
    float[] gate = new float[width];
    for (int i = 0; i < width; i++) {
      float any = Float.intBitsToFloat(trial.random.nextInt());
      gate[i] = i % 2 == 0 || Float.isNaN(any) ? (i - width / 2) / 100f : any;
    }
    float[] edges = {0f, -0f, 87f, -87f, 88f, -88f, 87.00001f, -88.00001f, Float.MIN_VALUE};
    System.arraycopy(edges, 0, gate, 0, edges.length);
    float[] up = trial.normal(width, 1);
    assertSame(
        tier,
        device -> {
          Tensor out = Trial.poisoned(device, 2, width + 5);
          device
              .openRanks(1)
              .getFirst()
              .siluMultiply(
                  out,
                  Trial.tensor(device, 1, width, gate),
                  Trial.tensor(device, 1, width, up),
                  1,
                  width);
          return out;
        },
        "width " + width);
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aNotANumberInTheGateStaysOne(String tier) {
    try (Device cpu = Tiers.open(tier)) {
      Tensor gate = Trial.tensor(cpu, 1, 3, new float[] {Float.NaN, 1f, Trial.POISON});
      Tensor up = Trial.tensor(cpu, 1, 3, new float[] {1f, 1f, 1f});
      cpu.openRanks(1).getFirst().siluMultiply(gate, gate, up, 1, 3);
      int[] bits = Trial.bits(gate);
      assertThat(Float.intBitsToFloat(bits[0])).isNaN();
      assertThat(Float.intBitsToFloat(bits[1])).isBetween(0.7310585f, 0.7310587f);
      assertThat(Float.intBitsToFloat(bits[2])).isNaN();
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void addEqualsTheReference(String tier) {
    Trial trial = Trial.named("add, " + tier);
    for (int width = 1; width <= 50; width += 7) {
      int n = width;
      float[] a = trial.normal(3L * (n + 2), 1);
      float[] b = trial.normal(3L * n, 1);
      assertSame(
          tier,
          device -> {
            Tensor x = Trial.tensor(device, 3, n + 2, a);
            device.openRanks(1).getFirst().add(x, Trial.tensor(device, 3, n, b), 2, n);
            return x;
          },
          "width " + n);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void aSingleRowIsAddedToEachRow(String tier) {
    Trial trial = Trial.named("add one row, " + tier);
    for (int width = 1; width <= 50; width += 7) {
      int n = width;
      float[] a = trial.normal(5L * n, 1);
      float[] b = trial.normal(n, 1);
      assertSame(
          tier,
          device -> {
            Tensor x = Trial.tensor(device, 5, n, a);
            device.openRanks(1).getFirst().add(x, Trial.tensor(device, 1, n, b), 4, n);
            return x;
          },
          "width " + n);
    }
  }

  @ParameterizedTest
  @MethodSource(TIERS)
  void embedAndGatherLogitRowsEqualTheReference(String tier) {
    Trial trial = Trial.named("embed, " + tier);
    for (DType dtype : new DType[] {DType.FLOAT32, DType.BFLOAT16}) {
      int width = trial.between(1, 70);
      float[] table = trial.normal(50L * width, 1);
      int[] ids = trial.random.ints(9, 0, 50).toArray();
      assertSame(
          tier,
          device -> {
            StepBatch batch = device.allocateStepBatch(9, 3, 1);
            batch.begin();
            for (int i = 0; i < ids.length; i++) {
              if (i % 3 == 0) {
                batch.addSequence(new int[] {i}, 1);
              }
              batch.addToken(ids[i], i, i % 2 == 0);
            }
            batch.seal();
            assertThat(batch.logitRows()).isEqualTo(5);
            WeightSlice slice =
                WeightSlice.whole(Trial.stored(table, DType.FLOAT16), DType.FLOAT16, 50, width);
            Tensor hidden = Trial.poisoned(device, 10, width);
            Tensor out = Trial.poisoned(device, 6, width + 1);
            Ops ops = device.openRanks(1).getFirst();
            ops.embed(hidden, device.convert(slice, dtype), batch);
            ops.gatherLogitRows(out, hidden, batch);
            return out;
          },
          dtype);
    }
  }

  /** From shards of different sizes, in every format, of widths that fill no tile. */
  @ParameterizedTest
  @MethodSource(TIERS)
  void embeddingFromPackedShardsEqualsTheReference(String tier) {
    Trial trial = Trial.named("packed embedding, " + tier);
    for (WeightFormat format : WeightFormat.values()) {
      for (int width : new int[] {1, 40, 64, 150}) {
        float[] values = trial.normal(90L * width, 1);
        int[] ids = new int[20];
        for (int i = 0; i < ids.length; i++) {
          ids[i] = i < 4 ? new int[] {0, 16, 17, 89}[i] : trial.between(0, 89);
        }
        int[][] results = new int[2][];
        for (int i = 0; i < 2; i++) {
          try (Device device = i == 0 ? Tiers.open(tier) : ReferenceDevice.open()) {
            List<LinearWeight> shards = new ArrayList<>();
            for (int[] rows : new int[][] {{0, 17}, {17, 50}, {50, 90}}) {
              WeightSlice slice =
                  new WeightSlice(
                      MemorySegment.ofArray(values),
                      DType.FLOAT32,
                      90,
                      width,
                      rows[0],
                      rows[1],
                      0,
                      width);
              shards.add(device.packLinear(slice, format, Parallelism.COLUMN));
            }
            StepBatch batch = device.allocateStepBatch(20, 1, 2);
            batch.begin();
            batch.addSequence(new int[] {0, 1}, 2);
            for (int t = 0; t < ids.length; t++) {
              batch.addToken(ids[t], t, false);
            }
            batch.seal();
            Tensor out = Trial.poisoned(device, 21, width + 1);
            device.openRanks(1).getFirst().embed(out, shards, batch);
            results[i] = Trial.bits(out);
          }
        }
        Trial.assertSameBits(results[0], results[1], tier + ": " + format + " of " + width);
        float first = Float.intBitsToFloat(results[0][0]);
        assertThat(first).isCloseTo(values[0], within(format == WeightFormat.INT4 ? 0.5f : 0.03f));
      }
    }
  }
}

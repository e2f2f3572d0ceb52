package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** Routing and the products of experts on the emulated GPU. */
final class MixtureKernelTest {

  /** A routing's memory and struct. */
  private record Routed(
      MemorySegment counts,
      MemorySegment choices,
      MemorySegment slots,
      MemorySegment weights,
      MemorySegment rowOfSlot,
      MemorySegment begins,
      byte[] struct) {

    static Routed of(EmulatedGpu gpu, int rows, int experts, int chosen) {
      MemorySegment counts = gpu.bytes(8);
      MemorySegment choices = gpu.bytes(4L * rows * chosen);
      MemorySegment slots = gpu.bytes(4L * rows * chosen);
      MemorySegment weights = gpu.bytes(4L * rows * chosen);
      MemorySegment rowOfSlot = gpu.bytes(4L * rows * chosen);
      MemorySegment begins = gpu.bytes(4L * (experts + 1));
      byte[] struct =
          EmulatedGpu.inner(
              gpu.struct(
                  counts.address(),
                  choices.address(),
                  slots.address(),
                  weights.address(),
                  rowOfSlot.address(),
                  begins.address(),
                  experts,
                  chosen,
                  rows,
                  0));
      assertEquals(64, struct.length);
      return new Routed(counts, choices, slots, weights, rowOfSlot, begins, struct);
    }
  }

  private static Routed route(
      EmulatedGpu gpu, float[] scores, int rows, int experts, int chosen, boolean normalize) {
    Routed routed = Routed.of(gpu, rows, experts, chosen);
    gpu.launch(
        "route_choose",
        new Grid(rows + 2, 1, 1),
        32,
        0,
        routed.struct(),
        gpu.floats(scores),
        experts,
        gpu.ints(rows),
        normalize ? 1 : 0);
    gpu.launch("route_sort", new Grid(experts, 1, 1), 256, 64, (Object) routed.struct());
    return routed;
  }

  /** The choices of a row by falling score, equal ones by rising number. */
  private static Integer[] order(float[] scores, int row, int experts) {
    Integer[] order = new Integer[experts];
    Arrays.setAll(order, i -> i);
    Arrays.sort(
        order,
        (a, b) -> Float.compare(scores[row * experts + b] + 0f, scores[row * experts + a] + 0f));
    return order;
  }

  @Test
  void rowsGoToTheirBestExpertsInSlotsByExpertThenRow() {
    Trial trial = Trial.named("routing");
    for (boolean normalize : new boolean[] {true, false}) {
      int experts = trial.between(3, 70);
      int chosen = trial.between(1, 3);
      int rows = trial.between(1, 200);
      float[] scores = trial.normal((long) rows * experts, 2);
      for (int i = 0; i < scores.length; i += 3) {
        scores[i] = Math.round(scores[i]);
      }
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        Routed routed = route(gpu, scores, rows, experts, chosen, normalize);
        int[] choices = EmulatedGpu.bitsOf(routed.choices());
        int[] slots = EmulatedGpu.bitsOf(routed.slots());
        int[] begins = EmulatedGpu.bitsOf(routed.begins());
        float[] weights = EmulatedGpu.floatsOf(routed.weights());
        int[] next = new int[experts];
        int[] counts = new int[experts + 1];
        for (int choice : choices) {
          counts[choice + 1]++;
        }
        for (int i = 0; i < experts; i++) {
          counts[i + 1] += counts[i];
        }
        assertEquals(Arrays.toString(counts), Arrays.toString(begins));
        for (int row = 0; row < rows; row++) {
          Integer[] order = order(scores, row, experts);
          double total = 0;
          for (int i = 0; i < (normalize ? chosen : experts); i++) {
            total += Math.exp(scores[row * experts + order[i]] - scores[row * experts + order[0]]);
          }
          for (int j = 0; j < chosen; j++) {
            int pair = row * chosen + j;
            assertEquals(order[j], choices[pair], "choice " + j + " of row " + row);
            double weight =
                Math.exp(scores[row * experts + order[j]] - scores[row * experts + order[0]])
                    / total;
            assertEquals(weight, weights[pair], 1e-5);
            assertEquals(begins[choices[pair]] + next[choices[pair]]++, slots[pair]);
            assertEquals(row, EmulatedGpu.bitsOf(routed.rowOfSlot())[slots[pair]]);
          }
        }
        assertEquals(rows * chosen, EmulatedGpu.bitsOf(routed.counts())[1]);
      }
    }
  }

  @Test
  void expertsMultiplyTheirSlotsAloneAndInTilesToTheSameBits() {
    Trial trial = Trial.named("experts");
    int experts = trial.between(35, 40);
    int chosen = 2;
    int rows = 20;
    int outputs = trial.between(9, 30);
    Packings packing = Packings.column(trial.between(33, 70));
    float[] scores = trial.normal((long) rows * experts, 2);
    for (int row = 0; row < rows; row++) {
      scores[row * experts + 33] = 9f;
    }
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      Routed routed = route(gpu, scores, rows, experts, chosen, true);
      int[] begins = EmulatedGpu.bitsOf(routed.begins());
      float[][] weights = new float[experts][];
      MemorySegment table = gpu.bytes(8L * experts);
      for (int i = 0; i < experts; i++) {
        weights[i] = trial.normal((long) outputs * packing.inputs(), 0.3);
        table.setAtIndex(
            java.lang.foreign.ValueLayout.JAVA_LONG,
            i,
            gpu.bf16s(packing.pack(weights[i])).address());
      }
      int slots = rows * chosen;
      float[] x = trial.normal((long) slots * packing.inputs(), 1);
      MemorySegment inputs = gpu.bf16s(packing.pack(x));
      int tiles = (outputs + 15) / 16;
      MemorySegment[] outs = {gpu.bytes(4L * slots * outputs), gpu.bytes(4L * slots * outputs)};
      for (int way = 0; way < 2; way++) {
        Object[] fields = new Object[47];
        Arrays.fill(fields, 0L);
        fields[3] = outs[way].address();
        for (int i = 0; i < 4; i++) {
          Arrays.fill(fields, i * 9 + 5, i * 9 + 9, 0);
        }
        fields[5] = outputs;
        fields[6] = outputs;
        Arrays.fill(fields, 36, 46, 0);
        fields[36] = 1;
        fields[37] = tiles;
        fields[44] = packing.ranges();
        fields[45] = packing.width();
        fields[46] = table.address();
        byte[] struct = EmulatedGpu.inner(gpu.struct(fields));
        assertEquals(272, struct.length);
        if (way == 0) {
          gpu.launch(
              "linear_routed_few",
              new Grid(tiles, Math.min(slots, experts), 1),
              32 * packing.ranges(),
              packing.ranges() * 512,
              struct,
              inputs,
              routed.struct());
        } else {
          gpu.launch(
              "linear_routed_many",
              new Grid((tiles + 15) / 16, Math.min(slots, experts + slots / 128), 1),
              256,
              98304,
              struct,
              inputs,
              routed.struct());
        }
      }
      Trial.assertSameBits(
          EmulatedGpu.bitsOf(outs[1]), EmulatedGpu.bitsOf(outs[0]), "tiles against alone");
      float[] actual = EmulatedGpu.floatsOf(outs[0]);
      for (int expert = 0; expert < experts; expert++) {
        for (int slot = begins[expert]; slot < begins[expert + 1]; slot++) {
          for (int output = 0; output < outputs; output++) {
            double right = product(x, slot, weights[expert], output, packing.inputs());
            assertEquals(right, actual[slot * outputs + output], 1e-4 * (1 + Math.abs(right)));
          }
        }
      }
      assertCombined(gpu, routed, outs[0], rows, chosen, outputs);
    }
  }

  private static double product(float[] x, int row, float[] weight, int output, int inputs) {
    float[] a = EmulatedGpu.rounded(Arrays.copyOfRange(x, row * inputs, (row + 1) * inputs));
    float[] b =
        EmulatedGpu.rounded(Arrays.copyOfRange(weight, output * inputs, (output + 1) * inputs));
    double sum = 0;
    for (int i = 0; i < inputs; i++) {
      sum += (double) a[i] * b[i];
    }
    return sum;
  }

  private static void assertCombined(
      EmulatedGpu gpu, Routed routed, MemorySegment slots, int rows, int chosen, int width) {
    MemorySegment out = gpu.bytes(4L * rows * width);
    gpu.launch(
        "combine_routed",
        new Grid(1, rows + 1, 1),
        256,
        0,
        out,
        width,
        slots,
        width,
        routed.struct(),
        width);
    float[] values = EmulatedGpu.floatsOf(slots);
    float[] weights = EmulatedGpu.floatsOf(routed.weights());
    int[] places = EmulatedGpu.bitsOf(routed.slots());
    float[] actual = EmulatedGpu.floatsOf(out);
    for (int i = 0; i < rows * width; i++) {
      float sum = 0;
      for (int j = 0; j < chosen; j++) {
        int pair = i / width * chosen + j;
        float value = values[places[pair] * width + i % width];
        sum = j == 0 ? weights[pair] * value : Math.fma(weights[pair], value, sum);
      }
      assertEquals(sum, actual[i]);
    }
  }
}

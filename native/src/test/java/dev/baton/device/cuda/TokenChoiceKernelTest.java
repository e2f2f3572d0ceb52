package dev.baton.device.cuda;

import static dev.baton.device.TokenChoice.*;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.TokenChoice;
import dev.baton.device.Trial;
import dev.baton.device.host.HostTokenChoice;
import dev.baton.device.reference.ReferenceLogitScan;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import java.util.TreeSet;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Tokens chosen on the emulated GPU: the very results of the host, whatever is asked for. */
final class TokenChoiceKernelTest {

  private static final int ROWS = 6;

  /** And to the end of the process, as all tests of kernels do. */
  @BeforeAll
  @SuppressWarnings("restricted") // our own library
  static void watchRaces() throws Throwable {
    CudaDriver.open(true);
    Linker.nativeLinker()
        .downcallHandle(
            SymbolLookup.libraryLookup("libcuda.so.1", Arena.global())
                .find("baton_emulate_races")
                .orElseThrow(),
            FunctionDescriptor.ofVoid(JAVA_INT))
        .invokeExact(1);
  }

  /** Rows of every kind of likelihood: flat, peaked, with ties, zeros of both signs, unlikely. */
  private static float[] logits(Trial trial, int width) {
    float[] values = trial.normal((long) ROWS * width, 1);
    for (int row = 0; row < ROWS; row++) {
      float scale = trial.oneOf(1, 10, 40) / 10f;
      for (int c = 0; c < width; c++) {
        int at = row * width + c;
        values[at] *= scale;
        switch (trial.random.nextInt(8)) {
          case 0 -> values[at] = Math.round(values[at]);
          case 1 -> values[at] = -0f;
          case 2 -> values[at] = row == 1 ? Float.NEGATIVE_INFINITY : values[at];
          default -> {}
        }
      }
      if (trial.random.nextBoolean()) {
        values[row * width + trial.random.nextInt(width)] = 6f;
      }
    }
    return values;
  }

  /** Orders of every kind, the same for all choices. */
  private static void order(Trial trial, int width, List<TokenChoice> choices) {
    int changes = 0;
    for (int row = 0; row < ROWS; row++) {
      int kind = trial.oneOf(GREEDY, DRAW, DRAW, SCORE);
      int[] numbers = {
        kind,
        kind == SCORE || trial.random.nextInt(3) == 0 ? trial.between(0, MOST_TOPS) : -1,
        trial.random.nextInt(width),
        trial.oneOf(0, 0, 1, trial.between(2, 60), width, width + 3)
      };
      float topP = trial.random.nextBoolean() ? 1f : trial.random.nextFloat();
      float[] inverses = {1f, 1 / 0.7f, 0.5f, 1e30f};
      float inverse = inverses[trial.random.nextInt(inverses.length)];
      double below = trial.random.nextBoolean() ? Double.NEGATIVE_INFINITY : Math.log(0.05) / 2;
      double uniform = trial.random.nextDouble();
      TreeSet<Integer> ids = new TreeSet<>();
      for (int i = trial.oneOf(0, 0, 3, 400); i > 0; i--) {
        ids.add(trial.random.nextInt(width));
      }
      float[] penalties = {1.3f, 0.2f, trial.random.nextFloat()};
      for (TokenChoice choice : choices) {
        MemorySegment order = choice.orders().asSlice((long) row * ORDER_BYTES, ORDER_BYTES);
        MemorySegment.copy(numbers, 0, order, JAVA_INT, KIND, 4);
        order.set(JAVA_FLOAT, TOP_P, topP);
        order.set(JAVA_FLOAT, INVERSE, inverse);
        order.set(JAVA_DOUBLE, BELOW, below);
        order.set(JAVA_DOUBLE, UNIFORM, uniform);
        order.set(JAVA_INT, CHANGES_FROM, changes);
        order.set(JAVA_INT, CHANGES, ids.size());
        MemorySegment.copy(penalties, 0, order, JAVA_FLOAT, REPETITION, 3);
      }
      for (int id : ids) {
        int flags = trial.between(1, 7);
        float bias = trial.random.nextFloat(-2f, 2f);
        int generated = trial.between(0, 3);
        for (TokenChoice choice : choices) {
          MemorySegment all = choice.changes(changes + 1);
          long at = (long) changes * CHANGE_BYTES;
          all.set(JAVA_INT, at, id);
          all.set(JAVA_FLOAT, at + 4, bias);
          all.set(JAVA_INT, at + 8, generated);
          all.set(JAVA_INT, at + 12, flags);
        }
        changes++;
      }
    }
  }

  private static void check(Trial trial, int width, float[] values) {
    HostTokenChoice host = new HostTokenChoice(new ReferenceLogitScan(), width, ROWS);
    try (CudaGpu gpu = new CudaGpu(CudaDriver.open(true), 0, 0.1)) {
      CudaTokenChoice own = new CudaTokenChoice(gpu, width, ROWS);
      order(trial, width, List.of(host, own));
      host.choose(MemorySegment.ofArray(values.clone()), ROWS);
      MemorySegment logits = gpu.allocate(4L * values.length, "logits");
      float[] after = launch(gpu, own, logits, values);
      assertThat(after).as("logits, put back").isEqualTo(values);
      compare(width, host, own);
    }
  }

  /** Fewer rows are there than the grid has. */
  private static float[] launch(
      CudaGpu gpu, CudaTokenChoice own, MemorySegment logits, float[] values) {
    CudaDriver driver = gpu.driver();
    MemorySegment pinned = gpu.pinned(logits.byteSize());
    MemorySegment.copy(values, 0, pinned, JAVA_FLOAT, 0, values.length);
    Launch launch = new Launch(gpu, gpu.stream());
    driver.upload(logits.address(), pinned, launch.stream());
    long count = gpu.allocate(4, "rows").address();
    driver.fill(count, ROWS, 1, launch.stream());
    own.launch(launch, logits.address(), new Rows(count, 8), own.variant(ROWS));
    driver.download(pinned, logits.address(), launch.stream());
    driver.synchronize(launch.stream());
    return pinned.toArray(JAVA_FLOAT);
  }

  private static void compare(int width, HostTokenChoice host, CudaTokenChoice own) {
    for (int row = 0; row < ROWS; row++) {
      MemorySegment order = host.orders().asSlice((long) row * ORDER_BYTES, ORDER_BYTES);
      MemorySegment expected = host.results().asSlice((long) row * RESULT_BYTES, RESULT_BYTES);
      MemorySegment told = own.results().asSlice((long) row * RESULT_BYTES, RESULT_BYTES);
      String what =
          "width %d, row %d, kind %d, topK %d, topP %s, inverse %s, below %s, %d changes: "
              .formatted(
                  width,
                  row,
                  order.get(JAVA_INT, KIND),
                  order.get(JAVA_INT, TOP_K),
                  order.get(JAVA_FLOAT, TOP_P),
                  order.get(JAVA_FLOAT, INVERSE),
                  order.get(JAVA_DOUBLE, BELOW),
                  order.get(JAVA_INT, CHANGES));
      for (int field : new int[] {PEAK, NUMBER, CHANGED_PEAK, TOKEN}) {
        same(what, told, expected, field);
      }
      if (!(expected.get(JAVA_FLOAT, PEAK) > Float.NEGATIVE_INFINITY)) {
        continue;
      }
      int tops = order.get(JAVA_INT, TOPS);
      same(what, told, expected, LOGIT);
      if (tops >= 0) {
        assertThat(told.get(JAVA_DOUBLE, SUM)).as(what).isEqualTo(expected.get(JAVA_DOUBLE, SUM));
      }
      if (order.get(JAVA_INT, KIND) == SCORE) {
        same(what, told, expected, RANK);
      }
      for (int place = 0; place < Math.min(tops, width); place++) {
        same(what, told, expected, TOP_IDS + 4 * place);
        same(what, told, expected, TOP_LOGITS + 4 * place);
      }
    }
  }

  private static void same(String what, MemorySegment told, MemorySegment expected, int field) {
    assertThat(told.get(JAVA_INT, field))
        .as(what + "field " + field)
        .isEqualTo(expected.get(JAVA_INT, field));
  }

  @Test
  void resultsAreThoseOfTheHostWhateverIsAskedFor() {
    Trial trial = Trial.named("choices");
    for (int round = 0; round < 14; round++) {
      int width = round == 0 ? 1 : trial.oneOf(trial.between(2, 900), trial.between(3000, 9000));
      check(trial, width, logits(trial, width));
    }
  }

  @Test
  void rowsThatAreNoNumbersAreTold() {
    Trial trial = Trial.named("choices of no numbers");
    int width = 700;
    float[] values = logits(trial, width);
    values[width + 300] = Float.NaN;
    values[2 * width + 5] = Float.POSITIVE_INFINITY;
    for (int c = 0; c < width; c++) {
      values[3 * width + c] = Float.NEGATIVE_INFINITY;
    }
    check(trial, width, values);
  }

  @Test
  void greedyRowsAloneNeedOnlyTheLargest() {
    int width = 1000;
    float[] values = logits(Trial.named("greedy choices"), width);
    HostTokenChoice host = new HostTokenChoice(new ReferenceLogitScan(), width, ROWS);
    try (CudaGpu gpu = new CudaGpu(CudaDriver.open(true), 0, 0.1)) {
      CudaTokenChoice own = new CudaTokenChoice(gpu, width, ROWS);
      for (TokenChoice choice : List.of(host, own)) {
        for (int row = 0; row < ROWS; row++) {
          choice.orders().set(JAVA_INT, (long) row * ORDER_BYTES + TOPS, -1);
        }
      }
      host.choose(MemorySegment.ofArray(values.clone()), ROWS);
      assertThat(own.variant(ROWS)).isZero();
      launch(gpu, own, gpu.allocate(4L * values.length, "logits"), values);
      for (int row = 0; row < ROWS; row++) {
        assertThat(own.results().get(JAVA_INT, (long) row * RESULT_BYTES + TOKEN))
            .isEqualTo(host.results().get(JAVA_INT, (long) row * RESULT_BYTES + TOKEN));
      }
    }
  }
}

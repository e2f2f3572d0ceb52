package dev.baton.engine.sample;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.LogitScan;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.Sampling;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Penalties and filters against the answers of transformers, see tools/sampling_golden.py. */
class SamplingGoldenTest {

  private static final int DRAWS = 6000;

  record Golden(
      Map<String, Float> parameters,
      float[] logits,
      int[] prompt,
      int[] output,
      List<String> result) {

    float get(String name) {
      return Objects.requireNonNull(parameters.get(name), name);
    }

    @Override
    public String toString() {
      return parameters + ", output of " + output.length;
    }
  }

  @ParameterizedTest
  @MethodSource("adjusted")
  void biasAndPenaltiesAreThoseOfTransformers(Golden golden) {
    Map<Integer, Float> bias = new HashMap<>();
    for (int id = 0; golden.get("bias") != 0 && id < golden.logits().length; id += 5) {
      bias.put(id, golden.get("bias"));
    }
    Sampling sampling =
        Sampling.greedy(1)
            .with(
                draft -> {
                  draft.temperature = 1;
                  draft.repetitionPenalty = golden.get("repetition");
                  draft.frequencyPenalty = golden.get("frequency");
                  draft.presencePenalty = golden.get("presence");
                  draft.logitBias = bias;
                });
    int[] tokens =
        IntStream.concat(Arrays.stream(golden.prompt()), Arrays.stream(golden.output())).toArray();
    Adjustments adjustments = Adjustments.of(sampling, golden.prompt().length, List.of());
    float[] logits = golden.logits().clone();
    Watched scan = new Watched();
    Sampler sampler = new Sampler(scan, logits.length, 1);
    // Token by token, as a session grows.
    for (int length = golden.prompt().length; length <= tokens.length; length++) {
      sampler.begin();
      sampler.draw(sampling, adjustments, tokens, length, 0);
      sampler.run(MemorySegment.ofArray(logits));
      assertThat(logits).isEqualTo(golden.logits());
    }
    float[] row = scan.drawnFrom;
    float[] expected = new float[row.length];
    for (int i = 0; i < row.length; i++) {
      expected[i] = Float.parseFloat(golden.result().get(i));
    }
    assertThat(row).usingComparatorWithPrecision(1e-6f).containsExactly(expected);
  }

  /** Keeps the row that was drawn from. */
  private static final class Watched implements LogitScan {
    private final LogitScan scan = new ReferenceLogitScan();
    float[] drawnFrom = {};

    @Override
    public void peaks(
        MemorySegment best,
        MemorySegment peaks,
        MemorySegment logits,
        int width,
        int rowFrom,
        int rows) {
      scan.peaks(best, peaks, logits, width, rowFrom, rows);
    }

    @Override
    public void exponentials(
        MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count) {
      scan.exponentials(sums, logits, width, views, count);
    }

    @Override
    public void draw(
        MemorySegment tokens,
        MemorySegment logits,
        MemorySegment peaks,
        int width,
        MemorySegment sums,
        MemorySegment draws,
        int count) {
      drawnFrom = logits.toArray(ValueLayout.JAVA_FLOAT);
      scan.draw(tokens, logits, peaks, width, sums, draws, count);
    }

    @Override
    public void rank(
        MemorySegment ids,
        MemorySegment reached,
        MemorySegment logits,
        MemorySegment peaks,
        int width,
        MemorySegment rankings,
        int count,
        int most) {
      scan.rank(ids, reached, logits, peaks, width, rankings, count, most);
    }
  }

  @ParameterizedTest
  @MethodSource("filtered")
  void whatTheFiltersLeaveIsWhatTransformersLeaves(Golden golden) {
    Sampling sampling =
        Sampling.greedy(1)
            .with(
                draft -> {
                  draft.temperature = golden.get("temperature");
                  draft.topK = (int) golden.get("top_k");
                  draft.topP = golden.get("top_p");
                  draft.minP = golden.get("min_p");
                  draft.seed = 5;
                });
    Sampler sampler = new Sampler(new ReferenceLogitScan(), golden.logits().length, 1);
    TreeSet<Integer> drawn = new TreeSet<>();
    for (int index = 0; index < DRAWS; index++) {
      sampler.begin();
      sampler.draw(sampling, null, new int[0], 0, index);
      sampler.run(MemorySegment.ofArray(golden.logits()));
      drawn.add(sampler.token(0));
    }
    List<Integer> kept = golden.result().stream().map(Integer::valueOf).toList();
    double total = kept.stream().mapToDouble(id -> weight(golden, id)).sum();
    assertThat(kept).containsAll(drawn);
    // One that so many draws miss is one of a chance below 1e-5.
    assertThat(drawn)
        .containsAll(
            kept.stream().filter(id -> weight(golden, id) / total > 12.0 / DRAWS).toList());
  }

  private static double weight(Golden golden, int id) {
    return Math.exp(golden.logits()[id] / golden.get("temperature"));
  }

  static Stream<Golden> adjusted() throws IOException {
    return read("adjust");
  }

  static Stream<Golden> filtered() throws IOException {
    return read("filter");
  }

  private static Stream<Golden> read(String kind) throws IOException {
    List<Golden> cases = new ArrayList<>();
    try (InputStream in =
        Objects.requireNonNull(
            SamplingGoldenTest.class.getResourceAsStream("/sampling/golden.txt"))) {
      List<String> lines =
          new String(in.readAllBytes(), StandardCharsets.US_ASCII).lines().toList();
      for (int i = 0; i + 4 < lines.size(); i += 6) {
        List<String> head = words(lines.get(i));
        if (head.getFirst().equals(kind)) {
          Map<String, Float> parameters = new HashMap<>();
          for (String parameter : head.subList(1, head.size())) {
            int equals = parameter.indexOf('=');
            parameters.put(
                parameter.substring(0, equals), Float.valueOf(parameter.substring(equals + 1)));
          }
          List<String> row = words(lines.get(i + 1));
          float[] logits = new float[row.size()];
          for (int id = 0; id < logits.length; id++) {
            logits[id] = Float.parseFloat(row.get(id));
          }
          cases.add(
              new Golden(
                  parameters,
                  logits,
                  ids(lines.get(i + 2)),
                  ids(lines.get(i + 3)),
                  words(lines.get(i + 4))));
        }
      }
    }
    assertThat(cases).isNotEmpty();
    return cases.stream();
  }

  private static int[] ids(String line) {
    return words(line).stream().mapToInt(Integer::parseInt).toArray();
  }

  private static List<String> words(String line) {
    return line.isBlank() ? List.of() : List.of(line.strip().split(" "));
  }
}

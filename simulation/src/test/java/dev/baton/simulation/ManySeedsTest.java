package dev.baton.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.simulation.cluster.Reached;
import dev.baton.simulation.cluster.Seams;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code -Dseed=N} begins elsewhere; {@code -Dseeds=N} runs more or fewer. */
@DisplayName("Whatever goes wrong")
class ManySeedsTest {

  private static final long FIRST = Long.getLong("seed", 1);
  private static final long COUNT = Long.getLong("seeds", 10_000);

  /** What longer campaigns have found. */
  @ParameterizedTest
  @ValueSource(
      longs = {
        15_533, 19_279, 40_261, 128_908, 129_590, 1_218_877, 1_574_065, 3_049_768, 3_060_516,
        3_259_987, 3_820_646, 5_018_620, 5_051_893, 5_123_062, 5_160_826
      })
  void whatOnceWentWrongDoesNotAgain(long seed) {
    Verdict verdict = Simulation.run(seed, Seams.PLAIN, Trace.OFF);
    assertThat(verdict.violation()).isEmpty();
  }

  @Test
  void everyStreamIsRightEverySessionEndsAndNothingIsLeftBehind() throws Exception {
    List<String> failures = new ArrayList<>();
    Campaign.Progress progress =
        Campaign.run(
            FIRST,
            FIRST + COUNT - 1,
            Math.min(4, Runtime.getRuntime().availableProcessors()),
            10,
            () -> Seams.PLAIN,
            verdict ->
                failures.add(
                    "./baton simulate --seed %d --trace: %s"
                        .formatted(verdict.seed(), verdict.violation().orElseThrow())),
            _ -> {});
    assertThat(failures).isEmpty();
    assertThat(progress.done()).isEqualTo(COUNT);
    Reached reached = progress.reached();
    assertThat(reached.handoffs()).as("hand-offs").isGreaterThan(COUNT);
    assertThat(reached.aborted()).as("aborted hand-offs").isGreaterThan(COUNT / 100);
    assertThat(reached.corruptSlabs()).as("corrupt slabs").isGreaterThan(COUNT / 100);
    assertThat(reached.preemptions()).as("preemptions").isGreaterThan(COUNT / 100);
    assertThat(reached.swaps()).as("swaps").isPositive();
    assertThat(reached.cachedTokens()).as("cached tokens").isGreaterThan(COUNT);
    assertThat(reached.laterAttempts()).as("later attempts").isGreaterThan(COUNT / 100);
    assertThat(reached.moves()).as("sessions moved").isGreaterThan(COUNT / 50);
    assertThat(reached.prefixes()).as("prefixes fetched").isGreaterThan(COUNT / 500);
    assertThat(reached.resumed()).as("resumed sessions").isGreaterThan(COUNT / 100);
  }
}

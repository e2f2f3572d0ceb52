package dev.baton.simulation;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.simulation.cluster.Seams;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SameSeedTest {

  private static final class Lines implements Trace {
    final List<String> lines = new ArrayList<>();

    @Override
    public boolean on() {
      return true;
    }

    @Override
    public void event(long nanos, String node, String what) {
      lines.add(nanos + " " + node + " " + what);
    }
  }

  private static List<String> trace(long seed) {
    Lines trace = new Lines();
    Verdict verdict = Simulation.run(seed, Seams.PLAIN, trace);
    trace.lines.add(verdict.toString());
    return trace.lines;
  }

  @Test
  void theSameSeedMakesTheSameTraceToTheNanosecond() {
    for (long seed = 1; seed <= 40; seed++) {
      assertThat(trace(seed)).as("seed %d", seed).isEqualTo(trace(seed));
    }
  }

  @Test
  void aTraceChangesNothing() {
    for (long seed = 1; seed <= 40; seed++) {
      assertThat(trace(seed).getLast())
          .isEqualTo(Simulation.run(seed, Seams.PLAIN, Trace.OFF).toString());
    }
  }

  @Test
  void otherSeedsMakeOtherRuns() {
    assertThat(trace(1)).isNotEqualTo(trace(2));
  }
}

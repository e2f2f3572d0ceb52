package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.engine.model.FakeModelRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

/** What tokens tell of the energy of their sessions. Time rises by a second with each step. */
class EnergyTest {

  private static final long SECOND = 1_000_000_000;

  private final AtomicLong nanos = new AtomicLong();
  private final EngineOptions options = EngineOptions.of(Path.of("fake"));
  private final FakeModelRunner runner = new FakeModelRunner(64, options, 256);

  /** Weights of as many bytes as the KV of two positions. */
  private Engine engine() {
    runner.weightBytes = 2 * KvCopies.pageBytes(runner) / runner.blockTokens();
    runner.beforeRun = () -> nanos.addAndGet(SECOND);
    return Engine.on(runner, options, nanos::get);
  }

  private static final class Heard implements SessionListener {
    final List<Double> joules = new ArrayList<>();

    @Override
    public void onToken(SampledToken token) {
      joules.add(token.joules());
    }

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }

  private static Heard generate(Engine engine, String name, int promptTokens) {
    Heard heard = new Heard();
    int[] prompt = new int[promptTokens];
    Arrays.fill(prompt, 5);
    engine.generate(Generation.of(new SessionId(name, 1), prompt, Sampling.greedy(6)), heard);
    return heard;
  }

  @Test
  void aSessionAloneHasAllThatIsDrawnWhileItsStepsRun() {
    try (Engine engine = engine()) {
      assertThat(engine.measureEnergy()).isNegative();
      runner.joules = 1000;
      engine.measureEnergy();
      nanos.addAndGet(SECOND);
      runner.joules = 1100;
      assertThat(engine.measureEnergy()).isEqualTo(1100);
      Heard heard = generate(engine, "a", 3);
      engine.step();
      assertThat(heard.joules).containsExactly(100.0);
      runner.joules = 1400;
      engine.measureEnergy();
      engine.step();
      // The first second cost 300 J after all; the second one counts likewise until it is measured.
      assertThat(heard.joules.getLast()).isCloseTo(600, within(1e-6));
    }
  }

  @Test
  void whatNobodyMeasuresIsNotKnown() {
    try (Engine engine = engine()) {
      Heard heard = generate(engine, "a", 3);
      engine.step();
      assertThat(heard.joules).containsExactly(-1.0);
    }
  }

  @Test
  void promptsShareAStepByTokensAndDecodesByWhatIsReadForThem() {
    try (Engine engine = engine()) {
      runner.joules = 0;
      engine.measureEnergy();
      nanos.addAndGet(SECOND);
      runner.joules = 100;
      engine.measureEnergy();
      Heard small = generate(engine, "small", 2);
      Heard large = generate(engine, "large", 6);
      engine.step();
      assertThat(small.joules).containsExactly(25.0);
      assertThat(large.joules).containsExactly(75.0);
      // Half of the weights each, 1; and 2 positions, or 6, before them.
      engine.step();
      assertThat(small.joules.getLast()).isCloseTo(25 + 100 * 3.0 / 10, within(1e-6));
      assertThat(large.joules.getLast()).isCloseTo(75 + 100 * 7.0 / 10, within(1e-6));
    }
  }
}

package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.model.FakeModelRunner;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/**
 * Sessions of long contexts that preempt each other in a small pool, on a machine whose copies are
 * slow, so that KV comes back in pieces over many steps while others decode, sessions leave and
 * urgent ones take blocks away again. Tokens are those of an undisturbed run, and everything is
 * recounted after every call. Replays with -Dseed=.
 */
class ReturnPropertyTest {

  private static final int RUNS = 60;
  private static final int SESSIONS = 40;
  private static final int BLOCK = 32;
  private static final int CONTEXT = 640;
  private static final long TOKEN_NANOS = 5_000_000;
  private static final long COPY_NANOS = 20_000_000;

  @Test
  void everySessionGetsThePlainRunsTokensHoweverItsKvComesBack() {
    long first = Long.getLong("seed", System.nanoTime());
    int runs = System.getProperty("seed") == null ? RUNS : 1;
    Crowd all = new Crowd(0);
    for (int i = 0; i < runs; i++) {
      Crowd crowd = new Crowd(first + i);
      try {
        crowd.live();
      } catch (RuntimeException | AssertionError e) {
        throw new AssertionError("replay with -Dseed=" + (first + i), e);
      }
      all.stepsReturning += crowd.stepsReturning;
      all.turnedBack += crowd.turnedBack;
      all.left += crowd.left;
    }
    System.out.printf(
        "seeds from %d: %d steps with sessions on their way back, %d sent back to wait, %d left%n",
        first, all.stepsReturning, all.turnedBack, all.left);
    if (runs == RUNS) {
      assertThat(all.stepsReturning).isPositive();
      assertThat(all.turnedBack).isPositive();
      assertThat(all.left).isPositive();
    }
  }

  private static final class Crowd {
    private final Random random;
    private final FakeModelRunner runner;
    private final Engine engine;
    private final List<Visitor> visitors = new ArrayList<>();
    private Set<SessionId> returning = Set.of();
    private long nanos;
    int stepsReturning;
    int turnedBack;
    int left;

    Crowd(long seed) {
      random = new Random(seed);
      EngineOptions options =
          EngineOptions.of(Path.of("fake"))
              .withBlockTokens(BLOCK)
              .withStepTokens(8 + random.nextInt(200))
              .withMaxStepMillis(random.nextInt(2) * 200)
              .withMaxSessions(2 + random.nextInt(8))
              .withSwapBytes(1 << 20);
      runner = new FakeModelRunner(24 + random.nextInt(30), options, CONTEXT);
      runner.beforeRun = () -> nanos += TOKEN_NANOS * runner.batch().tokens();
      runner.beforeCopy = () -> nanos += COPY_NANOS;
      engine = new LocalEngine(runner, options, () -> nanos);
    }

    void live() {
      int toCome = SESSIONS;
      for (int steps = 0; toCome > 0 || !visitors.stream().allMatch(Visitor::over); steps++) {
        assertThat(steps).as("steps of %s", engine.status()).isLessThan(20_000);
        boolean disturb = !returning.isEmpty() && random.nextInt(12) == 0;
        if (toCome > 0 && (disturb || random.nextInt(8) == 0)) {
          toCome--;
          arrive(disturb ? 9 : random.nextInt(4) == 0 ? random.nextInt(5) : 0);
        }
        if (!visitors.isEmpty() && random.nextInt(disturb ? 2 : 100) == 0) {
          int who = random.nextInt(visitors.size());
          leave(
              visitors.stream()
                  .filter(visitor -> returning.contains(visitor.generation.session()))
                  .findFirst()
                  .orElse(visitors.get(who)));
        }
        engine.step();
        engine.checkIntegrity();
        lookWhoReturns();
      }
      visitors.forEach(Visitor::check);
      assertThat(engine.status().ledger().closed()).isTrue();
      engine.close();
    }

    private void arrive(int priority) {
      int[] prompt = random.ints(60 + random.nextInt(400), 0, FakeModelRunner.VOCABULARY).toArray();
      Sampling sampling =
          new Sampling(
              1 + random.nextInt(150),
              random.nextBoolean() ? 0f : 1.5f,
              0,
              1f,
              random.nextLong(),
              -1,
              true,
              List.of());
      SessionId id = new SessionId("s" + visitors.size(), 1);
      Visitor visitor = new Visitor(new Generation(id, prompt, new int[0], sampling, "", priority));
      visitors.add(visitor);
      engine.generate(visitor.generation, visitor);
    }

    private void leave(Visitor visitor) {
      if (!visitor.over()) {
        left += returning.contains(visitor.generation.session()) ? 1 : 0;
        visitor.gone = true;
        engine.release(visitor.generation.session());
        engine.checkIntegrity();
      }
    }

    /** Whose KV is in pages and who holds blocks all the same. */
    private void lookWhoReturns() {
      List<Holding> holdings = engine.holdings();
      Set<SessionId> away = new HashSet<>();
      for (Holding holding : holdings) {
        if (holding.kind() == Holding.Kind.PAGE && holding.reason().equals("PREEMPTION")) {
          away.add(holding.session());
        }
      }
      Set<SessionId> now = new HashSet<>();
      for (Holding holding : holdings) {
        if (holding.kind() == Holding.Kind.BLOCK && away.contains(holding.session())) {
          now.add(holding.session());
        }
      }
      for (SessionId session : returning) {
        turnedBack += away.contains(session) && !now.contains(session) ? 1 : 0;
      }
      stepsReturning += now.isEmpty() ? 0 : 1;
      returning = now;
      for (SessionId session : returning) {
        requireRefused(() -> engine.kv(session));
        requireRefused(() -> engine.suspend(session));
      }
    }

    /** Nobody is shown KV that is not back yet. */
    private static void requireRefused(Runnable call) {
      assertThatThrownBy(call::run)
          .isInstanceOf(EngineException.class)
          .hasMessageContaining("RETURNING");
    }
  }

  private static final class Visitor extends RecordingListener {
    final Generation generation;
    boolean gone;

    Visitor(Generation generation) {
      this.generation = generation;
    }

    boolean over() {
      return gone || finished();
    }

    void check() {
      List<Integer> plain = FakeModelRunner.plainRun(generation, CONTEXT);
      assertThat(failure).isNull();
      assertThat(ids()).isEqualTo(gone ? plain.subList(0, tokens.size()) : plain);
    }
  }
}

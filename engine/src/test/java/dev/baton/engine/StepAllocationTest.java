package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import dev.baton.engine.SampledToken.FinishReason;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * A decode step of the real engine on the small model makes no garbage, on no thread: but for steps
 * that begin a block or outgrow a session's log.
 */
class StepAllocationTest {

  private static final int SESSIONS = 8;
  private static final int PROMPT = 8;
  private static final int STEPS = 400;
  private static final int ROUNDS = 8;

  /**
   * Bytes a token that come with every so many steps: a claim and a key for each new block, and
   * room for more tokens of a session.
   */
  private static final int SOMETIMES = 24;

  /** What the just-in-time compiler leaves of an object that it takes away in most runs. */
  private static final int RANK_BYTES = 64;

  private final ThreadMXBean threads =
      (ThreadMXBean) ManagementFactory.getPlatformMXBean(ThreadMXBean.class);

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void aDecodeStepAllocatesNothing(int ranks) {
    EngineOptions options =
        EngineOptions.of(Path.of("../models/stories260K"))
            .withTensorParallel(ranks)
            .withContextLength(PROMPT + STEPS + 8)
            .withCheckLedger(false)
            .withKvCacheBytes(16L << 20);
    try (Engine engine = Engine.load(options, line -> {})) {
      long[] rankThreads =
          Thread.getAllStackTraces().keySet().stream()
              .filter(thread -> thread.getName().startsWith("baton-rank-"))
              .mapToLong(Thread::threadId)
              .toArray();
      assertThat(rankThreads).hasSize(ranks - 1);
      List<Long> stepBytes = new ArrayList<>();
      long[] ofStep = new long[STEPS];
      int clean = 0;
      List<Long> rankBytes = new ArrayList<>();
      // The first rounds run interpreted code, which may make objects that compiled code does not.
      for (int round = 0; round < ROUNDS; round++) {
        admit(engine, round);
        long step = threads.getCurrentThreadAllocatedBytes();
        long rank = allocated(rankThreads);
        for (int i = 0; i < STEPS; i++) {
          long before = threads.getCurrentThreadAllocatedBytes();
          engine.step();
          ofStep[i] = threads.getCurrentThreadAllocatedBytes() - before;
        }
        clean = (int) Arrays.stream(ofStep).filter(bytes -> bytes == 0).count();
        stepBytes.add((threads.getCurrentThreadAllocatedBytes() - step) / STEPS);
        rankBytes.add((allocated(rankThreads) - rank) / STEPS);
        release(engine, round);
      }
      System.out.println(
          "bytes a step: %s, ranks: %s; none in %d of the last %d steps"
              .formatted(stepBytes, rankBytes, clean, STEPS));
      assertThat(clean).isGreaterThan(STEPS * 9 / 10);
      assertThat(stepBytes.getLast()).isLessThanOrEqualTo(SESSIONS * SOMETIMES);
      assertThat(rankBytes.getLast()).isLessThanOrEqualTo(RANK_BYTES);
    }
  }

  private void admit(Engine engine, int round) {
    for (int i = 0; i < SESSIONS; i++) {
      int[] prompt = new int[PROMPT];
      Arrays.fill(prompt, 3 + SESSIONS * round + i);
      Sampling greedy = Sampling.greedy(STEPS + 4);
      Sampling endless =
          new Sampling(greedy.maxTokens(), 0f, 0, 1f, 0, -1, true, greedy.stopTokenIds());
      engine.generate(Generation.of(id(round, i), prompt, endless), new Deaf());
    }
    engine.step();
  }

  private static void release(Engine engine, int round) {
    for (int i = 0; i < SESSIONS; i++) {
      engine.release(id(round, i));
    }
  }

  private static SessionId id(int round, int number) {
    return new SessionId("s" + round + "-" + number, 1);
  }

  private long allocated(long[] ids) {
    long sum = 0;
    for (long id : ids) {
      sum += threads.getThreadAllocatedBytes(id);
    }
    return sum;
  }

  private static final class Deaf implements SessionListener {
    @Override
    public void onToken(int id, int index, @Nullable FinishReason finish) {}

    @Override
    public void onToken(SampledToken token) {}

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }
}

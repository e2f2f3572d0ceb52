package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.SlabRegion;
import dev.baton.engine.model.FakeModelRunner;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/**
 * Random lives of sessions on small pools, with and without windows and swap space, at random
 * speeds. Whatever the mix: the ledger recounts after every call, and every session's tokens are
 * those of a plain run. Replays with -Dseed=.
 */
class EnginePropertyTest {

  private static final int RUNS = 80;
  private static final int CALLS = 400;
  private static final int CONTEXT = 160;

  private static long views;

  @Test
  void everySessionGetsThePlainRunsTokensAndEveryBlockComesBack() {
    long first = Long.getLong("seed", System.nanoTime());
    int runs = System.getProperty("seed") == null ? RUNS : 1;
    long preemptions = 0;
    long swaps = 0;
    long cached = 0;
    for (int i = 0; i < runs; i++) {
      long seed = first + i;
      try {
        EngineStatus end = new Life(seed).live();
        preemptions += end.preemptions();
        swaps += end.swaps();
        cached += end.cachedTokens();
      } catch (RuntimeException | AssertionError e) {
        throw new AssertionError("replay with -Dseed=" + seed, e);
      }
    }
    System.out.printf(
        "seeds from %d: %d preemptions, %d of them by swap, %d cached tokens%n",
        first, preemptions, swaps, cached);
    if (runs == RUNS) {
      assertThat(preemptions).isGreaterThan(swaps);
      assertThat(swaps).isPositive();
      assertThat(cached).isPositive();
      assertThat(views).isPositive();
    }
  }

  /** One engine and the sessions that come and go on it. */
  private static final class Life {
    private final Random random;
    private final FakeModelRunner runner;
    private final Engine engine;
    private final List<Visitor> visitors = new ArrayList<>();
    private final List<int[]> stems = new ArrayList<>();
    private final int window;
    private final long speed;
    private long nanos;
    private int names;
    private int watched;

    Life(long seed) {
      random = new Random(seed);
      int blockTokens = random.nextBoolean() ? 32 : 64;
      int leastBlocks = Math.ceilDiv(CONTEXT, blockTokens);
      int blocks = leastBlocks + random.nextInt(leastBlocks);
      window = random.nextInt(3) == 0 ? 2 + random.nextInt(70) : 0;
      speed = 1L << random.nextInt(24);
      int pageBytes = 2 * Float.BYTES * blockTokens;
      EngineOptions options =
          EngineOptions.of(Path.of("fake"))
              .withBlockTokens(blockTokens)
              .withStepTokens(1 + random.nextInt(80))
              .withPrefillChunk(random.nextInt(64))
              .withMaxStepMillis(random.nextInt(3) * 5)
              .withMaxSessions(1 + random.nextInt(12))
              .withSwapBytes((long) random.nextInt(2) * random.nextInt(20) * pageBytes);
      runner = new FakeModelRunner(blocks, options, CONTEXT, window);
      engine = new LocalEngine(runner, options, () -> nanos += random.nextLong(speed));
      for (int i = 0; i < 3; i++) {
        stems.add(randomTokens(80));
      }
    }

    EngineStatus live() {
      for (int i = 0; i < CALLS; i++) {
        switch (random.nextInt(12)) {
          case 0, 1 -> submit(Shape.GENERATE);
          case 2 -> submit(Shape.PREFILL);
          case 3 -> submit(Shape.RESERVE);
          case 4 ->
              visitors.stream().filter(Visitor::waitsForHandoff).findAny().ifPresent(this::handOff);
          case 5 -> pick().ifPresent(this::leave);
          case 6 -> decoding().ifPresent(Visitor::watch);
          case 7 -> decoding().ifPresent(Visitor::lookAgain);
          default -> engine.step();
        }
        engine.checkIntegrity();
      }
      settle();
      for (Visitor visitor : visitors) {
        visitor.check();
      }
      EngineStatus status = engine.status();
      assertThat(status.ledger().closed()).isTrue();
      assertThat(status.waitingSessions() + status.runningSessions()).isZero();
      assertThat(status.queuedPromptTokens()).isZero();
      engine.close();
      assertThat(runner.closed).isTrue();
      views += watched;
      return status;
    }

    /** Everybody who can go on does; the others leave. */
    private void settle() {
      for (int step = 0; step < 20_000; step++) {
        boolean ran = engine.step();
        engine.checkIntegrity();
        for (Visitor visitor : List.copyOf(visitors)) {
          if (visitor.waitsForHandoff()) {
            handOff(visitor);
          } else if (visitor.prefillDone()) {
            leave(visitor);
          }
        }
        if (!ran && visitors.stream().allMatch(v -> v.gone || v.finished())) {
          return;
        }
      }
      throw new AssertionError("sessions starve: " + engine.status());
    }

    private void submit(Shape shape) {
      int promptLength = 1 + random.nextInt(CONTEXT - 2);
      int[] prompt = randomTokens(promptLength);
      if (random.nextInt(3) > 0) {
        int[] stem = stems.get(random.nextInt(stems.size()));
        System.arraycopy(stem, 0, prompt, 0, Math.min(stem.length, promptLength));
      }
      Sampling sampling =
          new Sampling(
              1 + random.nextInt(60),
              random.nextBoolean() ? 0f : 1.5f,
              random.nextInt(3) * 5,
              random.nextBoolean() ? 1f : 0.9f,
              random.nextLong(),
              random.nextInt(4) - 1,
              random.nextBoolean(),
              List.of());
      SessionId id = new SessionId("s" + names++, 1);
      String salt = random.nextInt(4) == 0 ? "other" : "";
      Generation whole =
          new Generation(id, prompt, new int[0], sampling, salt, random.nextInt(4) - 1);
      List<Integer> plain = FakeModelRunner.plainRun(whole, CONTEXT, window);
      int before = random.nextInt(3) == 0 ? random.nextInt(plain.size()) : 0;
      int[] generated = plain.stream().limit(before).mapToInt(Integer::intValue).toArray();
      Generation generation =
          new Generation(id, prompt, generated, sampling, salt, whole.priority());
      Visitor visitor = new Visitor(shape, generation, plain);
      switch (shape) {
        case GENERATE -> engine.generate(generation, visitor);
        case PREFILL -> engine.prefill(generation, visitor);
        case RESERVE -> {
          try {
            visitor.present = engine.reserve(generation, visitor);
          } catch (EngineException e) {
            assertThat(e.kind()).isEqualTo(EngineException.Kind.NO_CAPACITY);
            return;
          }
        }
      }
      visitors.add(visitor);
    }

    private void handOff(Visitor visitor) {
      int[] context = visitor.generation.context();
      SlabRegion region = FakeModelRunner.region(visitor.present, context.length);
      float[] slab = new float[(int) (region.bytes() / Float.BYTES)];
      for (int position = visitor.present; position < context.length; position++) {
        slab[2 * (position - visitor.present)] = context[position];
        slab[2 * (position - visitor.present) + 1] = position;
      }
      KvView view = engine.kv(visitor.generation.session());
      view.unpack(region, MemorySegment.ofArray(slab));
      visitor.started = true;
      engine.start(
          visitor.generation.session(), visitor.plain.get(visitor.generation.generated().length));
    }

    private void leave(Visitor visitor) {
      visitor.gone = true;
      engine.release(visitor.generation.session());
    }

    private Optional<Visitor> decoding() {
      List<Visitor> all = visitors.stream().filter(v -> !v.gone && !v.tokens.isEmpty()).toList();
      return all.isEmpty() ? Optional.empty() : Optional.of(all.get(random.nextInt(all.size())));
    }

    private Optional<Visitor> pick() {
      return visitors.isEmpty() || random.nextInt(3) > 0
          ? Optional.empty()
          : Optional.of(visitors.get(random.nextInt(visitors.size())));
    }

    private int[] randomTokens(int count) {
      return random.ints(count, 0, FakeModelRunner.VOCABULARY).toArray();
    }

    private enum Shape {
      GENERATE,
      PREFILL,
      RESERVE
    }

    /** A session's listener, and what its tokens must be. */
    private final class Visitor extends RecordingListener {
      final Shape shape;
      final Generation generation;
      final List<Integer> plain;
      final int leavesAfter = random.nextInt(8) == 0 ? random.nextInt(10) : -1;
      int present;
      boolean started;
      boolean gone;
      @Nullable KvView view;

      Visitor(Shape shape, Generation generation, List<Integer> plain) {
        this.shape = shape;
        this.generation = generation;
        this.plain = plain;
      }

      @Override
      public void onComputed(int count) {
        assertThat(gone).isFalse();
        super.onComputed(count);
        checkKv(count);
      }

      @Override
      public void onToken(SampledToken token) {
        assertThat(gone).isFalse();
        super.onToken(token);
        if (token.index() == leavesAfter) {
          leave(this);
          engine.checkIntegrity();
        }
      }

      boolean waitsForHandoff() {
        return shape == Shape.RESERVE && !started && !gone;
      }

      boolean prefillDone() {
        return shape == Shape.PREFILL && !gone && !tokens.isEmpty();
      }

      @Override
      boolean finished() {
        return super.finished() || handedToken() == plain.size();
      }

      /** Tokens known when the first one of ours comes. */
      private int handedToken() {
        return generation.generated().length + (started ? 1 : 0);
      }

      void check() {
        int from = generation.generated().length + (shape == Shape.RESERVE ? 1 : 0);
        List<Integer> expected = plain.subList(Math.min(from, plain.size()), plain.size());
        if (shape == Shape.PREFILL) {
          expected = expected.subList(0, 1);
        }
        assertThat(failure).isNull();
        if (gone) {
          assertThat(ids()).isEqualTo(expected.subList(0, tokens.size()));
        } else {
          assertThat(ids()).isEqualTo(expected);
        }
        for (int i = 0; i < tokens.size(); i++) {
          assertThat(tokens.get(i).index()).isEqualTo(from + i);
        }
      }

      /** Opens the KV, if it decodes now, and looks at what there is. */
      void watch() {
        if (shape == Shape.PREFILL || finished()) {
          return;
        }
        try {
          view = engine.kv(generation.session());
        } catch (EngineException e) {
          assertThat(e.kind()).isEqualTo(EngineException.Kind.INVALID);
          return;
        }
        checkView(view);
        watched++;
      }

      /** What was there when it was opened still is, unless the engine has ended the view. */
      void lookAgain() {
        KvView open = view;
        if (open == null || finished()) {
          return;
        }
        try {
          checkView(open);
          watched++;
        } catch (IllegalStateException e) {
          view = null;
        }
        if (random.nextInt(3) == 0) {
          engine.closeKv(generation.session());
          view = null;
        }
      }

      private void checkView(KvView open) {
        int from = open.firstToken();
        int count = open.computed();
        if (window > 0) {
          assertThat(from).isLessThanOrEqualTo(Math.max(0, count - Math.max(1, window - 1)));
        }
        SlabRegion region = FakeModelRunner.region(from, count);
        float[] slab = new float[(int) (region.bytes() / Float.BYTES)];
        open.pack(region, MemorySegment.ofArray(slab));
        for (int position = from; position < count; position++) {
          int index = position - generation.prompt().length;
          int token = index < 0 ? generation.prompt()[position] : plain.get(index);
          assertThat(slab[2 * (position - from)]).isEqualTo(token);
          assertThat(slab[2 * (position - from) + 1]).isEqualTo(position);
        }
      }

      private void checkKv(int count) {
        int from = window == 0 ? 0 : Math.max(0, generation.contextTokens() - window + 1);
        if (from >= count) {
          return;
        }
        SlabRegion region = FakeModelRunner.region(from, count);
        float[] slab = new float[(int) (region.bytes() / Float.BYTES)];
        engine.kv(generation.session()).pack(region, MemorySegment.ofArray(slab));
        int[] context = generation.context();
        for (int position = from; position < count; position++) {
          assertThat(slab[2 * (position - from)]).isEqualTo(context[position]);
          assertThat(slab[2 * (position - from) + 1]).isEqualTo(position);
        }
      }
    }
  }
}

package dev.baton.bench;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import com.sun.management.ThreadMXBean;
import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import dev.baton.device.SlabRegion;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.KvView;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * Runs workloads through the production engine, as its step thread: sessions are submitted and
 * stepped as a worker does it, so that scheduler and sampler are counted.
 *
 * <p>A decode's context does not have to be computed: its KV arrives as from a hand-off, random and
 * at memory speed. Prompts are random too, so that nothing is found in the prefix cache.
 */
final class EngineDriver implements AutoCloseable {

  /** Tokens whose KV is written at once. */
  private static final int SLAB_TOKENS = 64;

  private final Engine engine;
  private final TimedRunner runner;
  private final SplittableRandom random;
  private final Arena arena = Arena.ofConfined();
  private @Nullable MemorySegment slab;
  private int sessions;

  /**
   * @param engine over {@code runner}; owned
   */
  EngineDriver(Engine engine, TimedRunner runner, long seed) {
    this.engine = engine;
    this.runner = runner;
    this.random = new SplittableRandom(seed);
  }

  ModelInfo model() {
    return engine.model();
  }

  Measurement run(Workload workload) {
    return switch (workload) {
      case Workload.Prefill prefill -> prefill(prefill);
      case Workload.Decode decode -> decode(decode);
    };
  }

  private Measurement prefill(Workload.Prefill prefill) {
    Counter counter = new Counter();
    Generation generation = generation(prefill.prompt(), 1);
    long steps = runner.steps();
    long forward = runner.forwardNanos();
    long allocated = allocated();
    long begun = System.nanoTime();
    engine.generate(generation, counter);
    while (counter.tokens == 0) {
      step(counter);
    }
    long nanos = System.nanoTime() - begun;
    return new Measurement(
        prefill.prompt(),
        runner.steps() - steps,
        nanos,
        runner.forwardNanos() - forward,
        allocated() - allocated);
  }

  /**
   * Puts random keys and values into every block, so that no measured step waits for the system to
   * find memory: a worker has its own asked for while it is idle.
   */
  void fillKv() {
    int blockTokens = runner.blockTokens();
    for (int block = 0; block < runner.blocks(); block++) {
      for (int token = 0; token < blockTokens; token += SLAB_TOKENS) {
        SlabRegion region = region(token, Math.min(blockTokens, token + SLAB_TOKENS));
        runner.unpackKv(new int[] {block}, region, slab().asSlice(0, region.bytes()));
      }
    }
  }

  private Measurement decode(Workload.Decode decode) {
    Counter counter = new Counter();
    List<SessionId> batch = new ArrayList<>();
    try {
      for (int i = 0; i < decode.batch(); i++) {
        // One token more than is decoded here, so that no session ends under the clock.
        int most = decode.tokens() + Workload.Decode.WARM_UP + 2;
        Generation generation = generation(decode.prompt(), most);
        batch.add(generation.session());
        handOff(generation, counter);
      }
      for (int i = 0; i < Workload.Decode.WARM_UP; i++) {
        step(counter);
      }
      long before = counter.tokens;
      long steps = runner.steps();
      long forward = runner.forwardNanos();
      long allocated = allocated();
      long begun = System.nanoTime();
      for (int i = 0; i < decode.tokens(); i++) {
        step(counter);
      }
      long nanos = System.nanoTime() - begun;
      return new Measurement(
          counter.tokens - before,
          runner.steps() - steps,
          nanos,
          runner.forwardNanos() - forward,
          allocated() - allocated);
    } finally {
      batch.forEach(engine::release);
    }
  }

  /** Bytes of Java objects that this thread has made so far. */
  private static long allocated() {
    return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
  }

  private void handOff(Generation generation, SessionListener listener) {
    int from = engine.reserve(generation, listener);
    KvView view = engine.kv(generation.session());
    int to = generation.contextTokens();
    for (int token = from; token < to; token += SLAB_TOKENS) {
      SlabRegion region = region(token, Math.min(to, token + SLAB_TOKENS));
      view.unpack(region, slab().asSlice(0, region.bytes()));
    }
    engine.start(generation.session(), randomToken());
  }

  private SlabRegion region(int from, int to) {
    ModelInfo model = engine.model();
    return new SlabRegion(
        0, model.layers(), 0, model.kvHeads(), from, to, model.headDim(), model.kvDtype());
  }

  private MemorySegment slab() {
    MemorySegment made = slab;
    if (made == null) {
      made = arena.allocate(region(0, SLAB_TOKENS).bytes(), Long.BYTES);
      fill(made);
      slab = made;
    }
    return made;
  }

  /** Random KV; of INT8 with one scale for all rows, which makes elements of at most 2. */
  private void fill(MemorySegment rows) {
    ModelInfo model = engine.model();
    if (model.kvDtype() != DType.INT8) {
      new RandomElements(model.kvDtype(), 1, random.nextLong()).fill(rows);
      return;
    }
    byte[] bytes = new byte[Math.toIntExact(rows.byteSize())];
    random.nextBytes(bytes);
    MemorySegment.copy(bytes, 0, rows, JAVA_BYTE, 0, bytes.length);
    long row = SlabRegion.rowBytes(model.headDim(), DType.INT8);
    for (long at = row - Float.BYTES; at < rows.byteSize(); at += row) {
      rows.set(JAVA_FLOAT_UNALIGNED, at, 1f / 64);
    }
  }

  private Generation generation(int prompt, int maxTokens) {
    int[] tokens = new int[prompt];
    for (int i = 0; i < prompt; i++) {
      tokens[i] = randomToken();
    }
    Sampling sampling = new Sampling(maxTokens, 0f, 0, 1f, 0, -1, true, List.of());
    return Generation.of(new SessionId("bench-" + sessions++, 1), tokens, sampling);
  }

  private int randomToken() {
    return random.nextInt(engine.model().vocabularySize());
  }

  private void step(Counter counter) {
    boolean ran = engine.step();
    EngineException failure = counter.failure;
    if (failure != null) {
      throw failure;
    }
    if (!ran) {
      throw new IllegalStateException("engine: nothing to run (expected: sessions in progress)");
    }
  }

  @Override
  public void close() {
    arena.close();
    engine.close();
  }

  /** Hears all sessions of one workload. */
  private static final class Counter implements SessionListener {
    private long tokens;
    private @Nullable EngineException failure;

    @Override
    public void onToken(int id, int index, @Nullable FinishReason finish) {
      tokens++;
    }

    @Override
    public void onToken(SampledToken token) {
      tokens++;
    }

    @Override
    public void onFailed(EngineException cause) {
      failure = cause;
    }
  }
}

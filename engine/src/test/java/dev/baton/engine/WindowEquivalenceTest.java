package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.engine.checkpoint.TinyModel;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A model whose layers all have a window gives, in an engine that frees what is behind it, the
 * tokens of a plain run in which every block stays. Replays with -Dseed=.
 */
class WindowEquivalenceTest {

  private static final int WINDOW = 40;
  private static final int CONTEXT = 400;
  private static final int BLOCK_BYTES = 2 * 2 * 2 * 8 * 32 * Float.BYTES;
  private static final long SEED = Long.getLong("seed", System.nanoTime());

  @TempDir Path directory;
  private EngineOptions options;
  private final Map<String, Generation> requests = new TreeMap<>();
  private final Map<String, List<Integer>> plain = new TreeMap<>();

  @BeforeEach
  void runPlainly() throws IOException {
    System.out.println("seed " + SEED);
    Path model =
        new TinyModel()
            .with("architectures", "[\"MistralForCausalLM\"]")
            .with("sliding_window", WINDOW)
            .with("max_position_embeddings", 512)
            .write(directory);
    options =
        EngineOptions.of(model)
            .withPrecision(Precision.FLOAT32)
            .withBlockTokens(32)
            .withStepTokens(48)
            .withMaxSessions(6)
            .withContextLength(CONTEXT);
    Random random = new Random(SEED);
    int[] stem = random.ints(200, 3, 40).toArray();
    try (ModelRunner runner = ModelLoader.load(options, line -> {})) {
      assertThat(runner.window()).isEqualTo(WINDOW);
      for (int i = 0; i < 12; i++) {
        int[] prompt = random.ints(1 + random.nextInt(250), 3, 40).toArray();
        System.arraycopy(stem, 0, prompt, 0, random.nextInt(Math.min(200, prompt.length)));
        Sampling sampling =
            new Sampling(1 + random.nextInt(120), 0f, 0, 1f, 0, -1, true, List.of());
        String name = "s" + i;
        requests.put(name, Generation.of(new SessionId(name, 1), prompt, sampling));
        plain.put(name, plainRun(runner, prompt, sampling.maxTokens()));
      }
    }
  }

  @Test
  void freeingBlocksBehindTheWindowChangesNothing() {
    // Room for two windows with their chunks, and hardly more than one prompt.
    try (Engine engine = load(9)) {
      assertThat(runTogether(engine)).as("seed %d", SEED).isEqualTo(plain);
      assertThat(runTogether(engine)).as("seed %d, again", SEED).isEqualTo(plain);
    }
  }

  @Test
  void prefixesOfAWindowChangeNothing() {
    // Room for all blocks of all prompts.
    try (Engine engine = load(200)) {
      assertThat(runTogether(engine)).as("seed %d", SEED).isEqualTo(plain);
      assertThat(runTogether(engine)).as("seed %d, with prefixes", SEED).isEqualTo(plain);
      assertThat(engine.status().cachedTokens()).isPositive();
    }
  }

  @Test
  void aHandOffOfTheWindowIsEnough() {
    try (Engine exporter = load(9);
        Engine importer = load(30);
        Arena arena = Arena.ofConfined()) {
      Map<String, List<Integer>> tokens = new TreeMap<>();
      for (Map.Entry<String, Generation> each : requests.entrySet()) {
        RecordingListener decoded = new RecordingListener();
        List<Integer> all = new ArrayList<>();
        tokens.put(each.getKey(), all);
        Generation request = each.getValue();
        int present = importer.reserve(request, decoded);
        assertThat(request.contextTokens() - present).isBetween(1, WINDOW - 1);
        exporter.prefill(request, new HandOff(exporter, importer, arena, request, present, all));
        while (exporter.step()) {
          exporter.checkIntegrity();
        }
        while (importer.step()) {
          importer.checkIntegrity();
        }
        all.addAll(decoded.ids());
      }
      assertThat(tokens).as("seed %d", SEED).isEqualTo(plain);
      assertThat(exporter.status().ledger().closed()).isTrue();
      assertThat(importer.status().ledger().closed()).isTrue();
    }
  }

  private Engine load(int blocks) {
    return Engine.load(
        options.withKvCacheBytes((long) blocks * BLOCK_BYTES).withSwapBytes(1 << 20), line -> {});
  }

  private Map<String, List<Integer>> runTogether(Engine engine) {
    Map<String, RecordingListener> heard = new TreeMap<>();
    requests.forEach(
        (name, request) -> {
          heard.put(name, new RecordingListener());
          engine.generate(request, heard.get(name));
        });
    while (engine.step()) {
      engine.checkIntegrity();
    }
    assertThat(engine.status().ledger().closed()).isTrue();
    Map<String, List<Integer>> tokens = new TreeMap<>();
    heard.forEach((name, listener) -> tokens.put(name, listener.ids()));
    return tokens;
  }

  /** One token after the other, and every block stays. */
  private static List<Integer> plainRun(ModelRunner runner, int[] prompt, int count) {
    int[] table = IntStream.range(0, Math.ceilDiv(CONTEXT, 32)).toArray();
    List<Integer> tokens = new ArrayList<>(IntStream.of(prompt).boxed().toList());
    for (int position = 0; position < prompt.length + count - 1; position++) {
      StepBatch batch = runner.batch();
      batch.begin();
      batch.addSequence(table, table.length);
      batch.addToken(tokens.get(position), position, true);
      batch.seal();
      float[] logits = runner.run().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      if (position == tokens.size() - 1) {
        int best = 0;
        for (int id = 1; id < logits.length; id++) {
          best = logits[id] > logits[best] ? id : best;
        }
        tokens.add(best);
      }
    }
    return tokens.subList(prompt.length, tokens.size());
  }

  /** Carries the window over when all is computed, and starts the importer. */
  private record HandOff(
      Engine exporter,
      Engine importer,
      Arena arena,
      Generation request,
      int present,
      List<Integer> tokens)
      implements SessionListener {

    @Override
    public void onToken(SampledToken token) {
      ModelInfo model = exporter.model();
      SlabRegion region =
          new SlabRegion(
              0,
              model.layers(),
              0,
              model.kvHeads(),
              present,
              request.contextTokens(),
              model.headDim(),
              model.kvDtype());
      MemorySegment slab = arena.allocate(region.bytes());
      exporter.kv(request.session()).pack(region, slab);
      importer.kv(request.session()).unpack(region, slab);
      exporter.release(request.session());
      tokens.add(token.id());
      importer.start(request.session(), token.id());
    }

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }
}

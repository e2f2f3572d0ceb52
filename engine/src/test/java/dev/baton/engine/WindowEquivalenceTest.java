package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
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

  /** The importer knows fewer tokens than the exporter has, and more come while the KV moves. */
  @Test
  void aSessionThatDecodesMovesWithItsWindow() {
    try (Engine exporter = load(12);
        Engine importer = load(40);
        Arena arena = Arena.ofConfined()) {
      Map<String, List<Integer>> tokens = new TreeMap<>();
      for (Map.Entry<String, Generation> each : requests.entrySet()) {
        RecordingListener before = new RecordingListener();
        RecordingListener after = new RecordingListener();
        exporter.generate(each.getValue(), before);
        Move move = new Move(exporter, importer, arena, each.getValue(), before, after);
        while (exporter.step()) {
          exporter.checkIntegrity();
          move.goOn();
        }
        while (importer.step()) {
          importer.checkIntegrity();
        }
        List<Integer> all = new ArrayList<>(before.ids());
        all.addAll(after.ids());
        tokens.put(each.getKey(), all);
      }
      assertThat(tokens).as("seed %d", SEED).isEqualTo(plain);
      assertThat(exporter.status().ledger().closed()).isTrue();
      assertThat(importer.status().ledger().closed()).isTrue();
    }
  }

  @Test
  void aReaderMustDoWithoutWhatIsBehindTheWindowWhenItIsNeeded() {
    Generation request =
        requests.values().stream()
            .filter(each -> each.sampling().maxTokens() > 1)
            .findFirst()
            .orElseThrow();
    Sampling longer = new Sampling(120, 0f, 0, 1f, 0, -1, true, List.of());
    Generation first = Generation.of(new SessionId("first", 1), request.prompt(), longer);
    // A window and a chunk, and not a block more.
    try (Engine engine = load(4);
        Arena arena = Arena.ofConfined()) {
      RecordingListener listener = new RecordingListener();
      engine.generate(first, listener);
      while (listener.ids().size() < 2) {
        engine.step();
      }
      KvView view = engine.kv(first.session());
      while (engine.step()) {
        engine.checkIntegrity();
      }
      assertThat(listener.ids()).hasSize(120);
      assertThat(engine.status().preemptions()).isZero();
      SlabRegion region = region(engine, view.firstToken(), view.firstToken() + 1);
      assertThatThrownBy(() -> view.pack(region, arena.allocate(region.bytes())))
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void aPrefixMovesAsTheWindowOfItsEnd() {
    try (Engine exporter = load(200);
        Engine importer = load(200);
        Arena arena = Arena.ofConfined()) {
      int[] prompt = new Random(SEED).ints(250, 3, 40).toArray();
      Sampling sampling = new Sampling(20, 0f, 0, 1f, 0, -1, true, List.of());
      Generation request = Generation.of(new SessionId("s", 1), prompt, sampling);
      List<Integer> computed = generate(exporter, request);
      Generation prefix =
          Generation.of(new SessionId("prefix", 1), Arrays.copyOf(prompt, 224), sampling);

      int here = importer.reservePrefix(prefix, new RecordingListener());
      assertThat(here).isEqualTo(160);
      assertThat(exporter.pin(prefix, new RecordingListener())).isEqualTo(224);
      KvView source = exporter.kv(prefix.session());
      assertThat(source.firstToken()).isEqualTo(here);
      carry(source, importer.kv(prefix.session()), region(exporter, here, 224), arena);
      importer.publish(prefix.session());
      exporter.release(prefix.session());
      importer.checkIntegrity();
      exporter.checkIntegrity();

      assertThat(generate(importer, request)).isEqualTo(computed);
      assertThat(importer.status().cachedTokens()).isEqualTo(224);
    }
  }

  private static List<Integer> generate(Engine engine, Generation request) {
    RecordingListener listener = new RecordingListener();
    engine.generate(request, listener);
    while (engine.step()) {
      engine.checkIntegrity();
    }
    return listener.ids();
  }

  private static SlabRegion region(Engine engine, int from, int to) {
    ModelInfo model = engine.model();
    return new SlabRegion(
        0, model.layers(), 0, model.kvHeads(), from, to, model.headDim(), model.kvDtype());
  }

  private static void carry(KvView from, KvView to, SlabRegion region, Arena arena) {
    MemorySegment slab = arena.allocate(region.bytes());
    from.pack(region, slab);
    to.unpack(region, slab);
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
      carry(
          exporter.kv(request.session()),
          importer.kv(request.session()),
          region(exporter, present, request.contextTokens()),
          arena);
      exporter.release(request.session());
      tokens.add(token.id());
      importer.start(request.session(), token.id());
    }

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }

  /**
   * Carries a session over while it goes on: reserves for what it has at its fourth token, opens
   * the exporter's view some tokens later, copies what there is with every further token, and stops
   * the session after some of them, sooner if the importer has no more room. A session that ends
   * before stays.
   */
  private static final class Move {
    private static final int ASKED = 4;
    private static final int ROOM = 24;

    private final Engine exporter;
    private final Engine importer;
    private final Arena arena;
    private final Generation request;
    private final RecordingListener before;
    private final RecordingListener after;
    private final int opensAt;
    private final int stopsAt;
    private @Nullable Generation known;
    private int firstToken;
    private int carried;
    private boolean gone;

    Move(
        Engine exporter,
        Engine importer,
        Arena arena,
        Generation request,
        RecordingListener before,
        RecordingListener after) {
      this.exporter = exporter;
      this.importer = importer;
      this.arena = arena;
      this.request = request;
      this.before = before;
      this.after = after;
      Random random = new Random(SEED + request.prompt().length);
      this.opensAt = ASKED + random.nextInt(10);
      this.stopsAt = opensAt + random.nextInt(40);
    }

    void goOn() {
      int count = before.ids().size();
      if (gone || count >= request.sampling().maxTokens()) {
        if (!gone && known != null) {
          importer.release(request.session());
        }
        gone = true;
        return;
      }
      if (count == ASKED) {
        int[] generated = before.ids().stream().mapToInt(Integer::intValue).toArray();
        known =
            new Generation(
                request.session(), request.prompt(), generated, request.sampling(), "", 0);
        firstToken = importer.reserve(known, ROOM, after);
      }
      if (count >= opensAt && known != null) {
        copy(known, count);
      }
    }

    private void copy(Generation known, int count) {
      KvView from = exporter.kv(request.session());
      KvView to = importer.kv(request.session());
      int room = Math.min(to.tokens(), known.contextTokens() + ROOM);
      if (carried == 0) {
        firstToken = Math.max(firstToken, from.firstToken());
        carried = firstToken;
      }
      int there = Math.min(from.computed(), room);
      if (there > carried) {
        carry(from, to, region(exporter, carried, there), arena);
        carried = there;
      }
      if (count == stopsAt || from.computed() == room) {
        int[] tokens = exporter.suspend(request.session()).tokens();
        exporter.release(request.session());
        int[] added = Arrays.copyOfRange(tokens, known.contextTokens(), tokens.length - 1);
        importer.start(request.session(), added, tokens[tokens.length - 1]);
        gone = true;
      }
    }
  }
}

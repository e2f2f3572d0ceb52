package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.SlabRegion;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;

/**
 * With every sampling parameter in use, tokens, log probabilities and those of the prompt are the
 * same in every shape, bit for bit, as for a request alone. Replays with -Dseed=.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class SamplingEquivalenceTest {

  private static final Path MODEL = Path.of("../models/stories260K");

  /** Fixed unless given: with other requests, blocks may happen not to run out. */
  private static final long SEED = Long.getLong("seed", 20);

  private static final int REQUESTS = 32;
  private static final int CONTEXT = 256;
  private static final int MOST_GENERATED = 60;

  private final List<Generation> requests = requests();

  /** By name of the session: what each request's listener hears when it is alone. */
  private final Map<String, List<SampledToken>> alone = new TreeMap<>();

  @BeforeAll
  void runEachAlone() {
    System.out.println("SamplingEquivalenceTest: -Dseed=" + SEED);
    for (Generation request : requests) {
      try (Engine engine = load(options().withMaxSessions(1))) {
        RecordingListener listener = new RecordingListener();
        engine.generate(request, listener);
        runDry(engine);
        alone.put(request.session().id(), listener.tokens);
      }
    }
  }

  @Test
  void batchesAndChunksChangeNothing() {
    for (EngineOptions options :
        List.of(
            options().withPrefillChunk(16),
            options().withMaxSessions(3).withStepTokens(7),
            options().withTensorParallel(2).withPrefillChunk(64))) {
      try (Engine engine = load(options)) {
        assertSameAsAlone(runTogether(engine));
      }
    }
  }

  @Test
  void preemptionChangesNothing() {
    long tokenBytes;
    try (Engine engine = load(options())) {
      tokenBytes = engine.model().kvBytesPerToken();
    }
    EngineOptions small = options().withKvCacheBytes(CONTEXT * tokenBytes);
    try (Engine engine = load(small)) {
      assertSameAsAlone(runTogether(engine));
      assertThat(engine.status().preemptions()).isPositive();
    }
  }

  @Test
  void cachedPrefixesChangeNothingAndArePassedOverWhereThePromptIsScored() {
    try (Engine engine = load(options())) {
      runTogether(engine);
      Map<String, RecordingListener> again = listen(engine);
      runDry(engine);
      assertSameAsAlone(tokens(again));
      assertThat(engine.status().cachedTokens()).isPositive();
      for (Generation request : requests) {
        RecordingListener heard = again.get(request.session().id());
        if (heard != null && request.sampling().promptLogprobs() >= 0) {
          assertThat(heard.cachedTokens).isZero();
        }
      }
    }
  }

  @Test
  void goingOnFromTheTokensOfAnEarlierAttemptChangesNothing() {
    try (Engine engine = load(options())) {
      Map<String, RecordingListener> heard = new HashMap<>();
      Map<String, List<String>> expected = new HashMap<>();
      for (Generation request : requests) {
        String name = request.session().id();
        List<SampledToken> all = alone.getOrDefault(name, List.of());
        int known = (all.size() + 1) / 2;
        if (known < all.size()) {
          int[] generated = all.stream().limit(known).mapToInt(SampledToken::id).toArray();
          Generation rest =
              new Generation(
                  new SessionId(name, 2), request.prompt(), generated, request.sampling(), "", 0);
          RecordingListener listener = new RecordingListener();
          engine.generate(rest, listener);
          heard.put(name, listener);
          expected.put(name, described(all.subList(known, all.size())));
        }
      }
      runDry(engine);
      assertThat(expected).isNotEmpty();
      heard.forEach(
          (name, listener) ->
              assertThat(described(listener.tokens)).as(name).isEqualTo(expected.get(name)));
    }
  }

  @Test
  void aHandOffChangesNothingAndThePrefillSideTellsOfThePrompt() {
    try (Engine exporter = load(options().withPrefillChunk(32));
        Engine importer = load(options().withTensorParallel(2));
        Arena arena = Arena.ofConfined()) {
      Map<String, List<SampledToken>> tokens = new TreeMap<>();
      for (Generation request : requests) {
        RecordingListener decoded = new RecordingListener();
        List<SampledToken> first = new ArrayList<>();
        int present = importer.reserve(request, decoded);
        exporter.prefill(request, new FirstToken(first));
        while (exporter.step()) {
          exporter.checkIntegrity();
        }
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
        importer.start(request.session(), first.getFirst().id());
        runDry(importer);
        first.addAll(decoded.tokens);
        tokens.put(request.session().id(), first);
      }
      assertSameAsAlone(tokens);
    }
  }

  @Test
  void minTokensKeepTheEndAwayAndBiasDecides() {
    try (Engine engine = load(options())) {
      int eos = engine.model().eosTokenIds().getFirst();
      RecordingListener listener = new RecordingListener();
      Sampling ending =
          Sampling.greedy(20)
              .with(
                  draft -> {
                    draft.logitBias = Map.of(eos, 100f);
                    draft.minTokens = 7;
                  });
      engine.generate(
          Generation.of(new SessionId("end", 1), new int[] {1, 50, 60}, ending), listener);
      runDry(engine);
      assertThat(listener.ids()).hasSize(8).endsWith(eos);
      assertThat(listener.ids().subList(0, 7)).doesNotContain(eos);
    }
  }

  private record FirstToken(List<SampledToken> heard) implements SessionListener {
    @Override
    public void onToken(SampledToken token) {
      heard.add(token);
    }

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }

  /** Prompts with a stem in common, and every parameter in use. */
  static List<Generation> requests() {
    Random random = new Random(SEED);
    int[] stem = random.ints(150, 3, 512).toArray();
    List<Generation> requests = new ArrayList<>();
    for (int i = 0; i < REQUESTS; i++) {
      int[] prompt = random.ints(1 + random.nextInt(150), 3, 512).toArray();
      System.arraycopy(stem, 0, prompt, 0, prompt.length * 2 / 3);
      int kind = i;
      Sampling sampling =
          Sampling.greedy(20 + random.nextInt(MOST_GENERATED - 20))
              .with(
                  draft -> {
                    draft.temperature = kind % 4 == 0 ? 0f : 0.5f + random.nextFloat();
                    draft.topK = kind % 3 == 0 ? 30 : 0;
                    draft.topP = kind % 5 < 3 ? 0.9f : 1f;
                    draft.minP = kind % 7 == 0 ? 0.02f : 0f;
                    draft.repetitionPenalty = kind % 2 == 0 ? 1.2f : 1f;
                    draft.frequencyPenalty = kind % 3 == 1 ? 0.4f : 0f;
                    draft.presencePenalty = kind % 3 == 2 ? -0.3f : 0f;
                    draft.logitBias = kind % 4 == 1 ? Map.of(7, 3f, 300, -100f) : Map.of();
                    draft.minTokens = kind % 6 == 0 ? 10 : 0;
                    draft.seed = random.nextLong();
                    draft.logprobs = kind % 3 - 1;
                    draft.promptLogprobs = kind % 4 == 2 ? kind % 5 : -1;
                    draft.ignoreEos = kind % 2 == 0;
                    draft.stopTokenIds = kind % 8 == 0 ? List.of(400, 401) : List.of();
                  });
      requests.add(Generation.of(new SessionId("r" + i, 1), prompt, sampling));
    }
    return requests;
  }

  private static EngineOptions options() {
    return EngineOptions.of(MODEL)
        .withContextLength(CONTEXT)
        .withMaxSessions(16)
        .withKvCacheBytes(16L << 20);
  }

  private static Engine load(EngineOptions options) {
    return Engine.load(options, line -> {});
  }

  private Map<String, RecordingListener> listen(Engine engine) {
    Map<String, RecordingListener> listeners = new TreeMap<>();
    for (Generation request : requests) {
      RecordingListener listener = new RecordingListener();
      listeners.put(request.session().id(), listener);
      engine.generate(request, listener);
    }
    return listeners;
  }

  private Map<String, List<SampledToken>> runTogether(Engine engine) {
    Map<String, RecordingListener> listeners = listen(engine);
    runDry(engine);
    return tokens(listeners);
  }

  private static Map<String, List<SampledToken>> tokens(Map<String, RecordingListener> listeners) {
    Map<String, List<SampledToken>> tokens = new TreeMap<>();
    listeners.forEach((name, listener) -> tokens.put(name, listener.tokens));
    return tokens;
  }

  private static void runDry(Engine engine) {
    while (engine.step()) {
      engine.checkIntegrity();
    }
    engine.checkIntegrity();
    assertThat(engine.status().ledger().closed()).isTrue();
  }

  private void assertSameAsAlone(Map<String, List<SampledToken>> tokens) {
    assertThat(tokens.keySet()).isEqualTo(alone.keySet());
    alone.entrySet().stream()
        .sorted(Map.Entry.comparingByKey(Comparator.naturalOrder()))
        .forEach(
            entry ->
                assertThat(described(tokens.getOrDefault(entry.getKey(), List.of())))
                    .as("%s, -Dseed=%d", entry.getKey(), SEED)
                    .isEqualTo(described(entry.getValue())));
  }

  /** Floats print so that different ones differ. */
  private static List<String> described(List<SampledToken> tokens) {
    return tokens.stream().map(SamplingEquivalenceTest::described).toList();
  }

  private static String described(SampledToken token) {
    PromptLogprobs prompt = token.promptLogprobs();
    return "%d: %d %s %s %s"
        .formatted(
            token.index(),
            token.id(),
            token.logprobs(),
            token.finish(),
            prompt == null
                ? ""
                : Arrays.toString(prompt.chosen())
                    + Arrays.toString(prompt.ranks())
                    + Arrays.toString(prompt.topIds())
                    + Arrays.toString(prompt.topLogprobs()));
  }
}

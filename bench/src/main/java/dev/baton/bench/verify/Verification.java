package dev.baton.bench.verify;

import dev.baton.bench.ModelMemory;
import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.engine.checkpoint.Checkpoint;
import dev.baton.engine.checkpoint.ConfigReader;
import dev.baton.engine.checkpoint.ModelConfig;
import dev.baton.engine.checkpoint.TensorNames;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.worker.session.EngineKv;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;

/**
 * Runs the same sessions on the decode worker's engine alone, on the prefill worker's alone, and
 * split between them with the KV handed over by the production transfer, and compares everything.
 * Both engines and the transfers are of this process; the calling thread steps both engines, so the
 * sessions of a run are batched as on a worker.
 *
 * <p>Every run has a cache salt of its own, so that none answers from another's KV.
 */
public final class Verification implements AutoCloseable {

  private static final int LOGPROBS = 5;
  private static final long STUCK_SECONDS = 120;

  private final VerifyPlan plan;
  private final Consumer<String> progress;
  private final UnaryOperator<KvSink> landing;
  private final Engine prefill;
  private final Engine decode;
  private final KvTransfer exporter;
  private final KvTransfer importer;
  private final List<int[]> prompts;
  private final BlockingQueue<Runnable> posted = new LinkedBlockingQueue<>();

  /** By prompt: the first token whose KV can be looked at. */
  private final int[] looked;

  private int unfinished;

  private Verification(
      VerifyPlan plan,
      Supplier<KvTransfer> transfers,
      UnaryOperator<KvSink> landing,
      Consumer<String> progress)
      throws IOException {
    this.plan = plan;
    this.progress = progress;
    this.landing = landing;
    ModelConfig config = ConfigReader.read(plan.decode().modelDirectory());
    int room = config.contextLength() - plan.tokens();
    if (room < 1) {
      throw new IllegalArgumentException(
          "max-tokens: %d (expected: fewer than the model's context, %d)"
              .formatted(plan.tokens(), config.contextLength()));
    }
    int longest = Math.min(plan.longest(), room);
    this.prompts = VerifyPrompts.read(plan, config.vocabularySize(), longest);
    this.looked = new int[prompts.size()];
    this.prefill = load(plan.prefill(), config, "prefill");
    Engine loaded = null;
    KvTransfer sending = null;
    try {
      loaded = load(plan.decode(), config, "decode");
      sending = transfers.get();
      this.importer = transfers.get();
      this.exporter = sending;
      this.decode = loaded;
    } catch (RuntimeException | Error e) {
      prefill.close();
      if (loaded != null) {
        loaded.close();
      }
      if (sending != null) {
        sending.close();
      }
      throw e;
    }
  }

  /**
   * Runs a plan on the calling thread.
   *
   * @param transfers makes the transfer of a worker; called twice
   * @param progress hears what is being done
   * @throws IllegalArgumentException for prompts or sizes that do not suit the model
   * @throws EngineException when the model cannot be loaded
   * @throws IllegalStateException when the two workers may not exchange KV, or nothing moves
   */
  public static VerifyReport run(
      VerifyPlan plan, Supplier<KvTransfer> transfers, Consumer<String> progress)
      throws IOException {
    return run(plan, transfers, sink -> sink, progress);
  }

  /**
   * @param landing wraps what receives the KV; for tests that break it
   */
  static VerifyReport run(
      VerifyPlan plan,
      Supplier<KvTransfer> transfers,
      UnaryOperator<KvSink> landing,
      Consumer<String> progress)
      throws IOException {
    try (Verification verification = new Verification(plan, transfers, landing, progress)) {
      return verification.run();
    }
  }

  @Override
  public void close() {
    exporter.close();
    importer.close();
    prefill.close();
    decode.close();
  }

  private Engine load(EngineOptions options, ModelConfig config, String role) {
    progress.accept("loading the %s worker".formatted(role));
    int context = longestPrompt() + plan.tokens();
    int sessions = prompts.size();
    EngineOptions sized =
        options.withContextLength(context).withMaxSessions(sessions).withSwapBytes(0);
    // A session's context, and as much again for prefixes that stay cached.
    long blocks = 2L * sessions * Math.ceilDiv(context, options.blockTokens());
    long bytes = ModelMemory.kvBytes(config, stored(config), sized, blocks);
    return Engine.load(sized.withKvCacheBytes(bytes), progress);
  }

  private DType stored(ModelConfig config) {
    DType declared = config.dtype();
    if (declared != null) {
      return declared;
    }
    try (Checkpoint checkpoint = Checkpoint.open(plan.decode().modelDirectory(), config)) {
      return checkpoint.get(TensorNames.EMBEDDING).dtype();
    }
  }

  private int longestPrompt() {
    return prompts.stream().mapToInt(prompt -> prompt.length).max().orElseThrow();
  }

  private VerifyReport run() {
    ModelInfo model = decode.model();
    if (!prefill.model().fingerprint().equals(model.fingerprint())) {
      throw new IllegalStateException(
          "fingerprint: %s of the prefill worker (expected: %s, the decode worker's): they compute"
                  .formatted(prefill.model().fingerprint(), model.fingerprint())
              + " differently and would not exchange KV");
    }
    Arrays.setAll(looked, this::firstLooked);
    List<Answer> expected = alone(decode, "the decode worker alone");
    List<Answer> control = alone(prefill, "the prefill worker alone");
    List<Answer> split = split("split", false);
    List<Answer> cached = split("split, half of the prompt cached", true);
    return new VerifyReport(
        setting(model),
        compare("prefill worker alone (control, no transfer)", control, expected),
        List.of(
            compare("split, KV handed over", split, expected),
            compare("split, half of the prompt cached", cached, expected)));
  }

  private String setting(ModelInfo model) {
    return "%s (%s, KV %s): prefill TP %d, blocks of %d; decode TP %d, blocks of %d; %d prompts of %d to %d tokens, %d generated each"
        .formatted(
            model.name(),
            model.fingerprint().substring(0, 12),
            model.kvDtype().toString().toLowerCase(Locale.ROOT),
            plan.prefill().tensorParallel(),
            plan.prefill().blockTokens(),
            plan.decode().tensorParallel(),
            plan.decode().blockTokens(),
            prompts.size(),
            prompts.stream().mapToInt(prompt -> prompt.length).min().orElseThrow(),
            longestPrompt(),
            plan.tokens());
  }

  private static VerifyReport.Comparison compare(
      String name, List<Answer> actual, List<Answer> expected) {
    List<String> differences = new ArrayList<>();
    long tokens = 0;
    long bytes = 0;
    for (int i = 0; i < actual.size(); i++) {
      Answer answer = actual.get(i);
      tokens += answer.tokens.size();
      bytes += answer.kv == null ? 0 : answer.kv.bytes();
      String difference = answer.difference(expected.get(i));
      if (difference != null) {
        differences.add("session %d: %s".formatted(i, difference));
      }
    }
    return new VerifyReport.Comparison(name, actual.size(), tokens, bytes, differences);
  }

  /** The session of a prompt in a run; greedy and sampled by turns. */
  private Generation generation(int prompt, String run) {
    Sampling greedy = Sampling.greedy(plan.tokens());
    Sampling sampling =
        greedy.with(
            draft -> {
              draft.ignoreEos = true;
              draft.logprobs = LOGPROBS;
              if (prompt % 2 == 1) {
                draft.temperature = 0.8f;
                draft.topP = 0.95f;
                draft.seed = plan.seed() + prompt;
              }
            });
    return new Generation(
        new SessionId("%s %d".formatted(run, prompt), 1),
        prompts.get(prompt),
        new int[0],
        sampling,
        "%s %d".formatted(run, prompt),
        0);
  }

  private List<Answer> alone(Engine engine, String run) {
    progress.accept(run);
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      Answer answer = new Answer();
      answers.add(answer);
      // The KV is read from a session of its own, for that of a running one belongs to the engine.
      Generation first = generation(i, run + ", KV");
      started();
      engine.prefill(first, new Look(engine, first, answer, looked[i]));
      Generation generation = generation(i, run);
      started();
      engine.generate(generation, new Collect(engine, generation.session(), answer));
    }
    runAll();
    return answers;
  }

  private List<Answer> split(String run, boolean halfCached) {
    progress.accept(run);
    List<Generation> generations = new ArrayList<>();
    for (int i = 0; i < prompts.size(); i++) {
      generations.add(generation(i, run));
    }
    if (halfCached) {
      for (Generation generation : generations) {
        cacheHalf(generation);
      }
      runAll();
    }
    List<Answer> answers = new ArrayList<>();
    for (int i = 0; i < generations.size(); i++) {
      Answer answer = new Answer();
      answers.add(answer);
      started();
      SplitSession session =
          new SplitSession(
              new SplitSession.Side(prefill, exporter),
              new SplitSession.Side(decode, importer),
              posted::add,
              generations.get(i),
              answer,
              looked[i],
              () -> unfinished--);
      session.begin(landing);
    }
    runAll();
    return answers;
  }

  /** Leaves the first half of a prompt in the decode worker's prefix cache. */
  private void cacheHalf(Generation whole) {
    int[] prompt = whole.prompt();
    int[] half = Arrays.copyOf(prompt, Math.ceilDiv(prompt.length, 2));
    SessionId id = new SessionId(whole.session().id() + ", half", 1);
    Generation first = new Generation(id, half, new int[0], whole.sampling(), whole.cacheSalt(), 0);
    started();
    decode.prefill(first, new Computed(id));
  }

  /** 0, or where the window of the context's end begins when every layer has one. */
  private int firstLooked(int prompt) {
    Generation probe = generation(prompt, "window");
    int first = decode.reserve(probe, new Collect(decode, probe.session(), new Answer()));
    decode.release(probe.session());
    return first;
  }

  private void started() {
    unfinished++;
  }

  private void runAll() {
    while (unfinished > 0) {
      for (Runnable task = posted.poll(); task != null; task = posted.poll()) {
        task.run();
      }
      boolean worked = prefill.step();
      worked |= decode.step();
      if (!worked && unfinished > 0) {
        awaitPost();
      }
    }
    prefill.checkIntegrity();
    decode.checkIntegrity();
  }

  private void awaitPost() {
    try {
      Runnable task = posted.poll(STUCK_SECONDS, TimeUnit.SECONDS);
      if (task == null) {
        throw new IllegalStateException(
            "%d sessions: nothing moved for %d s".formatted(unfinished, STUCK_SECONDS));
      }
      task.run();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted", e);
    }
  }

  /** Collects a session's tokens and releases it at its end. */
  private final class Collect implements SessionListener {
    private final Engine engine;
    private final SessionId id;
    private final Answer answer;

    Collect(Engine engine, SessionId id, Answer answer) {
      this.engine = engine;
      this.id = id;
      this.answer = answer;
    }

    @Override
    public void onToken(SampledToken token) {
      answer.tokens.add(token);
      if (token.finish() != null) {
        engine.release(id);
        unfinished--;
      }
    }

    @Override
    public void onFailed(EngineException cause) {
      answer.failure = "failed: " + cause.getMessage();
      unfinished--;
    }
  }

  /** Reads the KV of a prompt once it is computed. */
  private final class Look implements SessionListener {
    private final Engine engine;
    private final Generation generation;
    private final Answer answer;
    private final int from;

    Look(Engine engine, Generation generation, Answer answer, int from) {
      this.engine = engine;
      this.generation = generation;
      this.answer = answer;
      this.from = from;
    }

    @Override
    public void onToken(SampledToken token) {
      EngineKv kv = new EngineKv(engine.model());
      kv.open(engine.kv(generation.session()));
      answer.kv = KvDigest.of(kv, engine.model(), from, generation.contextTokens());
      engine.release(generation.session());
      unfinished--;
    }

    @Override
    public void onFailed(EngineException cause) {
      answer.failure = "failed: " + cause.getMessage();
      unfinished--;
    }
  }

  /** Wants a context computed and left in the decode worker's prefix cache. */
  private final class Computed implements SessionListener {
    private final SessionId id;

    Computed(SessionId id) {
      this.id = id;
    }

    @Override
    public void onToken(SampledToken token) {
      decode.release(id);
      unfinished--;
    }

    @Override
    public void onFailed(EngineException cause) {
      throw cause;
    }
  }
}

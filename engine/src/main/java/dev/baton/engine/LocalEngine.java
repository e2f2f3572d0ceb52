package dev.baton.engine;

import static java.util.stream.Collectors.joining;

import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceSlabs;
import dev.baton.device.StepBatch;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.BlockTable;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.cache.Window;
import dev.baton.engine.model.ModelRunner;
import dev.baton.engine.sample.Adjustments;
import dev.baton.engine.sample.Sampler;
import dev.baton.engine.schedule.EnergyAccount;
import dev.baton.engine.schedule.Pace;
import dev.baton.engine.schedule.Scheduler;
import dev.baton.engine.schedule.Session;
import dev.baton.engine.schedule.Session.State;
import dev.baton.engine.schedule.StepPlan;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The engine over a {@link ModelRunner} in this process. A step is four verbs: schedule, order,
 * run, settle. Owns the runner. Listeners may call back into every method but {@link #step} and
 * {@link #close}.
 *
 * <p>Long, because it is the whole contract of {@link Engine}, method by method; what can stand
 * alone (scheduler, pool, sampler, views, rules) does.
 */
final class LocalEngine implements Engine {

  private static final Logger LOG = LoggerFactory.getLogger(LocalEngine.class);

  /**
   * Bounds the memory that is made ready for KV before there is any: 4,096 tokens of a small model.
   */
  private static final long AHEAD_BYTES = 128L << 20;

  private final ModelRunner runner;
  private final ModelInfo model;
  private final SessionRules rules;
  private final BlockPool pool;
  private final SwapSpace swap;
  private final Pace pace;
  private final Scheduler scheduler;
  private final StatusBoard board;
  private final LongSupplier nanoTime;
  private final Sampler sampler;
  private final KvViews views;

  // In order of arrival, so that failing all of them is the same in every run.
  private final Map<SessionId, Session> sessions = new LinkedHashMap<>();

  private final EnergyAccount energy;
  private long arrivals;
  private long steps;
  private long promptTokens;
  private long generatedTokens;

  /** Rows of the session that is being settled which scored its prompt. */
  private int scoredRows;

  /** Blocks whose memory is made ready before anybody has asked for them. */
  private final int aheadBlocks;

  private final boolean checksEveryStep;
  private boolean uncheckedSteps;
  private boolean inStep;
  private boolean closed;
  private @Nullable EngineException ended;

  /**
   * @param nanoTime a clock that only rises, nanoseconds; it decides how long chunks are, and never
   *     which token comes
   */
  LocalEngine(ModelRunner runner, EngineOptions options, LongSupplier nanoTime) {
    this.runner = runner;
    this.nanoTime = nanoTime;
    this.checksEveryStep = options.checkLedger();
    this.model = runner.model();
    StepBatch batch = runner.batch();
    int contextLength = Math.min(model.contextLength(), batch.maxBlocks() * runner.blockTokens());
    if (options.contextLength() > 0) {
      contextLength = Math.min(contextLength, options.contextLength());
    }
    this.rules = new SessionRules(model, contextLength);
    int stepTokens = Math.min(options.stepTokens(), batch.maxTokens());
    int maxSessions = Math.min(options.maxSessions(), batch.maxSequences());
    MachineSizes machine = MachineSizes.HERE;
    Window window = new Window(runner.window(), runner.blockTokens(), stepTokens);
    this.pool = new BlockPool(runner.blocks(), model.fingerprint(), window, nanoTime);
    this.pace = new Pace(options.maxStepMillis());
    this.energy =
        new EnergyAccount(
            runner::joules,
            nanoTime,
            runner.weightBytes(),
            KvCopies.pageBytes(runner) / runner.blockTokens());
    this.swap =
        new SwapSpace(
            runner.swapBytes(),
            KvCopies.pageBytes(runner),
            runner.blockTokens(),
            new KvCopies(runner, pace, nanoTime),
            nanoTime);
    this.views = new KvViews(runner, window);
    this.scheduler =
        new Scheduler(
            pool,
            swap,
            pace,
            stepTokens,
            options.prefillChunk(),
            maxSessions,
            runner.logitRows(),
            losing -> views.preempt(losing.id()));
    this.aheadBlocks =
        (int)
            Math.min(
                pool.blocksFor(contextLength),
                Math.ceilDiv(AHEAD_BYTES, KvCopies.pageBytes(runner)));
    this.board = new StatusBoard(scheduler, pool, swap);
    this.sampler = new Sampler(runner.openChoice(), model.vocabularySize());
    LOG.info(
        """
        engine: {} of context {}
          KV        {} blocks of {} tokens ({}) = {} tokens{}; swap space of up to {} more, taken when needed
          step      up to {} tokens ({}); a prompt's chunk: {}; beside decodes {}
          sessions  up to {} at a time ({}), each up to {} blocks\
        """,
        model.name(),
        contextLength,
        pool.capacity(),
        pool.blockTokens(),
        machine.reasonForBlocks(pool.blockTokens()),
        (long) pool.capacity() * pool.blockTokens(),
        window.size() == 0 ? "" : ", window of " + window.size(),
        swap.capacity(),
        stepTokens,
        machine.reasonForTokens(stepTokens),
        options.prefillChunk() == 0 ? "all of that, shared" : "up to " + options.prefillChunk(),
        options.maxStepMillis() == 0
            ? "the same"
            : "what keeps a step under %d ms".formatted(options.maxStepMillis()),
        maxSessions,
        machine.reasonForSessions(maxSessions),
        pool.blocksFor(contextLength));
    publishStatus();
  }

  @Override
  public ModelInfo model() {
    return model;
  }

  @Override
  public EngineStatus status() {
    return board.read();
  }

  @Override
  public DeviceHealth health() {
    return runner.health();
  }

  @Override
  public double measureEnergy() {
    return energy.measure();
  }

  @Override
  public @Nullable DeviceSlabs slabs() {
    return runner.slabs();
  }

  @Override
  public long progress() {
    return board.read().steps() + runner.progress();
  }

  @Override
  public void generate(Generation generation, SessionListener listener) {
    enqueue(admissible(generation, listener, Session.Kind.GENERATE));
  }

  @Override
  public void prefill(Generation generation, SessionListener listener) {
    enqueue(admissible(generation, listener, Session.Kind.PREFILL));
  }

  @Override
  public KvView kv(SessionId id) {
    requireAlive();
    Session session = require(id);
    boolean reserved = session.state() == State.RESERVED;
    boolean prefill = session.kind() == Session.Kind.PREFILL && session.state() != State.WAITING;
    if (!reserved && !prefill && !decodes(session)) {
      throw new EngineException(
          Kind.INVALID,
          "kv: %s (expected: a running prefill, or reserved, or decoding)".formatted(session));
    }
    if (decodes(session)) {
      pool.keep(session.table(), session.computed());
    }
    return views.of(session);
  }

  @Override
  public void closeKv(SessionId id) {
    Session session = sessions.get(id);
    if (session != null && decodes(session)) {
      views.close(id);
      pool.letGo(session.table(), session.computed());
      publishStatus();
    }
  }

  private static boolean decodes(Session session) {
    return session.kind() != Session.Kind.PREFILL
        && session.state() == State.RUNNING
        && session.computed() == session.length() - 1;
  }

  @Override
  public int reserve(Generation generation, SessionListener listener) {
    return reserve(generation, 0, listener);
  }

  @Override
  public int reserve(Generation generation, int room, SessionListener listener) {
    Session session = admissible(generation, listener, Session.Kind.HANDOFF);
    session.setRoom(room);
    return reserve(session);
  }

  private int reserve(Session session) {
    if (!scheduler.reserve(session)) {
      throw new EngineException(
          Kind.NO_CAPACITY,
          "reserve: %d context tokens of session %s (expected: at most what is free; now %s)"
              .formatted(session.length(), session.id(), pool.snapshot()));
    }
    sessions.put(session.id(), session);
    publishStatus();
    return session.computed();
  }

  @Override
  public void start(SessionId id, int firstToken) {
    start(id, new int[0], firstToken);
  }

  @Override
  public void start(SessionId id, int[] added, int firstToken) {
    requireAlive();
    Session session = require(id);
    if (session.state() != State.RESERVED) {
      throw new EngineException(Kind.INVALID, "start: %s (expected: reserved)".formatted(session));
    }
    rules.checkToken("firstToken", firstToken);
    if (added.length > session.room() || session.length() + added.length >= session.tokenLimit()) {
      throw new EngineException(
          Kind.INVALID,
          "start: %d tokens added to %s (expected: at most %d, and fewer than its limit of %d)"
              .formatted(added.length, session, session.room(), session.tokenLimit()));
    }
    for (int token : added) {
      rules.checkToken("added", token);
    }
    int from = views.arrivedFrom(session);
    int needed = Math.max(session.computed(), pool.window().start(session.length() + added.length));
    if (from > needed) {
      throw new EngineException(
          Kind.INVALID,
          "start: KV from token %d on for %s (expected: from %d on)"
              .formatted(from, session, needed));
    }
    views.close(id);
    session.extend(added);
    scheduler.start(session, from);
    session.append(firstToken);
    if (rules.finish(session) != null) {
      end(session);
    }
    publishStatus();
  }

  @Override
  public int reservePrefix(Generation generation, SessionListener listener) {
    Session session = admissible(generation, listener, Session.Kind.HANDOFF);
    session.table().wantWholeBlocks();
    return reserve(session);
  }

  @Override
  public int pin(Generation generation, SessionListener listener) {
    Session session = admissible(generation, listener, Session.Kind.PREFILL);
    int pinned = scheduler.pin(session);
    if (pinned > 0) {
      sessions.put(session.id(), session);
      publishStatus();
    }
    return pinned;
  }

  @Override
  public void publish(SessionId id) {
    requireAlive();
    Session session = require(id);
    if (session.state() != State.RESERVED) {
      throw new EngineException(
          Kind.INVALID, "publish: %s (expected: reserved)".formatted(session));
    }
    int from = views.arrivedFrom(session);
    views.close(id);
    scheduler.publish(session, from);
    end(session);
    publishStatus();
  }

  @Override
  public SuspendedSession suspend(SessionId id) {
    requireAlive();
    Session session = require(id);
    if (!decodes(session)) {
      throw new EngineException(
          Kind.INVALID, "suspend: %s (expected: decoding)".formatted(session));
    }
    scheduler.hold(session);
    publishStatus();
    return new SuspendedSession(
        Arrays.copyOf(session.tokens(), session.length()), views.of(session));
  }

  @Override
  public void release(SessionId id) {
    Session session = sessions.get(id);
    if (session != null) {
      end(session);
      publishStatus();
    }
  }

  @Override
  public boolean step() {
    requireAlive();
    requireOutsideStep("step");
    inStep = true;
    try {
      StepPlan plan = schedule();
      if (plan.size() == 0) {
        checkWhenIdle();
        return false;
      }
      uncheckedSteps = true;
      order(plan);
      long begun = nanoTime.getAsLong();
      MemorySegment logits = run(plan);
      pace.ran(plan.decodes(), plan.prefillTokens(), nanoTime.getAsLong() - begun);
      steps++;
      sampler.run(logits);
      energy.ran(plan, pace, nanoTime.getAsLong() - begun);
      settle(plan);
      if (checksEveryStep) {
        checkAccount();
      }
      return true;
    } finally {
      inStep = false;
      publishStatus();
    }
  }

  @Override
  public List<Holding> holdings() {
    List<Holding> all = new ArrayList<>(pool.holdings());
    all.addAll(swap.holdings());
    return all;
  }

  @Override
  public void checkIntegrity() {
    List<BlockTable> tables = new ArrayList<>();
    for (Session session : sessions.values()) {
      tables.add(session.table());
    }
    pool.checkIntegrity(tables);
    scheduler.checkIntegrity();
  }

  @Override
  public void close() {
    requireOutsideStep("close");
    if (!closed) {
      closed = true;
      failAll(new EngineException(Kind.INTERNAL, "engine: closed"));
      publishStatus();
      swap.close();
      runner.close();
      if (checksEveryStep) {
        requireNothingHeld();
      }
    }
  }

  private void requireNothingHeld() {
    checkIntegrity();
    if (!board.read().ledger().closed()) {
      long now = nanoTime.getAsLong();
      throw new IllegalStateException(
          "engine: closed with %s (expected: nothing held)"
              .formatted(
                  holdings().stream().map(held -> held.describe(now)).collect(joining(", "))));
    }
  }

  private Session admissible(Generation generation, SessionListener listener, Session.Kind kind) {
    requireAlive();
    if (sessions.containsKey(generation.session())) {
      throw new EngineException(
          Kind.INVALID,
          "session: %s (expected: one that is not here already)".formatted(generation.session()));
    }
    rules.check(generation);
    Session session =
        new Session(
            generation,
            listener,
            kind,
            rules.tokenLimit(generation),
            pool.open(generation.session(), generation.cacheSalt()),
            arrivals++);
    session.setAdjustments(
        Adjustments.of(generation.sampling(), generation.prompt().length, model.eosTokenIds()));
    if (!scheduler.canEverFit(session)) {
      throw new EngineException(
          Kind.TOO_LONG,
          "session: up to %d tokens (expected: what fits the KV cache, %d blocks of %d tokens)"
              .formatted(session.tokenLimit(), pool.capacity(), pool.blockTokens()));
    }
    return session;
  }

  private void enqueue(Session session) {
    sessions.put(session.id(), session);
    scheduler.enqueue(session);
    publishStatus();
  }

  /** May copy KV, so that what it throws is as bad as a failed step. */
  private StepPlan schedule() {
    try {
      return scheduler.schedule();
    } catch (RuntimeException | Error e) {
      throw fail("planning step %d failed".formatted(steps + 1), e);
    }
  }

  private MemorySegment run(StepPlan plan) {
    try {
      plan.writeTo(runner.batch());
      return runner.run(sampler.choice());
    } catch (RuntimeException | Error e) {
      // After a failed step nobody knows what is in the KV, so nothing may go on from it.
      throw fail("step %d failed".formatted(steps + 1), e);
    }
  }

  /** Recounts the account once after each burst of steps; a wrong account is wrong text to come. */
  private void checkWhenIdle() {
    if (uncheckedSteps) {
      checkAccount();
    }
  }

  private void checkAccount() {
    uncheckedSteps = false;
    try {
      checkIntegrity();
    } catch (IllegalStateException e) {
      throw fail("the account of blocks is wrong", e);
    }
  }

  private EngineException fail(String what, Throwable cause) {
    LOG.error("engine: {}, {} sessions end", what, sessions.size(), cause);
    EngineException failure =
        new EngineException(Kind.INTERNAL, "engine: %s: %s".formatted(what, cause), cause);
    failAll(failure);
    return failure;
  }

  /** Says how the tokens of all sessions are to be chosen, before the step: together. */
  private void order(StepPlan plan) {
    sampler.begin();
    for (int i = 0; i < plan.size(); i++) {
      Session session = plan.session(i);
      int end = session.computed() + plan.tokens(i);
      for (int position = session.computed(); position < end; position++) {
        if (session.scores(position)) {
          sampler.score(
              session.token(position + 1), session.generation().sampling().promptLogprobs());
        } else if (session.needsLogits(position)) {
          sampler.draw(
              session.generation().sampling(),
              session.adjustments(),
              session.tokens(),
              session.length(),
              session.generatedCount());
        }
      }
    }
  }

  private void settle(StepPlan plan) {
    for (int i = 0; i < plan.size(); i++) {
      Session session = plan.session(i);
      // A listener may have released it meanwhile, or made a reservation that took its blocks; then
      // what the step did for it is lost.
      if (session.state() == State.RUNNING) {
        settle(session, plan.tokens(i), plan.row(i));
      }
    }
  }

  private void settle(Session session, int tokens, int firstRow) {
    if (session.isPrefilling()) {
      promptTokens += tokens;
    }
    EngineException unscored = score(session, tokens, firstRow);
    if (unscored != null) {
      failUntrusted(session, unscored);
      return;
    }
    int row = firstRow + scoredRows;
    session.advance(tokens);
    pool.publish(session.table(), session.tokens(), session.computed());
    try {
      if (session.announce()) {
        session.listener().onAdmitted(session.cachedTokens());
      }
      if (session.state() == State.RUNNING) {
        views.advance(session);
      }
      if (session.kind() == Session.Kind.PREFILL && session.state() == State.RUNNING) {
        session.listener().onComputed(session.computed());
      }
      if (session.computed() == session.length() && session.state() == State.RUNNING) {
        deliver(session, row);
      }
    } catch (RuntimeException e) {
      // Its listener threw, though it must not; the other sessions are not to suffer for it.
      LOG.error("session {}: its listener failed, the session is released", session.id(), e);
      release(session.id());
    }
  }

  /** Puts down how likely the prompt tokens of this step were; counts their rows. */
  private @Nullable EngineException score(Session session, int tokens, int firstRow) {
    scoredRows = 0;
    PromptLogprobs known = session.promptLogprobs();
    if (known == null) {
      return null;
    }
    int from = session.computed();
    for (int position = from; position < from + tokens; position++) {
      if (session.scores(position)) {
        int row = firstRow + scoredRows++;
        if (sampler.failure(row) != null) {
          return sampler.failure(row);
        }
        sampler.writeScore(row, known, position);
        session.markScored(position);
      }
    }
    return null;
  }

  private void deliver(Session session, int row) {
    EngineException unusable = sampler.failure(row);
    if (unusable != null) {
      failUntrusted(session, unusable);
      return;
    }
    int index = session.generatedCount();
    int token = sampler.token(row);
    Logprobs logprobs =
        session.generation().sampling().logprobs() >= 0 ? sampler.logprobs(row) : null;
    PromptLogprobs promptLogprobs = session.takePromptLogprobs();
    session.append(token);
    generatedTokens++;
    FinishReason finish = rules.finish(session);
    if (session.kind() == Session.Kind.PREFILL) {
      scheduler.hold(session);
    } else if (finish != null) {
      end(session);
    }
    double joules = energy.of(session);
    if (logprobs == null && promptLogprobs == null && joules < 0) {
      session.listener().onToken(token, index, finish);
    } else {
      session
          .listener()
          .onToken(new SampledToken(token, index, logprobs, promptLogprobs, finish, joules));
    }
  }

  private void failUntrusted(Session session, EngineException cause) {
    LOG.error("session {}: unusable logits at token {}", session.id(), session.length(), cause);
    forget(session);
    scheduler.endUntrusted(session);
    tellFailed(session, cause);
  }

  private void failAll(EngineException cause) {
    ended = cause;
    for (Session session : List.copyOf(sessions.values())) {
      // An earlier session's listener may have released this one.
      if (session.state() != State.ENDED) {
        boolean heardItsEnd = session.state() == State.HELD && rules.finish(session) != null;
        forget(session);
        try {
          scheduler.endUntrusted(session);
        } catch (IllegalStateException e) {
          // The account is wrong already; that must not keep the others from hearing of it.
          LOG.error("session {}: its blocks cannot be freed", session.id(), e);
        }
        if (!heardItsEnd) {
          tellFailed(session, cause);
        }
      }
    }
  }

  private static void tellFailed(Session session, EngineException cause) {
    try {
      session.listener().onFailed(cause);
    } catch (RuntimeException e) {
      LOG.error("session {}: its listener failed at onFailed", session.id(), e);
    }
  }

  private void end(Session session) {
    forget(session);
    scheduler.end(session);
  }

  private void forget(Session session) {
    sessions.remove(session.id());
    views.close(session.id());
  }

  private Session require(SessionId id) {
    Session session = sessions.get(id);
    if (session == null) {
      throw new EngineException(
          Kind.INVALID, "session: %s (expected: one that is here)".formatted(id));
    }
    return session;
  }

  private void requireAlive() {
    EngineException cause = ended;
    if (cause != null) {
      throw new EngineException(cause.kind(), String.valueOf(cause.getMessage()), cause);
    }
  }

  private void requireOutsideStep(String what) {
    if (inStep) {
      throw new IllegalStateException(
          "%s: called by a listener (expected: between steps)".formatted(what));
    }
  }

  private void publishStatus() {
    runner.expectBlocks(pool.everUsed() + aheadBlocks);
    board.write(steps, promptTokens, generatedTokens);
    // Within a step the account is checked at its end, for a listener may be in the middle of it.
    if (checksEveryStep && !inStep && ended == null) {
      checkAccount();
    }
  }
}

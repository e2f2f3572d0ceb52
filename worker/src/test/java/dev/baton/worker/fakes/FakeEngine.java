package dev.baton.worker.fakes;

import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineStatus;
import dev.baton.engine.Generation;
import dev.baton.engine.Holding;
import dev.baton.engine.KvView;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;

/**
 * An engine over the hash that {@link FakeSession} takes for a model. Notes every breach of the
 * contract in {@link #breaches}.
 */
public final class FakeEngine implements Engine {

  public static final int BLOCK_TOKENS = 16;

  static final int LAYERS = 2;
  static final int HEADS = 2;
  static final int DIM = 4;

  /** What a caller did against the contract. */
  public final List<String> breaches = new CopyOnWriteArrayList<>();

  private final ModelInfo model;
  private final int capacity;
  private final int chunk;
  private final Map<SessionId, FakeSession> sessions = new LinkedHashMap<>();
  private volatile EngineStatus status;
  private volatile boolean paused;
  private volatile long pauseAfter = Long.MAX_VALUE;
  private volatile boolean failNextStep;
  private volatile boolean closed;
  private volatile int integrityChecks;
  private volatile long stepCalls;
  private long steps;
  private long generated;

  public FakeEngine() {
    this("f00d", 256);
  }

  public FakeEngine(String fingerprint, int capacity) {
    this.model =
        new ModelInfo(
            "fake", "fake", fingerprint, 1024, 1000, LAYERS, HEADS, DIM, DType.FLOAT32, List.of(0));
    this.capacity = capacity;
    this.chunk = 8;
    this.status = snapshot();
  }

  /** Steps do nothing until {@link #resume}. */
  public void pause() {
    paused = true;
  }

  /** Steps do nothing from so many tokens in all on, until {@link #resume}. */
  public void pauseAfter(long tokens) {
    pauseAfter = tokens;
  }

  public void resume() {
    paused = false;
    pauseAfter = Long.MAX_VALUE;
  }

  public void failNextStep() {
    failNextStep = true;
  }

  public int integrityChecks() {
    return integrityChecks;
  }

  public long stepCalls() {
    return stepCalls;
  }

  public boolean closed() {
    return closed;
  }

  /** The tokens that a plain run of the generation says. */
  public static List<Integer> expected(Generation generation) {
    FakeEngine alone = new FakeEngine();
    List<Integer> tokens = new ArrayList<>();
    alone.generate(
        generation,
        new SessionListener() {
          @Override
          public void onToken(SampledToken token) {
            tokens.add(token.id());
          }

          @Override
          public void onFailed(EngineException cause) {
            throw cause;
          }
        });
    while (alone.step()) {
      // To the end.
    }
    return tokens;
  }

  @Override
  public ModelInfo model() {
    return model;
  }

  @Override
  public EngineStatus status() {
    return status;
  }

  @Override
  public void generate(Generation generation, SessionListener listener) {
    admit(new FakeSession(model, breaches, generation, listener, false));
  }

  @Override
  public void prefill(Generation generation, SessionListener listener) {
    admit(new FakeSession(model, breaches, generation, listener, true));
  }

  private void admit(FakeSession session) {
    Generation generation = session.generation;
    if (session.tokens.length > model.contextLength() || session.blocksNeeded() > capacity) {
      throw new EngineException(EngineException.Kind.TOO_LONG, "prompt: too long (expected: less)");
    }
    if (sessions.putIfAbsent(generation.session(), session) != null) {
      throw new EngineException(EngineException.Kind.INVALID, "session: twice (expected: once)");
    }
    status = snapshot();
  }

  @Override
  public KvView kv(SessionId session) {
    FakeSession running = sessions.get(session);
    if (running == null || running.blocks == 0) {
      throw new IllegalStateException("kv: session has no blocks: " + session);
    }
    return running;
  }

  @Override
  public int reserve(Generation generation, SessionListener listener) {
    FakeSession session = new FakeSession(model, breaches, generation, listener, false);
    if (session.blocksNeeded() > free()) {
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY, "blocks: none free (expected: later)");
    }
    admit(session);
    session.blocks = session.blocksNeeded();
    session.phase = FakeSession.Phase.RESERVED;
    status = snapshot();
    return 0;
  }

  @Override
  public void start(SessionId session, int firstToken) {
    FakeSession running = sessions.get(session);
    if (running == null || running.phase != FakeSession.Phase.RESERVED) {
      breaches.add("start of a session that is not reserved: " + session);
      return;
    }
    running.computed = running.count;
    running.tokens[running.count++] = firstToken;
    running.phase = FakeSession.Phase.DECODE;
    status = snapshot();
  }

  @Override
  public void release(SessionId session) {
    FakeSession running = sessions.remove(session);
    if (running != null) {
      running.released = true;
    }
    status = snapshot();
  }

  @Override
  public boolean step() {
    stepCalls++;
    if (failNextStep) {
      failNextStep = false;
      throw new IllegalStateException("device: gone");
    }
    if (paused || generated >= pauseAfter) {
      LockSupport.parkNanos(100_000);
      return !sessions.isEmpty();
    }
    boolean worked = false;
    for (FakeSession session : List.copyOf(sessions.values())) {
      worked |= advance(session);
    }
    if (worked) {
      steps++;
    }
    status = snapshot();
    return worked;
  }

  private boolean advance(FakeSession session) {
    if (session.blocks == 0) {
      if (session.blocksNeeded() > free()) {
        return false;
      }
      session.blocks = session.blocksNeeded();
    }
    switch (session.phase) {
      case RESERVED, HELD -> {
        return false;
      }
      case PREFILL -> {
        int to = Math.min(session.count, session.computed + chunk);
        while (session.computed < to) {
          session.compute(session.computed);
        }
        if (session.prefillOnly) {
          session.listener.onComputed(session.computed);
        }
        if (session.computed == session.count && !session.released) {
          session.phase = session.prefillOnly ? FakeSession.Phase.HELD : FakeSession.Phase.DECODE;
          sample(session);
        }
      }
      case DECODE -> {
        session.compute(session.count - 1);
        sample(session);
      }
    }
    return true;
  }

  private void sample(FakeSession session) {
    int token = session.next();
    int index = session.count - session.generation.prompt().length;
    generated++;
    FinishReason finish = null;
    if (!session.generation.sampling().ignoreEos() && model.eosTokenIds().contains(token)
        || session.generation.sampling().stopTokenIds().contains(token)) {
      finish = FinishReason.STOP;
    } else if (index + 1 == session.generation.sampling().maxTokens()) {
      finish = FinishReason.LENGTH;
    } else {
      session.tokens[session.count++] = token;
    }
    if (finish != null && !session.prefillOnly) {
      release(session.generation.session());
    }
    session.listener.onToken(new SampledToken(token, index, null, finish));
  }

  @Override
  public List<Holding> holdings() {
    return sessions.values().stream()
        .filter(session -> session.blocks > 0)
        .map(
            session ->
                new Holding(
                    session.generation.session(),
                    Holding.Kind.BLOCK,
                    session.phase == FakeSession.Phase.RESERVED ? "HANDOFF" : "CONTEXT",
                    session.blocks,
                    session.since))
        .toList();
  }

  @Override
  public void checkIntegrity() {
    integrityChecks++;
  }

  @Override
  public void close() {
    closed = true;
    for (FakeSession session : List.copyOf(sessions.values())) {
      release(session.generation.session());
      session.listener.onFailed(
          new EngineException(EngineException.Kind.INTERNAL, "engine: closed"));
    }
  }

  private int free() {
    return capacity - sessions.values().stream().mapToInt(s -> s.blocks).sum();
  }

  private EngineStatus snapshot() {
    int reserved =
        sessions.values().stream()
            .filter(s -> s.phase == FakeSession.Phase.RESERVED)
            .mapToInt(s -> s.blocks)
            .sum();
    int free = free();
    return new EngineStatus(
        0,
        sessions.size(),
        0,
        new LedgerSnapshot(capacity - free - reserved, reserved, 0, 0, free, capacity, 0),
        steps,
        0,
        generated,
        0,
        0,
        0);
  }
}

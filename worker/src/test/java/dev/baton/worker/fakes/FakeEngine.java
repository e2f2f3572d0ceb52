package dev.baton.worker.fakes;

import dev.baton.device.DType;
import dev.baton.device.SlabRegion;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineStatus;
import dev.baton.engine.Generation;
import dev.baton.engine.KvView;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;

/**
 * An engine whose model is a hash: the KV of a position depends on all tokens up to it, and the
 * next token on all KV before it. So a session that decodes from wrong or missing KV says wrong
 * tokens, as with a real model. Notes every breach of the contract in {@link #breaches}.
 */
public final class FakeEngine implements Engine {

  public static final int BLOCK_TOKENS = 16;

  private static final int LAYERS = 2;
  private static final int HEADS = 2;
  private static final int DIM = 4;
  private static final int INTS_PER_TOKEN = LAYERS * 2 * HEADS * DIM;
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(java.nio.ByteOrder.LITTLE_ENDIAN);

  private enum Phase {
    PREFILL,
    HELD,
    RESERVED,
    DECODE
  }

  private final class Running {
    final Generation generation;
    final SessionListener listener;
    final boolean prefillOnly;
    final int[] kv;
    final int[] tokens;
    int computed;
    int count;
    int blocks;
    Phase phase = Phase.PREFILL;
    volatile boolean released;

    Running(Generation generation, SessionListener listener, boolean prefillOnly) {
      this.generation = generation;
      this.listener = listener;
      this.prefillOnly = prefillOnly;
      int most = generation.prompt().length + generation.sampling().maxTokens();
      this.tokens = new int[most];
      int[] context = generation.context();
      System.arraycopy(context, 0, tokens, 0, context.length);
      this.count = context.length;
      this.kv = new int[most * INTS_PER_TOKEN];
    }

    int blocksNeeded() {
      return (tokens.length + BLOCK_TOKENS - 1) / BLOCK_TOKENS;
    }

    void compute(int position) {
      int before = position == 0 ? 1 : kv[(position - 1) * INTS_PER_TOKEN];
      int base = mix(before, tokens[position]);
      for (int i = 0; i < INTS_PER_TOKEN; i++) {
        kv[position * INTS_PER_TOKEN + i] = mix(base, i);
      }
      computed = position + 1;
    }

    int next() {
      int hash = (int) generation.sampling().seed();
      for (int i = 0; i < count * INTS_PER_TOKEN; i++) {
        hash = mix(hash, kv[i]);
      }
      return Math.floorMod(hash, model.vocabularySize());
    }
  }

  /** What a caller did against the contract. */
  public final List<String> breaches = new CopyOnWriteArrayList<>();

  private final ModelInfo model;
  private final int capacity;
  private final int chunk;
  private final Map<SessionId, Running> sessions = new LinkedHashMap<>();
  private volatile EngineStatus status;
  private volatile boolean paused;
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

  public void resume() {
    paused = false;
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
    admit(new Running(generation, listener, false));
  }

  @Override
  public void prefill(Generation generation, SessionListener listener) {
    admit(new Running(generation, listener, true));
  }

  private void admit(Running session) {
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
    Running running = sessions.get(session);
    if (running == null || running.blocks == 0) {
      throw new IllegalStateException("kv: session has no blocks: " + session);
    }
    return new View(running);
  }

  @Override
  public int reserve(Generation generation, SessionListener listener) {
    Running session = new Running(generation, listener, false);
    if (session.blocksNeeded() > free()) {
      throw new EngineException(
          EngineException.Kind.NO_CAPACITY, "blocks: none free (expected: later)");
    }
    admit(session);
    session.blocks = session.blocksNeeded();
    session.phase = Phase.RESERVED;
    status = snapshot();
    return 0;
  }

  @Override
  public void start(SessionId session, int firstToken) {
    Running running = sessions.get(session);
    if (running == null || running.phase != Phase.RESERVED) {
      breaches.add("start of a session that is not reserved: " + session);
      return;
    }
    running.computed = running.count;
    running.tokens[running.count++] = firstToken;
    running.phase = Phase.DECODE;
    status = snapshot();
  }

  @Override
  public void release(SessionId session) {
    Running running = sessions.remove(session);
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
    if (paused) {
      LockSupport.parkNanos(100_000);
      return !sessions.isEmpty();
    }
    boolean worked = false;
    for (Running session : List.copyOf(sessions.values())) {
      worked |= advance(session);
    }
    if (worked) {
      steps++;
    }
    status = snapshot();
    return worked;
  }

  private boolean advance(Running session) {
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
          session.phase = session.prefillOnly ? Phase.HELD : Phase.DECODE;
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

  private void sample(Running session) {
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
  public void checkIntegrity() {
    integrityChecks++;
  }

  @Override
  public void close() {
    closed = true;
    for (Running session : List.copyOf(sessions.values())) {
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
            .filter(s -> s.phase == Phase.RESERVED)
            .mapToInt(s -> s.blocks)
            .sum();
    int free = free();
    return new EngineStatus(
        0,
        sessions.size(),
        0,
        new LedgerSnapshot(capacity - free - reserved, reserved, 0, 0, free, capacity),
        steps,
        0,
        generated,
        0,
        0);
  }

  private static int mix(int a, int b) {
    int h = a * 0x9E3779B1 + b;
    h ^= h >>> 15;
    h *= 0x85EBCA6B;
    return h ^ (h >>> 13);
  }

  private final class View implements KvView {

    private final Running session;

    View(Running session) {
      this.session = session;
    }

    @Override
    public int tokens() {
      return session.tokens.length;
    }

    @Override
    public void pack(SlabRegion region, MemorySegment slab) {
      requireHeld("pack");
      if (region.tokenTo() > session.computed) {
        breaches.add("pack of tokens not computed: " + region);
      }
      copy(region, (at, index) -> slab.set(INT, at, session.kv[index]));
    }

    @Override
    public void unpack(SlabRegion region, MemorySegment slab) {
      requireHeld("unpack");
      copy(region, (at, index) -> session.kv[index] = slab.get(INT, at));
    }

    private void requireHeld(String what) {
      if (session.released) {
        breaches.add(what + " after the release of " + session.generation.session());
      }
    }

    private void copy(SlabRegion region, Copy copy) {
      long at = 0;
      for (int layer = region.layerFrom(); layer < region.layerTo(); layer++) {
        for (int part = 0; part < 2; part++) {
          for (int head = region.headFrom(); head < region.headTo(); head++) {
            for (int token = region.tokenFrom(); token < region.tokenTo(); token++) {
              for (int dim = 0; dim < DIM; dim++, at += 4) {
                copy.one(
                    at, token * INTS_PER_TOKEN + ((layer * 2 + part) * HEADS + head) * DIM + dim);
              }
            }
          }
        }
      }
    }
  }

  private interface Copy {
    void one(long at, int index);
  }
}

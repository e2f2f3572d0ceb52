package dev.baton.engine;

import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceSlabs;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * One model replica: receives sessions, runs steps, tells listeners.
 *
 * <p><b>Threads.</b> One thread, the step thread, calls everything except {@link #model}, {@link
 * #status}, {@link #progress} and the methods of {@link KvView}, which are for any thread. The
 * engine starts one thread per rank and no other; it has no socket. A clock measures steps, to
 * choose the lengths of prefill chunks; no token depends on it.
 *
 * <p><b>Shapes of a session.</b>
 *
 * <ul>
 *   <li>{@link #generate}: prefill and decode here.
 *   <li>{@link #prefill}: compute the context and sample one token; then the blocks stay, owned,
 *       until {@link #release}.
 *   <li>{@link #reserve}: hold blocks for KV that arrives by hand-off; {@link #start} then decodes,
 *       {@link #release} gives up.
 * </ul>
 *
 * A session that decodes can leave with its KV: {@link #kv} shows what is computed so far, which
 * stays as it is while more is added; {@link #suspend} ends that.
 */
public interface Engine extends AutoCloseable {

  /**
   * Loads a model directory onto this machine. Throws {@link EngineException}: BAD_MODEL for what
   * is in the directory, INVALID for options that do not suit the model, NO_CAPACITY for too little
   * memory.
   *
   * @param progress hears a line now and then when loading takes long; called on any thread
   */
  static Engine load(EngineOptions options, Consumer<String> progress) {
    ModelRunner runner = ModelLoader.load(options, progress);
    try {
      return on(runner, options);
    } catch (RuntimeException | Error e) {
      runner.close();
      throw e;
    }
  }

  /**
   * An engine over a runner that is loaded already, in this process. The engine owns the runner
   * from now on.
   */
  static Engine on(ModelRunner runner, EngineOptions options) {
    return on(runner, options, System::nanoTime);
  }

  /** As above, with a clock that only rises, nanoseconds. */
  static Engine on(ModelRunner runner, EngineOptions options, LongSupplier nanoTime) {
    return new LocalEngine(runner, options, nanoTime);
  }

  ModelInfo model();

  EngineStatus status();

  /**
   * How the chips are that the model runs on. Any thread, some milliseconds; after close unknown.
   */
  default DeviceHealth health() {
    return DeviceHealth.UNKNOWN;
  }

  /**
   * Reads what the chips have drawn since some moment, in joules; negative = not known. Tokens tell
   * what their sessions have drawn ({@link SampledToken#joules}) where this is called some times a
   * second, by one thread, any.
   */
  default double measureEnergy() {
    return -1;
  }

  /**
   * The device's memory for slabs of hand-offs, which {@link KvView#pack} and {@link KvView#unpack}
   * take too; null = none. Any thread; its memory lives until {@link #close}.
   */
  default @Nullable DeviceSlabs slabs() {
    return null;
  }

  /** Rises with every step, and within a long one with every layer. Any thread. */
  default long progress() {
    return status().steps();
  }

  /**
   * Admits a session; it runs as soon as blocks and the step budget allow, and is preempted (its KV
   * copied away, or computed again later) when blocks run out. Throws {@link EngineException} at
   * once when it can never run.
   */
  void generate(Generation generation, SessionListener listener);

  /** Admits a prefill-only session. Throws as {@link #generate} does. */
  void prefill(Generation generation, SessionListener listener);

  /**
   * Blocks of a running prefill-only or reserved session, or of one that decodes; valid for a
   * prefill session from its first onComputed on. Of a session that decodes the view ends when it
   * is preempted: every use of it throws then, also one that was under way. Where all layers look
   * back over a window, what comes to be behind it stays while the view is open; the view ends,
   * too, when those blocks are needed. Throws INVALID.
   */
  KvView kv(SessionId session);

  /**
   * Ends the view of a session that decodes, if there is one; uses that are under way throw. Of
   * other sessions, or unknown: no effect.
   */
  default void closeKv(SessionId session) {
    // An engine that keeps nothing for a view has nothing to give up.
  }

  /**
   * Reserves blocks for the whole context of a session whose KV comes by hand-off. Throws with
   * NO_CAPACITY when there are none now.
   *
   * @return tokens at the start of the context whose KV is not needed from the hand-off, fewer than
   *     the context: here already, whole blocks from the prefix cache; or behind the window of the
   *     whole context, where every layer has one. The hand-off brings the rest
   */
  int reserve(Generation generation, SessionListener listener);

  /**
   * As {@link #reserve(Generation, SessionListener)}, of a context that may grow before its KV is
   * there.
   *
   * @param room blocks for so many tokens more, as far as the session may come to need them; the
   *     view's {@link KvView#tokens} tells what there is
   */
  default int reserve(Generation generation, int room, SessionListener listener) {
    return reserve(generation, listener);
  }

  /**
   * As {@link #reserve(Generation, SessionListener)}, of a context whose whole blocks are wanted
   * for the prefix cache: {@link #publish} ends it, not start.
   */
  default int reservePrefix(Generation generation, SessionListener listener) {
    return reserve(generation, listener);
  }

  /**
   * The KV of a reserved session has arrived and was verified: publishes its blocks and decodes on
   * from {@code firstToken}, the generated token of index {@code generation.generated().length}.
   * The listener hears the tokens after it. Does nothing when that token already ends the session
   * but frees its blocks.
   */
  void start(SessionId session, int firstToken);

  /**
   * As {@link #start(SessionId, int)}, of a context that has grown since it was reserved.
   *
   * @param added the context's tokens after those of the generation; their KV has arrived too
   */
  default void start(SessionId session, int[] added, int firstToken) {
    if (added.length > 0) {
      throw new EngineException(
          EngineException.Kind.INVALID,
          "start: %d tokens added to %s (expected: an engine that can)"
              .formatted(added.length, session));
    }
    start(session, firstToken);
  }

  /**
   * Holds what the prefix cache has of a context, so that {@link #kv} can read it, until {@link
   * #release}. The session takes part in no steps and its listener hears no tokens.
   *
   * @return leading tokens of the context that are held, whole blocks; 0 = none, and there is no
   *     session then
   */
  default int pin(Generation generation, SessionListener listener) {
    return 0;
  }

  /**
   * The KV of a reserved session has arrived and was verified: its whole blocks go into the prefix
   * cache, and the session ends.
   */
  default void publish(SessionId session) {
    throw new EngineException(
        EngineException.Kind.INVALID,
        "publish: %s (expected: an engine that can)".formatted(session));
  }

  /**
   * Stops a session that decodes, for good: it takes part in no more steps, its listener hears no
   * more tokens, its blocks stay until {@link #release}. Throws INVALID for one that has not come
   * to decode yet or is preempted.
   */
  default SuspendedSession suspend(SessionId session) {
    throw new EngineException(
        EngineException.Kind.INVALID,
        "suspend: %s (expected: an engine that can)".formatted(session));
  }

  /**
   * Ends a session in any state and frees what it holds; blocks with a published prefix stay
   * cached. Unknown: no effect.
   */
  void release(SessionId session);

  /**
   * Schedules and runs one step, and calls the listeners. When the device fails, every session
   * hears onFailed, and this and every later call but {@link #release}, {@link #status} and {@link
   * #close} throws {@link EngineException} INTERNAL. Listeners may call every method but this one
   * and {@link #close}.
   *
   * @return false when there was nothing to run
   */
  boolean step();

  /** What sessions hold, and why. Walks all blocks. */
  default List<Holding> holdings() {
    return List.of();
  }

  /**
   * Recounts every block against every session and cache entry; throws IllegalStateException on any
   * difference.
   */
  void checkIntegrity();

  /** Fails all sessions, stops the ranks, frees all memory. */
  @Override
  void close();
}

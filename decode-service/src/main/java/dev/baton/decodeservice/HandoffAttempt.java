package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.KvSettled;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.ContextHash;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import java.time.Duration;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A session whose KV comes from a prefill worker. Confined to the step thread; the transfer's calls
 * are posted there.
 *
 * <p>The state says who may touch the reserved blocks, and so when they may be released:
 *
 * <ul>
 *   <li>{@code IMPORTING}: the transfer unpacks into them. Giving up means to cancel the import;
 *       the release comes with the listener's last call, not before, or a late slab would land in
 *       blocks that belong to another session by then.
 *   <li>{@code DECODING}: the engine alone. Giving up releases at once.
 *   <li>{@code SUSPENDED}: the engine runs the session no more; an export to another decode worker
 *       reads them ({@link Suspension}).
 *   <li>{@code FREE}: nobody; only the stream may still be open.
 * </ul>
 *
 * <p>KV that stayed corrupt after all resends is not used, and KV whose exporter is gone does not
 * come: the session is computed here instead. Its stream leaves the first token out all the same.
 * The router has that from the prefill worker, the very token that is computed here; or it has not,
 * and tries again under a new epoch.
 */
final class HandoffAttempt implements Attempt, Movable {

  private static final Logger log = LoggerFactory.getLogger(HandoffAttempt.class);

  /**
   * An exporter that gives up says why to the router, and may just have ended the session with its
   * first token. Its word goes before ours; ours comes in case that it is lost.
   */
  private static final Duration EXPORTER_SPEAKS_FIRST = Duration.ofMillis(500);

  private enum State {
    IMPORTING,
    DECODING,
    SUSPENDED,
    FREE
  }

  private final WorkerContext worker;
  private final ModelInfo model;
  private final Engine engine;
  private final StepLoop loop;
  private final Alarms alarms;
  private final KvTransfer transfer;
  private final Session<DecodeEvent> session;
  private final Generation generation;
  private final long contextHash;

  private State state = State.FREE;
  private boolean abandoned;
  private @Nullable Ticket ticket;
  private Alarms.@Nullable Alarm lastWord;
  private @Nullable Suspension suspension;

  HandoffAttempt(WorkerContext worker, KvTransfer transfer, Session<DecodeEvent> session) {
    this.worker = worker;
    this.model = worker.model();
    this.engine = worker.engine();
    this.loop = worker.loop();
    this.alarms = worker.alarms();
    this.transfer = transfer;
    this.session = session;
    this.generation = session.generation();
    this.contextHash = ContextHash.of(generation.context());
  }

  @Override
  public void begin() {
    int here = engine.reserve(generation, tokens());
    try {
      EngineKv kv = new EngineKv(model);
      kv.open(engine.kv(session.id()));
      ImportSpec spec =
          new ImportSpec(
              session.id().id(),
              session.id().epoch(),
              kv.geometry(),
              here,
              generation.contextTokens(),
              contextHash);
      Ticket issued = transfer.expect(spec, kv, new Handoff());
      ticket = issued;
      state = State.IMPORTING;
      session.send(
          DecodeEvent.newBuilder().setReserved(Tickets.write(issued, model.fingerprint())).build());
    } catch (RuntimeException e) {
      engine.release(session.id());
      throw e;
    }
  }

  @Override
  public void abandon(String reason) {
    abandoned = true;
    switch (state) {
      case IMPORTING -> {
        if (ticket != null) {
          transfer.cancelImport(ticket.transfer());
        }
      }
      case SUSPENDED -> suspension().abandon(reason);
      case DECODING, FREE -> release();
    }
  }

  @Override
  public void suspend() {
    switch (state) {
      case DECODING -> {
        suspension = new Suspension(worker, session, this::release);
        state = State.SUSPENDED;
      }
      case SUSPENDED -> {
        // Asked twice.
      }
      case IMPORTING, FREE ->
          throw new RefusedException(
              Failures.invalid(
                  "", "session: %s is %s (expected: decoding)".formatted(session.id(), state)));
    }
  }

  @Override
  public Suspension suspension() {
    if (suspension == null) {
      throw new RefusedException(
          Failures.invalid("", "session: %s runs (expected: suspended)".formatted(session.id())));
    }
    return suspension;
  }

  /** The first token is the prefill worker's to send, in whichever way its KV came about. */
  private TokenStream tokens() {
    return new TokenStream(session, generation.generated().length + 1, this::release);
  }

  private void release() {
    state = State.FREE;
    if (lastWord != null) {
      lastWord.cancel();
    }
    engine.release(session.id());
    session.leave();
  }

  private void arrived(Manifest manifest) {
    state = State.DECODING;
    if (abandoned) {
      release();
      return;
    }
    String wrong = mismatch(manifest);
    if (wrong != null) {
      fail(Failures.of(new HandoffException(HandoffException.Kind.CORRUPT, wrong)));
      return;
    }
    try {
      engine.start(session.id(), manifest.firstToken());
      settled(false);
    } catch (EngineException e) {
      fail(Failures.of(e));
    }
  }

  /** Tells the router that the prefill worker is needed no more. */
  private void settled(boolean recomputed) {
    session.send(
        DecodeEvent.newBuilder()
            .setKvSettled(KvSettled.newBuilder().setRecomputed(recomputed))
            .build());
  }

  /** What of the manifest speaks of another context than this session's; null when nothing. */
  private @Nullable String mismatch(Manifest manifest) {
    if (manifest.tokens() != generation.contextTokens()) {
      return "manifest.tokens: %d (expected: %d)"
          .formatted(manifest.tokens(), generation.contextTokens());
    }
    if (manifest.contextHash() != contextHash) {
      return "manifest.contextHash: %016x (expected: %016x)"
          .formatted(manifest.contextHash(), contextHash);
    }
    if (manifest.firstIndex() != generation.generated().length) {
      return "manifest.firstIndex: %d (expected: %d)"
          .formatted(manifest.firstIndex(), generation.generated().length);
    }
    if (manifest.firstToken() < 0 || manifest.firstToken() >= model.vocabularySize()) {
      return "manifest.firstToken: %d (expected: 0 to %d)"
          .formatted(manifest.firstToken(), model.vocabularySize() - 1);
    }
    return endsSession(manifest.firstToken())
        ? "manifest.firstToken: %d ends the session (expected: not handed off)"
            .formatted(manifest.firstToken())
        : null;
  }

  /** The engine would decode nothing and say nothing after such a token. */
  private boolean endsSession(int token) {
    var sampling = generation.sampling();
    return generation.generated().length + 1 >= sampling.maxTokens()
        || generation.contextTokens() + 1 >= model.contextLength()
        || sampling.stopTokenIds().contains(token)
        || (!sampling.ignoreEos() && model.eosTokenIds().contains(token));
  }

  private void failed(HandoffException cause) {
    state = State.FREE;
    if (abandoned) {
      release();
      return;
    }
    switch (cause.kind()) {
      case CORRUPT, PEER_LOST, TIMEOUT -> recompute(cause);
      case PEER_ABORTED -> {
        engine.release(session.id());
        Failure failure = Failures.of(cause);
        lastWord =
            alarms.after(EXPORTER_SPEAKS_FIRST, () -> loop.post(() -> session.stop(failure)));
      }
      case CANCELLED, INTERNAL -> fail(Failures.of(cause));
    }
  }

  private void recompute(HandoffException cause) {
    log.warn("session {}: {}; computing it here", session.id(), cause.getMessage());
    engine.release(session.id());
    state = State.DECODING;
    try {
      engine.generate(generation, tokens());
      settled(true);
    } catch (EngineException e) {
      fail(Failures.of(e));
    }
  }

  private void fail(Failure failure) {
    session.fail(failure);
    release();
  }

  /** What the transfer says; on its threads. */
  private final class Handoff implements ImportListener {

    @Override
    public void onCompleted(Manifest manifest, HandoffStats stats) {
      loop.post(() -> arrived(manifest));
    }

    @Override
    public void onFailed(HandoffException cause) {
      loop.post(() -> failed(cause));
    }
  }
}

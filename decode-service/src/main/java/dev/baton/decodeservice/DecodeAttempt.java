package dev.baton.decodeservice;

import dev.baton.decodeservice.DecodeMachine.Effect;
import dev.baton.decodeservice.DecodeMachine.State;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.KvSettled;
import dev.baton.proto.worker.v1.Suspended;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A session on a decode worker: does what its {@link DecodeMachine} says with engine, transfer and
 * stream. Confined to the step thread; the transfer's calls are posted there.
 */
final class DecodeAttempt implements Attempt {

  private static final Logger log = LoggerFactory.getLogger(DecodeAttempt.class);

  /**
   * An exporter that gives up says why to the router, and may just have ended the session with its
   * first token. Its word goes before ours; ours comes in case that it is lost.
   */
  private static final Duration EXPORTER_SPEAKS_FIRST = Duration.ofMillis(500);

  private static final Manifest NONE = new Manifest(0, 0, 0, 0);
  private static final HandOverReply ABORTED =
      HandOverReply.newBuilder()
          .setFailure(
              Failures.of(ErrorCode.HANDOFF_FAILED, "hand over: the session has ended meanwhile"))
          .build();

  private final WorkerContext worker;
  private final Engine engine;
  private final StepLoop loop;
  private final Session<DecodeEvent> session;
  private final @Nullable Arrival arrival;
  private final DecodeMachine machine;

  private Manifest manifest = NONE;
  private @Nullable Failure failure;
  private Alarms.@Nullable Alarm lastWord;
  private @Nullable Departure departure;
  private HandOverReply reply = ABORTED;

  private DecodeAttempt(
      WorkerContext worker, Session<DecodeEvent> session, @Nullable Arrival arrival) {
    this.worker = worker;
    this.engine = worker.engine();
    this.loop = worker.loop();
    this.session = session;
    this.arrival = arrival;
    this.machine =
        arrival == null ? DecodeMachine.computing() : DecodeMachine.importing(arrival.growing());
  }

  /** Of a session whose context is computed here, between the decode steps of the others. */
  static DecodeAttempt computing(WorkerContext worker, Session<DecodeEvent> session) {
    return new DecodeAttempt(worker, session, null);
  }

  /**
   * Of a session whose KV comes by hand-off.
   *
   * @param room tokens by which its context may still grow where it comes from
   */
  static DecodeAttempt importing(
      WorkerContext worker, KvTransfer transfer, Session<DecodeEvent> session, int room) {
    return new DecodeAttempt(
        worker, session, new Arrival(worker, transfer, session.generation(), room));
  }

  @Override
  public void begin() {
    Generation generation = session.generation();
    if (arrival == null) {
      engine.generate(generation, tokensFrom(generation.generated().length));
    } else {
      // The first token is the exporter's to send, in whichever way its KV comes about here.
      session.send(
          DecodeEvent.newBuilder()
              .setReserved(
                  arrival.open(tokensFrom(generation.generated().length + 1), new Import()))
              .build());
    }
  }

  private TokenStream tokensFrom(int index) {
    return new TokenStream(session, index, this::decoded, () -> perform(machine.ended()));
  }

  @Override
  public void abandon(String reason) {
    perform(machine.abandoned());
  }

  /**
   * Moves the session to another decode worker; {@code answer} hears once how it went. Throws
   * {@link RefusedException}, {@link EngineException} or {@link HandoffException} when it cannot;
   * nothing has changed then.
   */
  void handOver(HandOverRequest request, Consumer<HandOverReply> answer) {
    if (machine.state() != State.DECODING) {
      throw new RefusedException(
          Failures.invalid(
              "",
              "session: %s is %s (expected: decoding)".formatted(session.id(), machine.state())));
    }
    KvTransfer transfer =
        worker
            .transfer()
            .orElseThrow(
                () ->
                    new RefusedException(
                        Failures.invalid(
                            "", "hand over: asked (expected: of a worker with hand-off)")));
    departure = Departure.open(worker, transfer, session, request, new Exported(), answer);
    reply = ABORTED;
    machine.copying();
    decoded();
  }

  /** A token has come, and the KV of the one before it with it. */
  private void decoded() {
    Departure leaving = departure;
    if (leaving != null && machine.state() == State.COPYING && leaving.nearlyCopied()) {
      perform(machine.nearlyCopied());
    }
  }

  private void perform(List<Effect> effects) {
    for (Effect effect : effects) {
      perform(effect);
    }
  }

  private void perform(Effect effect) {
    switch (effect) {
      case START -> start();
      case RECOMPUTE -> recompute();
      case FREE_BLOCKS -> engine.release(session.id());
      case AWAIT_EXPORTER ->
          lastWord =
              worker
                  .alarms()
                  .after(
                      EXPORTER_SPEAKS_FIRST,
                      () -> loop.post(() -> perform(machine.exporterHasSpoken())));
      case CANCEL_IMPORT -> {
        if (arrival != null) {
          arrival.cancel();
        }
      }
      case SUSPEND -> suspend();
      case ABORT_EXPORT -> {
        if (departure != null) {
          departure.abort("the session has ended");
        }
      }
      case REPLY -> {
        if (departure != null) {
          departure.end(reply);
          departure = null;
        }
      }
      case FAIL -> {
        if (failure != null) {
          session.fail(failure);
        }
      }
      case END_STREAM -> session.end();
      case RELEASE -> {
        if (lastWord != null) {
          lastWord.cancel();
        }
        engine.release(session.id());
        session.leave();
      }
    }
  }

  private void start() {
    int[] added = manifest.added().stream().mapToInt(Integer::intValue).toArray();
    try {
      engine.start(session.id(), added, manifest.firstToken());
    } catch (EngineException e) {
      failure = Failures.of(e);
      perform(machine.refused());
      return;
    }
    KvSettled.Builder settled = KvSettled.newBuilder();
    if (arrival != null && arrival.growing()) {
      settled.setContextHash(manifest.contextHash());
    }
    session.send(DecodeEvent.newBuilder().setKvSettled(settled).build());
  }

  private void recompute() {
    Generation generation = session.generation();
    engine.release(session.id());
    try {
      // Its first token, too: the prefill worker may be lost before it says that.
      engine.generate(generation, tokensFrom(generation.generated().length));
    } catch (EngineException e) {
      failure = Failures.of(e);
      perform(machine.refused());
      return;
    }
    session.send(
        DecodeEvent.newBuilder().setKvSettled(KvSettled.newBuilder().setRecomputed(true)).build());
  }

  private void suspend() {
    if (departure != null) {
      session.send(
          DecodeEvent.newBuilder()
              .setSuspended(Suspended.newBuilder().setGeneratedTokens(departure.suspend()))
              .build());
    }
  }

  private void arrived(Arrival to, Manifest brought) {
    manifest = brought;
    String wrong = to.mismatch(brought).orElse(null);
    if (wrong == null) {
      perform(machine.imported());
    } else {
      failure = Failures.of(new HandoffException(HandoffException.Kind.CORRUPT, wrong));
      perform(machine.importedWrong());
    }
  }

  private void importFailed(HandoffException cause) {
    failure = Failures.of(cause);
    List<Effect> effects = machine.importFailed(cause.kind());
    if (effects.contains(Effect.RECOMPUTE)) {
      log.warn("session {}: {}; computing it here", session.id(), cause.getMessage());
    }
    perform(effects);
  }

  /** What the transfer says of the KV that comes; on its threads. */
  private final class Import implements ImportListener {

    @Override
    public void onCompleted(Manifest brought, HandoffStats stats) {
      loop.post(
          () -> {
            if (arrival != null) {
              arrived(arrival, brought);
            }
          });
    }

    @Override
    public void onFailed(HandoffException cause) {
      loop.post(() -> importFailed(cause));
    }
  }

  /** What the transfer says of the KV that leaves; on its threads. */
  private final class Exported implements ExportListener {

    @Override
    public void onPacked() {
      // The blocks are not needed any more, but go with the acknowledgement, which is close.
    }

    @Override
    public void onAcknowledged(HandoffStats stats) {
      HandOverReply done =
          HandOverReply.newBuilder().setHandedOff(Tickets.handedOff(stats)).build();
      loop.post(
          () -> {
            reply = done;
            perform(machine.exported());
          });
    }

    @Override
    public void onFailed(HandoffException cause) {
      HandOverReply failed = HandOverReply.newBuilder().setFailure(Failures.of(cause)).build();
      loop.post(
          () -> {
            reply = failed;
            perform(machine.exportFailed());
          });
    }
  }
}

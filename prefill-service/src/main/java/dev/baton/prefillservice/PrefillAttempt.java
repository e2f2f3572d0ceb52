package dev.baton.prefillservice;

import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.prefillservice.PrefillMachine.Effect;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.Tickets;
import dev.baton.worker.wire.Tokens;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One prompt on its way out: does what its {@link PrefillMachine} says with engine, transfer and
 * stream. Confined to the step thread; the transfer's calls are posted there.
 */
final class PrefillAttempt implements Attempt {

  private final Engine engine;
  private final EngineKv kv;
  private final StepLoop loop;
  private final KvTransfer transfer;
  private final Session<PrefillEvent> session;
  private final Generation generation;
  private final Ticket ticket;
  private final long contextHash;
  private final PrefillMachine machine = PrefillMachine.computing();

  private @Nullable Export export;
  private int computed;
  private PrefillEvent token = PrefillEvent.getDefaultInstance();
  private PrefillEvent handedOff = PrefillEvent.getDefaultInstance();
  private Manifest manifest = new Manifest(0, 0, 0, 0);
  private Failure failure = Failure.getDefaultInstance();

  /**
   * @param kvDtype in which the importer wants KV
   */
  PrefillAttempt(
      WorkerContext worker,
      KvTransfer transfer,
      Session<PrefillEvent> session,
      Ticket ticket,
      DType kvDtype) {
    this.engine = worker.engine();
    this.kv = new EngineKv(worker.model(), kvDtype);
    this.loop = worker.loop();
    this.transfer = transfer;
    this.session = session;
    this.generation = session.generation();
    this.ticket = ticket;
    this.contextHash = ContextHash.of(generation.context());
  }

  @Override
  public void begin() {
    SessionId id = session.id();
    engine.prefill(generation, new Progress());
    try {
      // Connecting takes its time, which the first layers hide.
      export = transfer.export(ticket, id.id(), id.epoch(), kv.geometry(), kv, new Handoff());
    } catch (RuntimeException e) {
      engine.release(id);
      throw e;
    }
  }

  @Override
  public void abandon(String reason) {
    perform(machine.abandoned(), reason);
  }

  private void perform(List<Effect> effects, String reason) {
    Export open = export;
    if (open == null) {
      throw new IllegalStateException("export: none yet (expected: opened at the beginning)");
    }
    for (Effect effect : effects) {
      switch (effect) {
        case TELL_EXPORT -> {
          kv.open(engine.kv(session.id()));
          open.computed(computed);
        }
        case SEND_TOKEN -> session.send(token);
        case FINISH_EXPORT -> open.finish(manifest);
        case ABORT_EXPORT -> open.abort(reason);
        case FREE_BLOCKS -> engine.release(session.id());
        case HANDED_OFF -> session.end(handedOff);
        case FAIL -> session.fail(failure);
        case END_STREAM -> session.end();
        case LEAVE -> session.leave();
      }
    }
  }

  /** What the engine says; on the step thread. */
  private final class Progress implements SessionListener {

    private int cachedTokens;

    @Override
    public void onAdmitted(int tokens) {
      cachedTokens = tokens;
    }

    @Override
    public void onComputed(int tokens) {
      computed = tokens;
      perform(machine.computed(), "");
    }

    @Override
    public void onToken(SampledToken first) {
      token = PrefillEvent.newBuilder().setFirstToken(Tokens.write(first, cachedTokens)).build();
      manifest = new Manifest(generation.contextTokens(), contextHash, first.id(), first.index());
      perform(
          first.finish() == null ? machine.firstToken() : machine.onlyToken(),
          "the first token ends the session");
    }

    @Override
    public void onFailed(EngineException cause) {
      failure = Failures.of(cause);
      perform(machine.engineFailed(), "prefill failed");
    }
  }

  /** What the transfer says; on its threads. */
  private final class Handoff implements ExportListener {

    @Override
    public void onPacked() {
      loop.post(() -> perform(machine.packed(), ""));
    }

    @Override
    public void onAcknowledged(HandoffStats stats) {
      PrefillEvent done = PrefillEvent.newBuilder().setHandedOff(Tickets.handedOff(stats)).build();
      loop.post(
          () -> {
            handedOff = done;
            perform(machine.acknowledged(), "");
          });
    }

    @Override
    public void onFailed(HandoffException cause) {
      loop.post(
          () -> {
            failure = Failures.of(cause);
            perform(machine.exportFailed(), "");
          });
    }
  }
}

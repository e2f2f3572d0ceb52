package dev.baton.prefillservice;

import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionListener;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.peer.ContextHash;
import dev.baton.prefillservice.PrefillMachine.Effect;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.ExportPrefixEvent;
import dev.baton.proto.worker.v1.PrefixShort;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.Tickets;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A cached prefix on its way out: does what its {@link PrefillMachine} says with engine, transfer
 * and stream. Confined to the step thread; the transfer's calls are posted there. The cached blocks
 * are pinned until all is packed, so that nobody evicts them meanwhile; the export's lease bounds
 * how long that takes.
 */
final class PrefixExport implements Attempt {

  private final Engine engine;
  private final EngineKv kv;
  private final StepLoop loop;
  private final KvTransfer transfer;
  private final Session<ExportPrefixEvent> session;
  private final Generation prefix;
  private final Ticket ticket;
  private final PrefillMachine machine = PrefillMachine.pinned();
  private @Nullable Export export;
  private ExportPrefixEvent handedOff = ExportPrefixEvent.getDefaultInstance();
  private Failure failure = Failure.getDefaultInstance();

  PrefixExport(
      WorkerContext worker,
      KvTransfer transfer,
      Session<ExportPrefixEvent> session,
      Ticket ticket,
      DType kvDtype) {
    this.engine = worker.engine();
    this.kv = new EngineKv(worker.model(), kvDtype);
    this.loop = worker.loop();
    this.transfer = transfer;
    this.session = session;
    this.prefix = session.generation();
    this.ticket = ticket;
  }

  @Override
  public void begin() {
    int tokens = prefix.contextTokens();
    int pinned = engine.pin(prefix, new Failing());
    if (pinned < tokens) {
      shortOf(pinned);
      return;
    }
    try {
      kv.open(engine.kv(session.id()));
      if (kv.firstToken() > ticket.firstToken()) {
        // Of a window the importer, whose blocks are others, wants more than there is.
        shortOf(0);
        return;
      }
      Export opened =
          transfer.export(
              ticket,
              session.id().id(),
              session.id().epoch(),
              HandoffReason.PREFIX_FETCH,
              kv.geometry(),
              kv,
              new Handoff());
      export = opened;
      opened.computed(tokens);
      // No token was sampled; the importer reads neither.
      opened.finish(new Manifest(tokens, ContextHash.of(prefix.context()), 0, 0));
    } catch (RuntimeException e) {
      engine.release(session.id());
      throw e;
    }
  }

  private void shortOf(int tokens) {
    engine.release(session.id());
    session.end(
        ExportPrefixEvent.newBuilder()
            .setShortOf(PrefixShort.newBuilder().setTokens(tokens))
            .build());
    session.leave();
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
        case ABORT_EXPORT -> open.abort(reason);
        case FREE_BLOCKS -> engine.release(session.id());
        case HANDED_OFF -> session.end(handedOff);
        case FAIL -> session.fail(failure);
        case LEAVE -> session.leave();
        case TELL_EXPORT, SEND_TOKEN, FINISH_EXPORT, END_STREAM ->
            throw new IllegalStateException("effect: %s of a prefix".formatted(effect));
      }
    }
  }

  /** What the engine says: nothing but that it has failed. */
  private final class Failing implements SessionListener {

    @Override
    public void onToken(SampledToken token) {
      throw new IllegalStateException("token: of a prefix (expected: none)");
    }

    @Override
    public void onFailed(EngineException cause) {
      failure = Failures.of(cause);
      perform(machine.engineFailed(), "the engine failed");
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
      ExportPrefixEvent done =
          ExportPrefixEvent.newBuilder().setHandedOff(Tickets.handedOff(stats)).build();
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

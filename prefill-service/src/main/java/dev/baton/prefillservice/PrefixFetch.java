package dev.baton.prefillservice;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.prefillservice.FetchMachine.Effect;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.FetchPrefixEvent;
import dev.baton.proto.worker.v1.PrefixHeld;
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
 * A prefix on its way into this worker's prefix cache: does what its {@link FetchMachine} says with
 * engine, transfer and stream. Confined to the step thread; the transfer's calls are posted there.
 * Its blocks are reserved like those of a session whose KV comes by hand-off, and go into the cache
 * when all of it is verified; or they are freed, after the transfer's last use of them.
 */
final class PrefixFetch implements Attempt {

  private final Engine engine;
  private final ModelInfo model;
  private final EngineKv kv;
  private final StepLoop loop;
  private final KvTransfer transfer;
  private final Session<FetchPrefixEvent> session;
  private final Generation prefix;
  private final FetchMachine machine = new FetchMachine();
  private @Nullable Ticket ticket;
  private Failure failure = Failure.getDefaultInstance();

  PrefixFetch(WorkerContext worker, KvTransfer transfer, Session<FetchPrefixEvent> session) {
    this.engine = worker.engine();
    this.model = worker.model();
    this.kv = new EngineKv(model);
    this.loop = worker.loop();
    this.transfer = transfer;
    this.session = session;
    this.prefix = session.generation();
  }

  @Override
  public void begin() {
    int here = engine.reservePrefix(prefix, new Failing());
    try {
      kv.open(engine.kv(session.id()));
      Ticket issued =
          transfer.expect(
              new ImportSpec(
                  session.id().id(),
                  session.id().epoch(),
                  kv.geometry(),
                  here,
                  prefix.contextTokens(),
                  ContextHash.of(prefix.context())),
              kv,
              new Handoff());
      ticket = issued;
      session.send(FetchPrefixEvent.newBuilder().setReserved(Tickets.write(issued, model)).build());
    } catch (RuntimeException e) {
      engine.release(session.id());
      throw e;
    }
  }

  @Override
  public void abandon(String reason) {
    perform(machine.abandoned());
  }

  private void perform(List<Effect> effects) {
    Ticket issued = ticket;
    if (issued == null) {
      throw new IllegalStateException("ticket: none yet (expected: issued at the beginning)");
    }
    for (Effect effect : effects) {
      switch (effect) {
        case CANCEL_IMPORT -> transfer.cancelImport(issued.transfer());
        case PUBLISH -> publish();
        case FREE_BLOCKS -> engine.release(session.id());
        case FAIL -> session.fail(failure);
        case LEAVE -> session.leave();
      }
    }
  }

  private void publish() {
    try {
      engine.publish(session.id());
      session.end(
          FetchPrefixEvent.newBuilder()
              .setHeld(PrefixHeld.newBuilder().setTokens(prefix.contextTokens()))
              .build());
    } catch (EngineException e) {
      session.fail(Failures.of(e));
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
      perform(machine.engineFailed());
    }
  }

  /** What the transfer says; on its threads. */
  private final class Handoff implements ImportListener {

    @Override
    public void onCompleted(Manifest manifest, HandoffStats stats) {
      loop.post(() -> perform(machine.imported()));
    }

    @Override
    public void onFailed(HandoffException cause) {
      loop.post(
          () -> {
            failure = Failures.of(cause);
            perform(machine.importFailed());
          });
    }
  }
}

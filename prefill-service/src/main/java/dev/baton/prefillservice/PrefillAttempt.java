package dev.baton.prefillservice;

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
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Attempt;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.Tokens;
import org.jspecify.annotations.Nullable;

/**
 * One prompt on its way out. Confined to the step thread; the transfer's calls are posted there.
 *
 * <p>Two things are held, and this is their order of release:
 *
 * <ul>
 *   <li><b>the engine's blocks</b>, from begin until the transfer no longer packs them: all is
 *       packed, or the export has ended. Slabs on their way need no blocks.
 *   <li><b>the export</b>, from begin until its listener's last call. The session leaves with it.
 * </ul>
 *
 * <p>Once the export is finished, nothing here has to give it up: the importer says whether it
 * wants the KV, and the lease bounds how long it takes. So a worker that stops, or a call that
 * breaks, does not cost the importer what is computed already.
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

  private @Nullable Export export;
  private boolean blocksHeld;
  private boolean abandoned;
  private boolean finished;

  PrefillAttempt(
      WorkerContext worker, KvTransfer transfer, Session<PrefillEvent> session, Ticket ticket) {
    this.engine = worker.engine();
    this.kv = new EngineKv(worker.model());
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
    blocksHeld = true;
    try {
      // Connecting takes its time, which the first chunk hides.
      export = transfer.export(ticket, id.id(), id.epoch(), kv.geometry(), kv, new Handoff());
    } catch (RuntimeException e) {
      releaseBlocks();
      throw e;
    }
  }

  @Override
  public void abandon(String reason) {
    abandoned = true;
    if (export == null) {
      releaseBlocks();
      session.leave();
    } else if (!finished) {
      export.abort(reason);
    }
  }

  private void releaseBlocks() {
    if (blocksHeld) {
      blocksHeld = false;
      engine.release(session.id());
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
      if (abandoned || export == null) {
        return;
      }
      kv.open(engine.kv(session.id()));
      export.computed(tokens);
    }

    @Override
    public void onToken(SampledToken token) {
      if (abandoned || export == null) {
        return;
      }
      session.send(
          PrefillEvent.newBuilder().setFirstToken(Tokens.write(token, cachedTokens)).build());
      if (token.finish() == null) {
        finished = true;
        export.finish(
            new Manifest(generation.contextTokens(), contextHash, token.id(), token.index()));
      } else {
        session.end();
        export.abort("the first token ends the session");
      }
    }

    @Override
    public void onFailed(EngineException cause) {
      blocksHeld = false;
      session.fail(Failures.of(cause));
      abandon("prefill failed");
    }
  }

  /** What the transfer says; on its threads. */
  private final class Handoff implements ExportListener {

    @Override
    public void onPacked() {
      loop.post(PrefillAttempt.this::releaseBlocks);
    }

    @Override
    public void onAcknowledged(HandoffStats stats) {
      loop.post(() -> acknowledged(stats));
    }

    @Override
    public void onFailed(HandoffException cause) {
      loop.post(() -> failed(cause));
    }

    private void acknowledged(HandoffStats stats) {
      releaseBlocks();
      session.end(
          PrefillEvent.newBuilder()
              .setHandedOff(
                  HandedOff.newBuilder()
                      .setBytes(stats.bytes())
                      .setSlabs(stats.slabs())
                      .setNanos(stats.nanos()))
              .build());
      session.leave();
    }

    private void failed(HandoffException cause) {
      abandoned = true;
      releaseBlocks();
      session.fail(Failures.of(cause));
      session.leave();
    }
  }
}

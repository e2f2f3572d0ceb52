package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.engine.SuspendedSession;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.Suspended;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.Alarms;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.step.StepLoop;
import dev.baton.worker.wire.ContextHash;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import java.time.Duration;
import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * The last part of a session that moves to another decode worker: it stands still, its blocks wait
 * for the hand-off or the end of their lease. Confined to the step thread; the transfer's calls are
 * posted there. The blocks are released, by the attempt, when no export reads them any more.
 */
final class Suspension {

  /** The router opens the other side at once; this is for one that does not come back. */
  private static final Duration LEASE = Duration.ofSeconds(10);

  private final Engine engine;
  private final StepLoop loop;
  private final KvTransfer transfer;
  private final Session<DecodeEvent> session;
  private final Runnable release;
  private final EngineKv kv;
  private final int[] tokens;
  private final String fingerprint;
  private final Alarms.Alarm lease;
  private @Nullable Export export;

  /**
   * Stops the session and says so on its stream.
   *
   * @param release frees what the session holds and lets it leave, its stream having ended
   */
  Suspension(WorkerContext worker, Session<DecodeEvent> session, Runnable release) {
    this.engine = worker.engine();
    this.loop = worker.loop();
    this.transfer =
        worker
            .transfer()
            .orElseThrow(
                () ->
                    new RefusedException(
                        Failures.invalid(
                            "", "suspend: asked (expected: of a worker with hand-off)")));
    this.session = session;
    this.release = release;
    this.kv = new EngineKv(worker.model());
    this.fingerprint = worker.model().fingerprint();
    SuspendedSession suspended = engine.suspend(session.id());
    this.tokens = suspended.tokens();
    kv.open(suspended.kv());
    session.send(
        DecodeEvent.newBuilder()
            .setSuspended(Suspended.newBuilder().setGeneratedTokens(generated()))
            .build());
    this.lease = worker.alarms().after(LEASE, () -> loop.post(this::expire));
  }

  private int generated() {
    return tokens.length - session.generation().prompt().length;
  }

  /**
   * Begins to hand the session over; {@code reply} hears once how it went. Throws {@link
   * RefusedException} when the ticket is not usable, or used already.
   */
  void handOver(HandOverRequest request, Consumer<HandOverReply> reply) {
    int context = tokens.length - 1;
    if (export != null) {
      throw new RefusedException(Failures.invalid("", "ticket: second (expected: one)"));
    }
    if (!request.getTicket().getFingerprint().equals(fingerprint)) {
      throw new RefusedException(
          Failures.of(
              ErrorCode.FINGERPRINT_MISMATCH,
              "ticket.fingerprint: %s (expected: %s, this worker's)"
                  .formatted(request.getTicket().getFingerprint(), fingerprint)));
    }
    Ticket ticket = Tickets.read(request.getTicket(), context);
    Export opened =
        transfer.export(
            ticket,
            session.id().id(),
            request.getImporterEpoch(),
            HandoffReason.MIGRATION,
            kv.geometry(),
            kv,
            new Handoff(reply));
    export = opened;
    opened.computed(context);
    opened.finish(
        new Manifest(
            context,
            ContextHash.of(Arrays.copyOf(tokens, context)),
            tokens[context],
            generated() - 1));
  }

  /** Gives up; the release comes when nobody reads the blocks. */
  void abandon(String reason) {
    lease.cancel();
    if (export == null) {
      release.run();
    } else {
      export.abort(reason);
    }
  }

  private void expire() {
    if (export == null) {
      session.stop(
          Failures.of(
              ErrorCode.HANDOFF_FAILED,
              "session %s: suspended and not handed over within %d s"
                  .formatted(session.id(), LEASE.toSeconds())));
    }
  }

  /** What the transfer says; on its threads. */
  private final class Handoff implements ExportListener {

    private final Consumer<HandOverReply> reply;

    Handoff(Consumer<HandOverReply> reply) {
      this.reply = reply;
    }

    @Override
    public void onPacked() {
      // The blocks are not needed any more, but go with the acknowledgement, which is close.
    }

    @Override
    public void onAcknowledged(HandoffStats stats) {
      loop.post(
          () ->
              over(
                  HandOverReply.newBuilder()
                      .setHandedOff(
                          HandedOff.newBuilder()
                              .setBytes(stats.bytes())
                              .setSlabs(stats.slabs())
                              .setNanos(stats.nanos()))
                      .build()));
    }

    @Override
    public void onFailed(HandoffException cause) {
      Failure failure = Failures.of(cause);
      loop.post(() -> over(HandOverReply.newBuilder().setFailure(failure).build()));
    }

    private void over(HandOverReply answer) {
      lease.cancel();
      session.end();
      release.run();
      reply.accept(answer);
    }
  }
}

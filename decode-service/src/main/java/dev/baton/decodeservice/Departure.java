package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.engine.KvView;
import dev.baton.engine.SessionId;
import dev.baton.engine.SuspendedSession;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.peer.ContextHash;
import dev.baton.peer.FingerprintParts;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.session.Session;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.RefusedException;
import dev.baton.worker.wire.Tickets;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;

/**
 * A decoding session's KV on its way to another decode worker. What is computed never changes, so
 * it is copied while the session goes on; the session stands still only for what is left in the end
 * (as live migration of virtual machines does: C. Clark et al., NSDI 2005). Step thread.
 */
final class Departure {

  /**
   * Bytes not yet there at which the session may stand still: as much as is under way at a time
   * anyway, a millisecond's work.
   */
  private static final long LEFT_BYTES = 1 << 20;

  private final EngineKv kv;
  private final Engine engine;
  private final SessionId id;
  private final Export export;
  private final Consumer<HandOverReply> reply;
  private final int firstToken;
  private final int importerTokens;
  private final int mostTokens;
  private final int promptTokens;

  /**
   * Opens the export. Throws {@link RefusedException} when the ticket is not usable, {@link
   * dev.baton.engine.EngineException} when the session does not decode now; nothing has changed
   * then.
   *
   * @param reply hears once how it went; the attempt's to call
   */
  static Departure open(
      WorkerContext worker,
      KvTransfer transfer,
      Session<?> session,
      HandOverRequest request,
      ExportListener listener,
      Consumer<HandOverReply> reply) {
    try {
      return new Departure(worker, transfer, session, request, listener, reply);
    } catch (RuntimeException e) {
      worker.engine().closeKv(session.id());
      throw e;
    }
  }

  private Departure(
      WorkerContext worker,
      KvTransfer transfer,
      Session<?> session,
      HandOverRequest request,
      ExportListener listener,
      Consumer<HandOverReply> reply) {
    String fingerprint = worker.model().fingerprint();
    if (!request.getTicket().getFingerprint().equals(fingerprint)) {
      throw new RefusedException(
          Failures.of(
              ErrorCode.FINGERPRINT_MISMATCH,
              FingerprintParts.mismatch(
                  "ticket.fingerprint",
                  request.getTicket().getFingerprint(),
                  fingerprint,
                  "this worker's")));
    }
    this.kv =
        EngineKv.reopened(
            worker.model(), Tickets.kvDtype(request.getTicket(), worker.model().kvDtype()));
    this.engine = worker.engine();
    this.id = session.id();
    this.promptTokens = session.generation().prompt().length;
    this.importerTokens = request.getImporterTokens();
    this.mostTokens = importerTokens + request.getTicket().getRoomTokens();
    int computed = show();
    if (importerTokens > computed || mostTokens < computed) {
      throw new RefusedException(
          Failures.of(
              ErrorCode.HANDOFF_FAILED,
              "importer_tokens: %d and room for %d more (expected: to hold the %d computed)"
                  .formatted(importerTokens, mostTokens - importerTokens, computed)));
    }
    Ticket ticket = Tickets.read(request.getTicket(), importerTokens);
    this.firstToken = Math.max(ticket.firstToken(), kv.firstToken());
    this.reply = reply;
    this.export =
        transfer.export(
            ticket,
            session.id().id(),
            request.getImporterEpoch(),
            HandoffReason.MIGRATION,
            kv.geometry(),
            kv,
            listener);
  }

  /**
   * Opens the session's blocks for the export. They are others when it was preempted meanwhile,
   * with the same KV: it was copied back or computed again, bit for bit.
   *
   * @return tokens whose KV is there
   */
  private int show() {
    KvView blocks = engine.kv(id);
    kv.open(blocks);
    return blocks.computed();
  }

  /**
   * Copies what has been computed since.
   *
   * @return whether nearly everything is there, or the importer has no room for another token
   */
  boolean nearlyCopied() {
    int computed = show();
    export.computed(computed);
    long there = export.acknowledgedBytes();
    SlabRange all = new SlabRange(0, kv.geometry().layers(), firstToken, computed);
    return computed >= mostTokens || (there > 0 && kv.geometry().bytes(all) - there <= LEFT_BYTES);
  }

  /**
   * Stops the session, and ends the export with what is left.
   *
   * @return generated tokens in all
   */
  int suspend() {
    SuspendedSession suspended = engine.suspend(id);
    int[] tokens = suspended.tokens();
    int context = tokens.length - 1;
    int generated = tokens.length - promptTokens;
    List<Integer> added =
        Arrays.stream(tokens, importerTokens, Math.max(importerTokens, context)).boxed().toList();
    export.finish(
        new Manifest(
            context,
            ContextHash.of(Arrays.copyOf(tokens, context)),
            tokens[context],
            generated - 1,
            added));
    return generated;
  }

  void abort(String reason) {
    export.abort(reason);
  }

  /** The export has had its last word: a session that goes on here keeps nothing for it. */
  void end(HandOverReply answer) {
    engine.closeKv(id);
    reply.accept(answer);
  }
}

package dev.baton.worker.wire;

import dev.baton.engine.EngineStatus;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.HandoffTotals;
import dev.baton.proto.worker.v1.Leak;
import dev.baton.proto.worker.v1.SlabLedger;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.ledger.Holding;
import java.util.Optional;

/** Counters of engine and transfer as the protocol's status. */
public final class Statuses {

  private Statuses() {}

  /**
   * @param totals absent on a worker without hand-off
   */
  public static WorkerStatus write(
      long sequence, boolean draining, EngineStatus engine, Optional<TransferTotals> totals) {
    LedgerSnapshot ledger = engine.ledger();
    WorkerStatus.Builder status =
        WorkerStatus.newBuilder()
            .setSequence(sequence)
            .setWaitingSessions(engine.waitingSessions())
            .setRunningSessions(engine.runningSessions())
            .setQueuedPromptTokens(engine.queuedPromptTokens())
            .setLedger(
                BlockLedger.newBuilder()
                    .setOwned(ledger.owned())
                    .setReserved(ledger.reserved())
                    .setCached(ledger.cached())
                    .setQuarantined(ledger.quarantined())
                    .setFree(ledger.free())
                    .setSlabBytes(totals.map(TransferTotals::slabBytesInUse).orElse(0L)))
            .setDraining(draining)
            .setSteps(engine.steps())
            .setPromptTokensTotal(engine.promptTokens())
            .setGeneratedTokensTotal(engine.generatedTokens())
            .setCachedTokensTotal(engine.cachedTokens());
    totals.ifPresent(
        t ->
            status
                .setHandoffs(handoffs(t))
                .setSending(slabs(t.sending()))
                .setLanding(slabs(t.landing())));
    return status.build();
  }

  /** A leak, for the router. */
  public static Leak leak(Holding held, long nowNanos) {
    return Leak.newBuilder()
        .setSessionId(held.session().id())
        .setEpoch(held.session().epoch())
        .setWhat(held.what().label())
        .setReason(held.reason())
        .setCount(held.count())
        .setAgeMillis((nowNanos - held.sinceNanos()) / 1_000_000)
        .build();
  }

  private static SlabLedger slabs(dev.baton.kvtransfer.SlabLedger ledger) {
    return SlabLedger.newBuilder()
        .setOwned(ledger.owned())
        .setQuarantined(ledger.quarantined())
        .setFree(ledger.free())
        .setSlabBytes(ledger.slabBytes())
        .build();
  }

  private static HandoffTotals handoffs(TransferTotals totals) {
    return HandoffTotals.newBuilder()
        .setExported(totals.exported())
        .setExportedBytes(totals.exportedBytes())
        .setExportedSlabs(totals.exportedSlabs())
        .setImported(totals.imported())
        .setImportedBytes(totals.importedBytes())
        .setImportedSlabs(totals.importedSlabs())
        .setAborted(totals.aborted())
        .setCorruptSlabs(totals.corruptSlabs())
        .setNanos(totals.nanos())
        .build();
  }
}

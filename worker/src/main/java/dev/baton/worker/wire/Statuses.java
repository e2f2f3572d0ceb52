package dev.baton.worker.wire;

import dev.baton.engine.EngineStatus;
import dev.baton.engine.LedgerSnapshot;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.HandoffTotals;
import dev.baton.proto.worker.v1.WorkerStatus;
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
    totals.ifPresent(t -> status.setHandoffs(handoffs(t)));
    return status.build();
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

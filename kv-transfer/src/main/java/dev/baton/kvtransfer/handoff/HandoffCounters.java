package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.SlabLedger;
import dev.baton.kvtransfer.TransferTotals;
import java.util.concurrent.atomic.LongAdder;

/** What happened since the start; any thread. */
final class HandoffCounters {
  final LongAdder aborted = new LongAdder();
  final LongAdder corruptSlabs = new LongAdder();

  /** Messages that belonged to no hand-off, or to none of their sender's, or were no messages. */
  final LongAdder refusedMessages = new LongAdder();

  private final LongAdder exported = new LongAdder();
  private final LongAdder exportedBytes = new LongAdder();
  private final LongAdder exportedSlabs = new LongAdder();
  private final LongAdder imported = new LongAdder();
  private final LongAdder importedBytes = new LongAdder();
  private final LongAdder importedSlabs = new LongAdder();
  private final LongAdder nanos = new LongAdder();

  void exported(HandoffStats stats) {
    exported.increment();
    exportedBytes.add(stats.bytes());
    exportedSlabs.add(stats.slabs());
    nanos.add(stats.nanos());
  }

  void imported(HandoffStats stats) {
    imported.increment();
    importedBytes.add(stats.bytes());
    importedSlabs.add(stats.slabs());
    nanos.add(stats.nanos());
  }

  TransferTotals totals(int openExports, int openImports, SlabLedger sending, SlabLedger landing) {
    return new TransferTotals(
        exported.sum(),
        exportedBytes.sum(),
        exportedSlabs.sum(),
        imported.sum(),
        importedBytes.sum(),
        importedSlabs.sum(),
        aborted.sum(),
        corruptSlabs.sum(),
        nanos.sum(),
        openExports,
        openImports,
        sending,
        landing);
  }
}

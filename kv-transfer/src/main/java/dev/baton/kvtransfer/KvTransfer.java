package dev.baton.kvtransfer;

import dev.baton.kvtransfer.wire.HandoffReason;
import java.util.List;

/**
 * Both sides of hand-offs for one worker process; see the package for the contract. All methods may
 * be called from any thread and none blocks on a peer. Uses one progress thread, which sleeps when
 * idle, one thread that packs and one that unpacks.
 */
public interface KvTransfer extends AutoCloseable {

  /** host:port of the listener that tickets name. */
  String address();

  /**
   * Opens the importer's side.
   *
   * @return the ticket to send to the exporter
   */
  Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener);

  /**
   * Gives an import up. Its listener hears it when the sink is no longer in use. Unknown or ended:
   * no effect.
   */
  void cancelImport(Bits128 transfer);

  /**
   * Opens the exporter's side; connecting happens in the background.
   *
   * @param session as in the importer's {@link ImportSpec}
   * @param epoch as in the importer's {@link ImportSpec}
   */
  Export export(
      Ticket ticket,
      String session,
      int epoch,
      HandoffReason reason,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener);

  /** {@link #export} of a computed prompt. */
  default Export export(
      Ticket ticket,
      String session,
      int epoch,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener) {
    return export(
        ticket, session, epoch, HandoffReason.PREFILL_TO_DECODE, geometry, source, listener);
  }

  TransferTotals totals();

  /** Who has slabs, and why. */
  default List<SlabHolding> holdings() {
    return List.of();
  }

  /**
   * Takes nothing new, fails all open hand-offs but the exports that are finished, lets the
   * importers fetch the slabs of those (for a lease at most), then closes connections and frees
   * memory. Blocks until all that is done.
   */
  @Override
  void close();
}

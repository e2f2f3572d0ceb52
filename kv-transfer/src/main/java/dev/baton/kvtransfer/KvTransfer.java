package dev.baton.kvtransfer;

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
   * @param session for logs and headers
   */
  Export export(
      Ticket ticket,
      String session,
      int epoch,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener);

  TransferTotals totals();

  /** Fails all open hand-offs, closes connections, frees memory. */
  @Override
  void close();
}

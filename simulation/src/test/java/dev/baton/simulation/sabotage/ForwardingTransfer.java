package dev.baton.simulation.sabotage;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.kvtransfer.wire.HandoffReason;
import java.util.List;

/** Passes everything on. */
class ForwardingTransfer implements KvTransfer {

  private final KvTransfer inner;

  ForwardingTransfer(KvTransfer inner) {
    this.inner = inner;
  }

  @Override
  public String address() {
    return inner.address();
  }

  @Override
  public Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener) {
    return inner.expect(spec, sink, listener);
  }

  @Override
  public void cancelImport(Bits128 transfer) {
    inner.cancelImport(transfer);
  }

  @Override
  public Export export(
      Ticket ticket,
      String session,
      int epoch,
      HandoffReason reason,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener) {
    return inner.export(ticket, session, epoch, reason, geometry, source, listener);
  }

  @Override
  public TransferTotals totals() {
    return inner.totals();
  }

  @Override
  public List<SlabHolding> holdings() {
    return inner.holdings();
  }

  @Override
  public void close() {
    inner.close();
  }
}

package dev.baton.cli;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import java.util.concurrent.CompletableFuture;

/**
 * Many slabs from one end to the other of a hand-off, with nothing packed: enough that the JVM's
 * profiles of a slab's way (JEP 515), which the AOT cache keeps, let a worker's compiler begin with
 * its first session. The sessions of the {@link TrainingRun} have a slab or two each.
 */
final class TrainingHandoffs {

  /** As many of a session of 512 tokens of Llama-3.2-1B, whose KV is 16 MiB. */
  private static final int HANDOFFS = 60;

  private static final int TOKENS = 512;
  private static final KvGeometry GEOMETRY = new KvGeometry(16, 8, 64, 2);
  private static final String SESSION = "train";
  private static final long CONTEXT_HASH = 1;

  private TrainingHandoffs() {}

  /** Blocks until all is done; about half a second. */
  static void run(String host) {
    try (KvTransfer importer = KvTransferFactory.open(TransferOptions.on(host));
        KvTransfer exporter = KvTransferFactory.open(TransferOptions.on(host))) {
      for (int i = 0; i < HANDOFFS; i++) {
        handOver(exporter, importer);
      }
    }
  }

  private static void handOver(KvTransfer exporter, KvTransfer importer) {
    CompletableFuture<Boolean> arrived = new CompletableFuture<>();
    CompletableFuture<Boolean> acknowledged = new CompletableFuture<>();
    Ticket ticket =
        importer.expect(
            new ImportSpec(SESSION, 0, GEOMETRY, 0, TOKENS, CONTEXT_HASH),
            (_, _) -> {},
            new ImportListener() {
              @Override
              public void onCompleted(Manifest manifest, HandoffStats stats) {
                arrived.complete(true);
              }

              @Override
              public void onFailed(HandoffException cause) {
                arrived.completeExceptionally(cause);
              }
            });
    Export export =
        exporter.export(
            ticket,
            SESSION,
            0,
            GEOMETRY,
            (_, _) -> {},
            new ExportListener() {
              @Override
              public void onPacked() {
                // Its last call is what counts.
              }

              @Override
              public void onAcknowledged(HandoffStats stats) {
                acknowledged.complete(true);
              }

              @Override
              public void onFailed(HandoffException cause) {
                acknowledged.completeExceptionally(cause);
              }
            });
    export.finish(new Manifest(TOKENS, CONTEXT_HASH, 1, 0));
    arrived.join();
    acknowledged.join();
  }
}

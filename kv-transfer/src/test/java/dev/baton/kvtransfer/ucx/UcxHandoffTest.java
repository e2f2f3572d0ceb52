package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class UcxHandoffTest {

  @Test
  void aHandoffArrivesByteForByte() throws Exception {
    KvGeometry geometry = new KvGeometry(5, 4, 8, 4);
    KvStore from = KvStore.random(geometry, 40, 1);
    KvStore to = new KvStore(geometry, 40);
    Outcome exported = new Outcome(from);
    Outcome imported = new Outcome(to);
    try (KvTransfer exporter = KvTransferFactory.open(TransferOptions.on("127.0.0.1"));
        KvTransfer importer = KvTransferFactory.open(TransferOptions.on("127.0.0.1"))) {
      Ticket ticket = importer.expect(new ImportSpec("s", 0, geometry, 0, 40, 7), to, imported);
      Export export = exporter.export(ticket, "s", 0, geometry, from, exported);
      export.computed(16);
      export.finish(new Manifest(40, 7, 1, 0));
      imported.success(10);
      exported.success(10);
      assertThat(to.sameFrom(0, from)).isTrue();
    }
  }
}

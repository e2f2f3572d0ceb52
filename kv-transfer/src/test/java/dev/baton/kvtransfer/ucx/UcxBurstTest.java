package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.testing.UcxPresent;
import dev.baton.kvtransfer.transport.Transport;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Many hand-offs begin while the connection to a new and busy peer is still being made. */
@UcxPresent
@Timeout(300)
class UcxBurstTest {
  private static final String HOST = "127.0.0.1";
  private static final KvGeometry GEOMETRY = new KvGeometry(5, 4, 8, 4);
  private static final long SEED = Long.getLong("seed", System.nanoTime());
  private static final int PAUSES = 10;
  private static final int PEERS = 12;
  private static final int AT_ONCE = 24;

  @Test
  void handoffsThatBeginBeforeTheirConnectionIsMadeAllArrive() throws Exception {
    System.out.println("UcxBurstTest: -Dseed=" + SEED);
    Random random = new Random(SEED);
    try (KvTransfer exporter = KvTransferFactory.open(TransferOptions.on(HOST))) {
      for (int peer = 0; peer < PEERS; peer++) {
        Transport slow = UcxTransport.open(HOST, 0);
        try (KvTransfer importer = KvTransferFactory.open(TransferOptions.on(HOST), slow)) {
          for (int i = 0; i < PAUSES; i++) {
            slow.execute(() -> LockSupport.parkNanos(2_000_000));
          }
          List<Outcome> outcomes = new ArrayList<>();
          for (int i = 0; i < AT_ONCE; i++) {
            begin(exporter, importer, "session-of-a-usual-length-" + i, 1 + 16 * i, outcomes);
            LockSupport.parkNanos(random.nextInt(1_000_000));
          }
          for (Outcome outcome : outcomes) {
            outcome.success(60);
          }
          assertThat(importer.totals().imported()).isEqualTo(AT_ONCE);
        }
      }
    }
  }

  private static void begin(
      KvTransfer exporter, KvTransfer importer, String session, int tokens, List<Outcome> all) {
    KvStore from = KvStore.random(GEOMETRY, tokens, 3);
    KvStore to = new KvStore(GEOMETRY, tokens);
    Outcome exported = new Outcome(from);
    Outcome imported = new Outcome(to);
    Ticket ticket =
        importer.expect(new ImportSpec(session, 1, GEOMETRY, 0, tokens, 7), to, imported);
    exporter
        .export(ticket, session, 1, GEOMETRY, from, exported)
        .finish(new Manifest(tokens, 7, 1, 0));
    all.add(imported);
    all.add(exported);
  }
}

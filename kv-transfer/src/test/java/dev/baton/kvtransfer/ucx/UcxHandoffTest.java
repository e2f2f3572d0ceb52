package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.kvtransfer.testing.FaultyTransport;
import dev.baton.kvtransfer.testing.FaultyTransport.Faults;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.testing.UcxPresent;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@UcxPresent
@Timeout(300)
class UcxHandoffTest {
  private static final String HOST = "127.0.0.1";
  private static final KvGeometry SMALL = new KvGeometry(5, 4, 8, 4);

  /** A token has 128 KiB, as in Llama 3 8B. */
  private static final KvGeometry LLAMA_8B = new KvGeometry(32, 8, 128, 2);

  /** Of an end that does not wait for a lease to run out: that would take ten seconds. */
  private static final int SOON_MILLIS = 5000;

  private final List<KvTransfer> opened = new ArrayList<>();

  @AfterEach
  void everythingIsGivenBack() throws InterruptedException {
    for (KvTransfer transfer : opened) {
      awaitIdle(transfer);
      transfer.close();
    }
    for (Thread thread : Thread.getAllStackTraces().keySet()) {
      if (thread.getName().startsWith("baton-")) {
        // An executor has ended before its thread has, which gets a moment to die.
        assertThat(thread.join(Duration.ofSeconds(10))).as("%s has ended", thread).isTrue();
      }
    }
  }

  @Test
  void aHandoffArrivesByteForByte() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session = Session.begin(exporter, importer, SMALL, 3, 40, 1);
    session.export.computed(16);
    session.finish();
    session.check();
    assertThat(exporter.totals().exported()).isEqualTo(1);
    assertThat(importer.totals().importedBytes()).isEqualTo(exporter.totals().exportedBytes());
  }

  @Test
  void oneInstanceExportsAndImportsAtOnce() throws Exception {
    KvTransfer a = open(TransferOptions.on(HOST));
    KvTransfer b = open(TransferOptions.on(HOST));
    Session there = Session.begin(a, b, SMALL, 0, 100, 1);
    Session back = Session.begin(b, a, SMALL, 0, 100, 2);
    Session self = Session.begin(a, a, SMALL, 0, 100, 3);
    for (Session session : List.of(there, back, self)) {
      session.finish();
    }
    for (Session session : List.of(there, back, self)) {
      session.check();
    }
  }

  @Test
  void bigHandoffsShareTinyPools() throws Exception {
    KvTransfer exporter = open(options(256 << 10, 2, 1, 3));
    KvTransfer importer = open(options(1 << 20, 2, 2, 3));
    List<Session> sessions = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      sessions.add(Session.begin(exporter, importer, LLAMA_8B, 0, 150, i));
    }
    sessions.forEach(Session::finish);
    for (Session session : sessions) {
      session.check();
    }
    assertThat(importer.totals().slabBytesInUse()).isZero();
  }

  @Test
  void aCorruptSlabIsDetectedAndSentAgain() throws Exception {
    FaultyTransport faulty =
        new FaultyTransport(UcxTransport.open(HOST, 0), Faults.corruptPayload(0.3), new Random(1));
    KvTransfer exporter = open(KvTransferFactory.open(options(64 << 10, 8, 8, 20), faulty));
    KvTransfer importer = open(options(64 << 10, 8, 8, 20));
    Session session = Session.begin(exporter, importer, SMALL, 0, 2000, 1);
    session.finish();
    session.check();
    assertThat(faulty.corrupted()).isPositive();
    assertThat(importer.totals().corruptSlabs()).isEqualTo(faulty.corrupted());
  }

  @Test
  void theOneCorruptSlabOfAThousandIsFoundEveryTime() throws Exception {
    long seed = Long.getLong("seed", System.nanoTime());
    System.out.println("UcxHandoffTest: -Dseed=" + seed);
    FaultyTransport faulty =
        new FaultyTransport(
            UcxTransport.open(HOST, 0), Faults.corruptPayload(0.001), new Random(seed));
    KvTransfer exporter = open(KvTransferFactory.open(options(64 << 10, 16, 16, 20), faulty));
    KvTransfer importer = open(options(64 << 10, 16, 16, 20));
    KvGeometry geometry = new KvGeometry(1, 8, 128, 4);
    int tokens = 8 * 20_000; // eight to a slab
    AtomicInteger wrong = new AtomicInteger();
    Outcome exported = new Outcome(new KvStore(geometry, 1));
    Outcome imported = new Outcome(new KvStore(geometry, 1));
    Ticket ticket =
        importer.expect(
            new ImportSpec("s", 0, geometry, 0, tokens, 7),
            (range, slab) -> wrong.addAndGet(Pattern.of(range).isIn(slab) ? 0 : 1),
            imported);
    exporter
        .export(ticket, "s", 0, geometry, (range, slab) -> Pattern.of(range).fill(slab), exported)
        .finish(new Manifest(tokens, 7, 1, 0));
    HandoffStats stats = imported.success(200);
    exported.success(20);
    assertThat(stats.slabs()).isEqualTo(20_000);
    assertThat(faulty.corrupted()).as("of %d slabs", stats.slabs()).isPositive();
    assertThat(importer.totals().corruptSlabs()).isEqualTo(faulty.corrupted());
    assertThat(stats.resent()).isEqualTo(faulty.corrupted());
    assertThat(wrong.get()).as("wrong slabs that were unpacked").isZero();
    System.out.printf(
        Locale.ROOT, "%d of %d slabs corrupted, all found%n", faulty.corrupted(), stats.slabs());
  }

  /** Content of a slab that tells its tokens: the n-th long is n-th of a sequence of its own. */
  private record Pattern(long first) {

    static Pattern of(SlabRange range) {
      return new Pattern(range.tokenFrom() * 0x9E3779B97F4A7C15L);
    }

    void fill(MemorySegment slab) {
      for (long at = 0; at < slab.byteSize(); at += Long.BYTES) {
        slab.set(ValueLayout.JAVA_LONG, at, first + at);
      }
    }

    boolean isIn(MemorySegment slab) {
      for (long at = 0; at < slab.byteSize(); at += Long.BYTES) {
        if (slab.get(ValueLayout.JAVA_LONG, at) != first + at) {
          return false;
        }
      }
      return true;
    }
  }

  @Test
  void aSlabThatStaysCorruptFailsBothSidesAndIsNeverCompleted() throws Exception {
    FaultyTransport faulty =
        new FaultyTransport(UcxTransport.open(HOST, 0), Faults.corruptPayload(1), new Random(1));
    KvTransfer exporter = open(KvTransferFactory.open(TransferOptions.on(HOST), faulty));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session = Session.begin(exporter, importer, SMALL, 0, 100, 1);
    session.finish();
    assertThat(session.imported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.CORRUPT);
    assertThat(session.exported.failure(SOON_MILLIS).kind()).isIn(Kind.CORRUPT, Kind.PEER_ABORTED);
  }

  @Test
  void anImportCancelledWhileItReceivesLeavesItsSinkAloneAndTheNextOneWorks() throws Exception {
    KvTransfer exporter = open(options(1 << 20, 8, 4, 3));
    KvTransfer importer = open(options(1 << 20, 8, 4, 3));
    for (int round = 0; round < 10; round++) {
      CountDownLatch begun = new CountDownLatch(1 + round);
      CompletableFuture<Void> asked = new CompletableFuture<>();
      Runnable onSlab =
          () -> {
            begun.countDown();
            if (begun.getCount() == 0) {
              asked.join(); // else all might be there before the cancel
            }
          };
      Session cancelled = Session.begin(exporter, importer, LLAMA_8B, 0, 200, round, onSlab);
      cancelled.finish();
      assertThat(begun.await(60, TimeUnit.SECONDS)).isTrue();
      importer.cancelImport(cancelled.ticket.transfer());
      asked.complete(null);
      assertThat(cancelled.imported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
      assertThat(cancelled.exported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_ABORTED);
      assertThat(cancelled.to.touchedAfterSeal()).isZero();
      Session next = Session.begin(exporter, importer, SMALL, 0, 300, round);
      next.finish();
      next.check();
    }
  }

  @Test
  void anExportThatIsAbortedFailsItsImport() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session = Session.begin(exporter, importer, SMALL, 0, 100, 1);
    session.export.computed(50);
    session.export.abort("the prompt was cancelled");
    assertThat(session.exported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
    importer.cancelImport(session.ticket.transfer());
    assertThat(session.imported.failure(SOON_MILLIS).kind())
        .isIn(Kind.PEER_ABORTED, Kind.CANCELLED);
  }

  @Test
  void anExportToNobodyFailsSoonAndTheNextReconnects() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer gone = KvTransferFactory.open(TransferOptions.on(HOST));
    Session late = Session.begin(exporter, gone, SMALL, 0, 10, 1);
    late.finish();
    late.check();
    Session open = Session.begin(exporter, gone, SMALL, 0, 10, 1);
    gone.close();
    assertThat(open.imported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
    assertThat(open.exported.failure(SOON_MILLIS).kind()).isIn(Kind.PEER_LOST, Kind.PEER_ABORTED);
    Outcome refused = new Outcome(late.from);
    exporter.export(late.ticket, "s", 0, SMALL, late.from, refused);
    assertThat(refused.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_LOST);
    int port = late.ticket.port();
    KvTransfer again =
        open(
            new TransferOptions(
                HOST, port, 1 << 20, 4, 4, Duration.ofSeconds(2), Duration.ofSeconds(60), 3));
    Session next = Session.begin(exporter, again, SMALL, 0, 10, 1);
    next.finish();
    next.check();
  }

  @Test
  void aTicketOpensOneHandoffOnce() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer other = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session = Session.begin(exporter, importer, SMALL, 0, 100, 1);
    session.export.computed(100);
    session.awaitSlab();
    Outcome second = new Outcome(session.from);
    other.export(session.ticket, "s", 0, SMALL, session.from, second);
    assertThat(second.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_ABORTED);
    Outcome same = new Outcome(new KvStore(SMALL, 1));
    exporter.export(session.ticket, "s", 0, SMALL, session.from, same);
    assertThat(same.failure(SOON_MILLIS).kind()).isEqualTo(Kind.INTERNAL);
    session.finish();
    session.imported.success(20);
    session.exported.success(20);
    Outcome used = new Outcome(new KvStore(SMALL, 1));
    exporter.export(session.ticket, "s", 0, SMALL, session.from, used);
    assertThat(used.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_ABORTED);
  }

  @Test
  void anImportThatNobodyServesEndsWithItsLease() throws Exception {
    KvTransfer importer =
        open(
            new TransferOptions(
                HOST, 0, 1 << 20, 4, 4, Duration.ofSeconds(1), Duration.ofMillis(300), 3));
    KvStore to = new KvStore(SMALL, 4);
    Outcome imported = new Outcome(to);
    importer.expect(new ImportSpec("s", 0, SMALL, 0, 4, 7), to, imported);
    assertThat(imported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void aFaultOfTheSinkOrTheSourceFailsBothSides() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session =
        Session.begin(
            exporter,
            importer,
            SMALL,
            0,
            10,
            1,
            () -> {
              throw new IllegalStateException("no more blocks");
            });
    session.finish();
    assertThat(session.imported.failure(SOON_MILLIS))
        .hasMessageContaining("no more blocks")
        .extracting("kind")
        .isEqualTo(Kind.INTERNAL);
    assertThat(session.exported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_ABORTED);

    Session early = Session.begin(exporter, importer, SMALL, 0, 10, 1);
    early.from.computed(3);
    early.finish(); // the store refuses to pack what it has not computed
    assertThat(early.exported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.INTERNAL);
    assertThat(early.imported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.PEER_ABORTED);
  }

  @Test
  void closingFailsWhatIsOpen() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    Session session = Session.begin(exporter, importer, SMALL, 0, 100, 1);
    session.export.computed(50);
    session.awaitSlab();
    exporter.close();
    assertThat(session.exported.failure(SOON_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
    assertThat(session.imported.failure(SOON_MILLIS).kind())
        .isIn(Kind.PEER_ABORTED, Kind.PEER_LOST);
    session.export.computed(100);
    session.export.finish(new Manifest(100, 7, 0, 0));
    assertThatThrownBy(() -> Session.begin(exporter, importer, SMALL, 0, 100, 1))
        .hasMessageContaining("closed");
    importer.close();
  }

  @Test
  void aPortInUseIsOneClearError() {
    KvTransfer first = open(TransferOptions.on(HOST));
    int port = Integer.parseInt(first.address().split(":", 2)[1]);
    assertThatThrownBy(() -> UcxTransport.open(HOST, port))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining(first.address());
    assertThatThrownBy(() -> UcxTransport.open("0.0.0.0", 0)).hasMessageContaining("one interface");
  }

  @Test
  void aLargeHandoffSaysHowFastItWas() throws Exception {
    KvTransfer exporter = open(TransferOptions.on(HOST));
    KvTransfer importer = open(TransferOptions.on(HOST));
    for (int round = 0; round < 3; round++) {
      Session session = Session.begin(exporter, importer, LLAMA_8B, 0, 1600, round);
      session.finish();
      HandoffStats stats = session.check();
      System.out.printf(
          Locale.ROOT,
          "hand-off of %d MB in %d slabs: %.0f ms, %.2f GB/s%n",
          stats.bytes() / 1_000_000,
          stats.slabs(),
          stats.nanos() / 1e6,
          stats.bytes() / (double) stats.nanos());
    }
  }

  private KvTransfer open(TransferOptions options) {
    return open(KvTransferFactory.open(options));
  }

  private KvTransfer open(KvTransfer transfer) {
    opened.add(transfer);
    return transfer;
  }

  private static TransferOptions options(int slabBytes, int exports, int imports, int resends) {
    return new TransferOptions(
        HOST,
        0,
        slabBytes,
        exports,
        imports,
        Duration.ofSeconds(2),
        Duration.ofSeconds(30),
        resends);
  }

  /** Sends may still hold slabs for a moment after both listeners have heard the end. */
  private static void awaitIdle(KvTransfer transfer) {
    long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(SOON_MILLIS);
    while (!idle(transfer) && System.nanoTime() - deadline < 0) {
      LockSupport.parkNanos(1_000_000);
    }
    assertThat(idle(transfer)).as("%s", transfer.totals()).isTrue();
  }

  private static boolean idle(KvTransfer transfer) {
    TransferTotals totals = transfer.totals();
    return totals.slabBytesInUse() + totals.openExports() + totals.openImports() == 0;
  }

  /** One hand-off between two instances. */
  private record Session(
      Ticket ticket,
      Export export,
      KvStore from,
      KvStore to,
      int first,
      int tokens,
      Outcome exported,
      Outcome imported,
      CountDownLatch unpacked) {

    static Session begin(
        KvTransfer exporter,
        KvTransfer importer,
        KvGeometry geometry,
        int first,
        int tokens,
        long seed) {
      return begin(exporter, importer, geometry, first, tokens, seed, () -> {});
    }

    static Session begin(
        KvTransfer exporter,
        KvTransfer importer,
        KvGeometry geometry,
        int first,
        int tokens,
        long seed,
        Runnable onSlab) {
      KvStore from = KvStore.random(geometry, tokens, seed);
      KvStore to = new KvStore(geometry, tokens);
      Outcome exported = new Outcome(from);
      Outcome imported = new Outcome(to);
      CountDownLatch unpacked = new CountDownLatch(1);
      KvSink sink =
          (range, slab) -> {
            onSlab.run();
            to.unpack(range, slab);
            unpacked.countDown();
          };
      Ticket ticket =
          importer.expect(new ImportSpec("s", 0, geometry, first, tokens, 7), sink, imported);
      Export export = exporter.export(ticket, "s", 0, geometry, from, exported);
      return new Session(ticket, export, from, to, first, tokens, exported, imported, unpacked);
    }

    void finish() {
      export.finish(new Manifest(tokens, 7, 1, 0));
    }

    void awaitSlab() throws InterruptedException {
      assertThat(unpacked.await(60, TimeUnit.SECONDS)).isTrue();
    }

    HandoffStats check() throws Exception {
      HandoffStats stats = imported.success(20);
      assertThat(exported.success(20).slabs()).isEqualTo(stats.slabs());
      assertThat(exported.calls()).containsExactly("packed", "acknowledged");
      assertThat(to.sameFrom(first, from)).isTrue();
      assertThat(to.touchedAfterSeal() + from.touchedAfterSeal()).isZero();
      return stats;
    }
  }
}

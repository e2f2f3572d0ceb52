package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.testing.UcxPresent;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Hand-offs with another process, which may be killed at any time. */
@UcxPresent
@Timeout(300)
class UcxProcessTest {

  /** A loss that is only found when a lease has run out takes ten seconds. */
  private static final int LOSS_MILLIS = 5000;

  private final KvTransfer transfer = KvTransferFactory.open(TransferOptions.on(PeerProcess.HOST));
  private final List<Process> processes = new ArrayList<>();

  @AfterEach
  void nothingIsLeft() throws Exception {
    processes.forEach(Process::destroyForcibly);
    awaitFreeSlabs();
    transfer.close();
  }

  @Test
  void aHandoffArrivesFromAnotherProcessWhichSaysNothingOnStdout() throws Exception {
    KvStore to = new KvStore(PeerProcess.GEOMETRY, PeerProcess.TOKENS);
    Outcome imported = new Outcome(to);
    Process peer = export("export", transfer.expect(PeerProcess.spec(), to, imported));
    System.out.println("from another process: " + imported.success(60));
    assertThat(to.sameFrom(0, PeerProcess.store())).isTrue();
    peer.getOutputStream().close();
    assertThat(PeerProcess.output(peer).readLine()).isNull();
    assertThat(peer.waitFor(60, TimeUnit.SECONDS)).isTrue();
    assertThat(peer.exitValue()).isZero();
  }

  @Test
  void anExporterKilledWhileItSendsFailsTheImportAtOnceAndANewOneWorks() throws Exception {
    for (int slabs = 1; slabs <= 8; slabs += 7) {
      CountDownLatch some = new CountDownLatch(slabs);
      KvStore to = new KvStore(PeerProcess.GEOMETRY, PeerProcess.TOKENS);
      Outcome imported = new Outcome(to);
      KvSink sink =
          (range, slab) -> {
            to.unpack(range, slab);
            some.countDown();
          };
      Process peer = export("export-half", transfer.expect(PeerProcess.spec(), sink, imported));
      assertThat(some.await(60, TimeUnit.SECONDS)).isTrue();
      kill(peer);
      assertThat(imported.failure(LOSS_MILLIS).kind()).isEqualTo(Kind.PEER_LOST);
      assertThat(to.touchedAfterSeal()).isZero();
    }
    KvStore to = new KvStore(PeerProcess.GEOMETRY, PeerProcess.TOKENS);
    Outcome imported = new Outcome(to);
    export("export", transfer.expect(PeerProcess.spec(), to, imported));
    imported.success(60);
    assertThat(to.sameFrom(0, PeerProcess.store())).isTrue();
  }

  @Test
  void anExporterKilledWhileItComputesFailsTheImportAtOnce() throws Exception {
    KvStore to = new KvStore(PeerProcess.GEOMETRY, PeerProcess.TOKENS);
    Outcome imported = new Outcome(to);
    CountDownLatch some = new CountDownLatch(1);
    KvSink sink =
        (range, slab) -> {
          to.unpack(range, slab);
          some.countDown();
        };
    Process peer = export("export-half", transfer.expect(PeerProcess.spec(), sink, imported));
    assertThat(some.await(60, TimeUnit.SECONDS)).isTrue();
    awaitFreeSlabs();
    kill(peer);
    assertThat(imported.failure(LOSS_MILLIS).kind()).isEqualTo(Kind.PEER_LOST);
  }

  @Test
  void anImporterKilledWhileItReceivesFailsTheExportAtOnceAndANewOneWorks() throws Exception {
    KvStore from = PeerProcess.store();
    CountDownLatch some = new CountDownLatch(10);
    Process peer = start(List.of("import"));
    Outcome exported = new Outcome(from);
    transfer
        .export(
            ticket(peer),
            "s",
            0,
            PeerProcess.GEOMETRY,
            (range, slab) -> {
              from.pack(range, slab);
              some.countDown();
            },
            exported)
        .computed(PeerProcess.TOKENS);
    assertThat(some.await(60, TimeUnit.SECONDS)).isTrue();
    kill(peer);
    assertThat(exported.failure(LOSS_MILLIS).kind()).isEqualTo(Kind.PEER_LOST);
    assertThat(from.touchedAfterSeal()).isZero();

    KvStore again = PeerProcess.store();
    Outcome next = new Outcome(again);
    transfer
        .export(ticket(start(List.of("import"))), "s", 0, PeerProcess.GEOMETRY, again, next)
        .finish(new Manifest(PeerProcess.TOKENS, 7, 1, 0));
    next.success(60);
  }

  @Test
  void slabsThatAStoppedImporterNeverFetchesComeBack() throws Exception {
    KvStore from = PeerProcess.store();
    CountDownLatch some = new CountDownLatch(2);
    Process peer = start(List.of("import"));
    Outcome exported = new Outcome(from);
    Ticket ticket = ticket(peer);
    Export export =
        transfer.export(
            ticket,
            "s",
            0,
            PeerProcess.GEOMETRY,
            (range, slab) -> {
              from.pack(range, slab);
              if (some.getCount() == 1) {
                signal(peer, "STOP");
              }
              some.countDown();
            },
            exported);
    export.computed(PeerProcess.TOKENS);
    assertThat(some.await(60, TimeUnit.SECONDS)).isTrue();
    export.abort("the client is gone");
    assertThat(exported.failure(LOSS_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
    awaitFreeSlabs();
    assertThat(transfer.totals().slabBytesQuarantined()).isZero();
    signal(peer, "CONT");
  }

  @Test
  void importIsOverSoonAfterACancelThoughItsExporterIsStopped() throws Exception {
    CountDownLatch some = new CountDownLatch(1);
    KvStore to = new KvStore(PeerProcess.GEOMETRY, PeerProcess.TOKENS);
    Outcome imported = new Outcome(to);
    KvSink sink =
        (range, slab) -> {
          to.unpack(range, slab);
          some.countDown();
        };
    Ticket ticket = transfer.expect(PeerProcess.spec(), sink, imported);
    Process peer = export("export-half", ticket);
    assertThat(some.await(60, TimeUnit.SECONDS)).isTrue();
    signal(peer, "STOP");
    transfer.cancelImport(ticket.transfer());
    assertThat(imported.failure(LOSS_MILLIS).kind()).isEqualTo(Kind.CANCELLED);
    assertThat(to.touchedAfterSeal()).isZero();
    awaitFreeSlabs();
    signal(peer, "CONT");
  }

  private static void signal(Process process, String name) {
    try {
      new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
    } catch (IOException | InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void theExtractedLibraryIsNotLeftBehind() throws Exception {
    String directory = System.getProperty("java.io.tmpdir");
    // Processes of other tests may be about to load it.
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
    while (System.nanoTime() - deadline < 0 && !extracted(directory).isEmpty()) {
      LockSupport.parkNanos(10_000_000);
    }
    assertThat(extracted(directory)).isEmpty();
  }

  private List<Path> extracted(String directory) throws IOException {
    try (Stream<Path> files = Files.list(Path.of(directory))) {
      return files.filter(this::isOurs).toList();
    }
  }

  /** What processes have left that were killed while they loaded it is older than this one. */
  private boolean isOurs(Path path) {
    try {
      return path.getFileName().toString().startsWith("jucx")
          && Files.isReadable(path.resolve("libjucx_amd64.so"))
          && Files.getLastModifiedTime(path)
              .toInstant()
              .isAfter(ProcessHandle.current().info().startInstant().orElseThrow());
    } catch (NoSuchFileException e) {
      // Another process has just loaded it, and has taken its copy away.
      return false;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Process export(String mode, Ticket ticket) throws Exception {
    List<String> arguments = new ArrayList<>(List.of(mode));
    arguments.addAll(PeerProcess.fields(ticket));
    return start(arguments);
  }

  private Process start(List<String> arguments) throws Exception {
    Process process = PeerProcess.start(arguments);
    processes.add(process);
    return process;
  }

  private static Ticket ticket(Process importer) throws Exception {
    return PeerProcess.ticket(List.of(PeerProcess.output(importer).readLine().split(" ", -1)));
  }

  /** SIGKILL, and gone. */
  private static void kill(Process process) throws InterruptedException {
    process.destroyForcibly();
    assertThat(process.waitFor(60, TimeUnit.SECONDS)).isTrue();
  }

  private void awaitFreeSlabs() {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (transfer.totals().slabBytesInUse() > 0) {
      assertThat(System.nanoTime() - deadline).as("slabs stay in use").isNegative();
      LockSupport.parkNanos(1_000_000);
    }
  }
}

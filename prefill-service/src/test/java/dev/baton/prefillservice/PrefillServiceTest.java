package dev.baton.prefillservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.Eventually;
import dev.baton.worker.fakes.FakeEngine;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.FakeTransfer;
import dev.baton.worker.fakes.Sample;
import dev.baton.worker.fakes.TestWorker;
import dev.baton.worker.wire.Tickets;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(300)
class PrefillServiceTest {

  /** The importer's side, played by the test. */
  private static final class Importer implements ImportListener {
    final List<SlabRange> slabs = new CopyOnWriteArrayList<>();
    final CompletableFuture<Manifest> manifest = new CompletableFuture<>();

    @Override
    public void onCompleted(Manifest value, HandoffStats stats) {
      manifest.complete(value);
    }

    @Override
    public void onFailed(HandoffException cause) {
      manifest.completeExceptionally(cause);
    }
  }

  private final FakeTransfer.Network network = new FakeTransfer.Network();
  private final FakeTransfer exporterSide = new FakeTransfer(network);
  private final FakeTransfer importerSide = new FakeTransfer(network);
  private final FakeEngine engine = new FakeEngine();
  private final Importer importer = new Importer();
  private final FakeRouter router = FakeRouter.accepting(0);
  private final TestWorker worker =
      new TestWorker(Role.PREFILL, router.address(), engine, exporterSide, PrefillService::create);

  PrefillServiceTest() throws Exception {}

  @AfterEach
  void close() throws Exception {
    worker.awaitClosedLedger();
    assertThat(exporterSide.open()).isZero();
    assertThat(engine.breaches).isEmpty();
    worker.close();
    router.close();
    network.close();
  }

  private HandoffTicket ticket(SessionSpec spec, int firstToken) {
    Ticket ticket =
        importerSide.expect(
            new ImportSpec(
                spec.getSessionId(),
                spec.getEpoch(),
                new KvGeometry(2, 2, 4, 4),
                firstToken,
                spec.getPromptCount(),
                0),
            (range, slab) -> importer.slabs.add(range),
            importer);
    return Tickets.write(ticket, engine.model());
  }

  private Events<PrefillRequest, PrefillEvent> prefill(SessionSpec spec, HandoffTicket ticket) {
    Events<PrefillRequest, PrefillEvent> events = new Events<>();
    PrefillWorkerGrpc.newStub(worker.channel())
        .prefill(PrefillRequest.newBuilder().setSession(spec).setTicket(ticket).build(), events);
    return events;
  }

  private static Failure failure(Events<PrefillRequest, PrefillEvent> events) throws Exception {
    return events.await().getLast().getFailure();
  }

  @Test
  void computesHandsOffInChunksAndSaysTheFirstToken() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    List<PrefillEvent> events = prefill(spec, ticket(spec, 0)).await();

    assertThat(events).hasSize(2);
    int first = Sample.expected(spec).getFirst();
    assertThat(events.get(0).getFirstToken().getTokenId()).isEqualTo(first);
    assertThat(events.get(0).getFirstToken().getIndex()).isZero();
    HandedOff handedOff = events.get(1).getHandedOff();
    assertThat(handedOff.getSlabs()).isEqualTo(3);
    assertThat(handedOff.getBytes()).isEqualTo(20 * 2 * 2 * 2 * 4 * 4);
    assertThat(importer.slabs)
        .extracting(SlabRange::tokenFrom, SlabRange::tokenTo)
        .containsExactly(
            org.assertj.core.groups.Tuple.tuple(0, 8),
            org.assertj.core.groups.Tuple.tuple(8, 16),
            org.assertj.core.groups.Tuple.tuple(16, 20));
    long hash = ContextHash.of(spec.getPromptList().stream().mapToInt(i -> i).toArray());
    assertThat(importer.manifest.get(60, TimeUnit.SECONDS))
        .isEqualTo(new Manifest(20, hash, first, 0));
  }

  @Test
  void startsWhereTheImportersPrefixEnds() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    prefill(spec, ticket(spec, 16)).await();
    assertThat(importer.slabs).containsExactly(new SlabRange(0, 2, 16, 20));
  }

  @Test
  void goesOnAfterTokensOfAnEarlierEpoch() throws Exception {
    SessionSpec whole = Sample.session("a", 20, 9);
    List<Integer> tokens = Sample.expected(whole);
    SessionSpec spec = whole.toBuilder().setEpoch(2).addAllGenerated(tokens.subList(0, 3)).build();
    List<PrefillEvent> events = prefill(spec, ticket(spec, 0)).await();
    assertThat(events.get(0).getFirstToken().getTokenId()).isEqualTo(tokens.get(3));
    assertThat(events.get(0).getFirstToken().getIndex()).isEqualTo(3);
    assertThat(importer.manifest.get(60, TimeUnit.SECONDS).tokens()).isEqualTo(23);
    assertThat(importer.manifest.get(60, TimeUnit.SECONDS).firstIndex()).isEqualTo(3);
  }

  @Test
  void aFirstTokenThatEndsTheSessionIsNotHandedOff() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 1);
    List<PrefillEvent> events = prefill(spec, ticket(spec, 0)).await();
    assertThat(events).hasSize(1);
    assertThat(events.get(0).getFirstToken().getFinishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(importer.manifest).failsWithin(Eventually.AMPLE);
  }

  @Test
  void anotherModelsTicketIsRefusedBeforeAByteMoves() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket other = ticket(spec, 0).toBuilder().setFingerprint("beef").build();
    Failure failure = failure(prefill(spec, other));
    assertThat(failure.getCode()).isEqualTo(ErrorCode.FINGERPRINT_MISMATCH);
    assertThat(failure.getMessage()).contains("beef").contains("f00d");
    assertThat(exporterSide.exports()).isZero();
  }

  @Test
  void blocksAreFreeAsSoonAsPackedWhileTheSlabsAreOnTheirWay() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket ticket = ticket(spec, 0);
    engine.pause();
    Events<PrefillRequest, PrefillEvent> events = prefill(spec, ticket);
    Eventually.holds("session admitted", () -> exporterSide.exports() == 1);
    network.holdCompletions(true);
    engine.resume();
    events.next();
    Eventually.holds("blocks are free", () -> worker.ledger().closed());
    assertThat(worker.worker().sessions()).isEqualTo(1);
    assertThat(events.ended()).isFalse();
    network.holdCompletions(false);
    assertThat(events.await().getLast().hasHandedOff()).isTrue();
  }

  @Test
  void cancellingTheCallFreesEverythingAndTellsTheImporter() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket ticket = ticket(spec, 0);
    network.hold();
    Events<PrefillRequest, PrefillEvent> events = prefill(spec, ticket);
    events.next();
    events.cancel();
    network.letGo();
    worker.awaitClosedLedger();
  }

  @Test
  void blocksStayUntilTheTransferNoLongerReadsThem() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket ticket = ticket(spec, 0);
    network.hold();
    Events<PrefillRequest, PrefillEvent> events = prefill(spec, ticket);
    events.next();
    events.cancel();
    Eventually.holds("cancelled", events::ended);
    assertThat(worker.ledger().owned()).isPositive();
    network.letGo();
    worker.awaitClosedLedger();
  }

  @Test
  void aLostImporterFailsTheSession() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket nobody =
        Tickets.write(
            new Ticket(new Bits128(1, 2), new Bits128(3, 4), "127.0.0.1", 1, 0, 1000),
            engine.model());
    assertThat(failure(prefill(spec, nobody)).getCode()).isEqualTo(ErrorCode.WORKER_LOST);
  }

  @Test
  void aCorruptSlabFailsTheSession() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    network.corrupt(true);
    assertThat(failure(prefill(spec, ticket(spec, 0))).getCode())
        .isEqualTo(ErrorCode.HANDOFF_FAILED);
  }

  @Test
  void aPromptThatNeverFitsIsRefused() throws Exception {
    SessionSpec spec = Sample.session("a", 1020, 9);
    assertThat(failure(prefill(spec, ticket(spec, 0))).getCode())
        .isEqualTo(ErrorCode.CONTEXT_LENGTH_EXCEEDED);
    assertThat(exporterSide.exports()).isZero();
  }

  @Test
  void aDeadlineEndsAPrefillThatDoesNotProgress() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9).toBuilder().setDeadlineMillis(50).build();
    engine.pause();
    assertThat(failure(prefill(spec, ticket(spec, 0))).getCode())
        .isEqualTo(ErrorCode.DEADLINE_EXCEEDED);
  }

  @Test
  void drainingWaitsUntilTheSlabsAreFetched() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    HandoffTicket ticket = ticket(spec, 0);
    network.hold();
    Events<PrefillRequest, PrefillEvent> events = prefill(spec, ticket);
    events.next();
    Thread drain = Thread.ofVirtual().start(() -> worker.worker().drainAndClose(Eventually.AMPLE));
    Eventually.holds("draining", () -> worker.worker().status().getDraining());
    SessionSpec late = Sample.session("late", 20, 9);
    assertThat(failure(prefill(late, ticket)).getCode()).isEqualTo(ErrorCode.DRAINING);
    network.letGo();
    assertThat(events.await().getLast().hasHandedOff()).isTrue();
    drain.join();
  }
}

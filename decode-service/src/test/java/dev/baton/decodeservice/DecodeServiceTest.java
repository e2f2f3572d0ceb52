package dev.baton.decodeservice;

import static dev.baton.decodeservice.WorkerPair.failure;
import static dev.baton.decodeservice.WorkerPair.tokens;
import static org.assertj.core.api.Assertions.assertThat;

import com.google.protobuf.ByteString;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.Eventually;
import dev.baton.worker.fakes.FakeEngine;
import dev.baton.worker.fakes.FakeTransfer;
import dev.baton.worker.fakes.Sample;
import dev.baton.worker.fakes.TestWorker;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A decode worker and the prefill worker that feeds it, on fake engines and a fake network. */
@Timeout(300)
class DecodeServiceTest {

  private final FakeTransfer.Network network = new FakeTransfer.Network();
  private final FakeTransfer exporterSide = new FakeTransfer(network);
  private final FakeTransfer importerSide = new FakeTransfer(network);
  private final FakeEngine prefillEngine = new FakeEngine();
  private final FakeEngine decodeEngine = new FakeEngine();
  private final WorkerPair pair =
      new WorkerPair(prefillEngine, exporterSide, decodeEngine, importerSide);
  private final TestWorker prefillWorker = pair.prefillWorker();
  private final TestWorker decodeWorker = pair.decodeWorker();

  DecodeServiceTest() throws Exception {}

  @AfterEach
  void close() throws Exception {
    pair.awaitClosedLedgers();
    assertThat(exporterSide.open() + importerSide.open()).isZero();
    assertThat(prefillEngine.breaches).isEmpty();
    assertThat(decodeEngine.breaches).isEmpty();
    pair.close();
    network.close();
  }

  @Test
  void computesAPromptHereAndSaysEveryTokenOnce() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    List<DecodeEvent> events = pair.decode(spec, false).await();
    assertThat(tokens(events, 0)).isEqualTo(Sample.expected(spec));
    assertThat(events.getLast().getFinished().getReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(events.getLast().getFinished().getPromptTokens()).isEqualTo(20);
    assertThat(events.getLast().getFinished().getGeneratedTokens()).isEqualTo(9);
  }

  @Test
  void goesOnFromHandedOffKvWithTheSameTokens() throws Exception {
    for (int prompt : new int[] {1, 7, 8, 9, 40}) {
      SessionSpec spec = Sample.session("prompt of " + prompt, prompt, 12);
      assertThat(pair.split(spec)).isEqualTo(Sample.expected(spec));
    }
  }

  @Test
  void goesOnAfterTokensOfAnEarlierEpoch() throws Exception {
    SessionSpec whole = Sample.session("a", 20, 9);
    List<Integer> expected = Sample.expected(whole);
    SessionSpec spec =
        whole.toBuilder().setEpoch(2).addAllGenerated(expected.subList(0, 4)).build();
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    List<PrefillEvent> prefill = pair.prefill(spec, decode.next()).await();
    assertThat(prefill.getFirst().getFirstToken().getTokenId()).isEqualTo(expected.get(4));
    assertThat(tokens(decode.await(), 5)).isEqualTo(expected.subList(5, 9));
    assertThat(tokens(pair.decode(spec.toBuilder().setEpoch(3).build(), false).await(), 4))
        .isEqualTo(expected.subList(4, 9));
  }

  @Test
  void sessionWhoseMoveFailsGoesOnWhereItIs() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    decodeEngine.pauseAfter(3);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, false);
    for (int i = 0; i < 3; i++) {
      decode.next();
    }
    assertThat(handOver(spec, 1)).contains("importer_tokens: 20 and room for 1 more");
    assertThat(handOver(spec, 1000)).contains("no such import");
    decodeEngine.resume();
    assertThat(tokens(decode.await(), 0)).isEqualTo(Sample.expected(spec));
  }

  /** Why a session is not handed over to an importer that does not exist. */
  private String handOver(SessionSpec spec, int room) {
    return DecodeWorkerGrpc.newBlockingStub(decodeWorker.channel())
        .handOver(
            HandOverRequest.newBuilder()
                .setSessionId(spec.getSessionId())
                .setEpoch(spec.getEpoch())
                .setTicket(
                    HandoffTicket.newBuilder()
                        .setTransferId(ByteString.copyFrom(new byte[16]))
                        .setToken(ByteString.copyFrom(new byte[16]))
                        .setAddress("127.0.0.1:1")
                        .setFingerprint("f00d")
                        .setRoomTokens(room))
                .setImporterTokens(20)
                .build())
        .getFailure()
        .getMessage();
  }

  @Test
  void contextThatGrowsElsewhereIsNotComputedHereWhenItDoesNotCome() throws Exception {
    Events<DecodeRequest, DecodeEvent> decode = new Events<>();
    DecodeWorkerGrpc.newStub(decodeWorker.channel())
        .decode(
            DecodeRequest.newBuilder()
                .setSession(Sample.session("a", 20, 9))
                .setAwaitHandoff(true)
                .setRoomTokens(256)
                .build(),
            decode);
    assertThat(decode.next().getReserved().getRoomTokens()).isBetween(1, 9);
    importerSide.losePeers();
    assertThat(failure(decode).getCode()).isEqualTo(ErrorCode.WORKER_LOST);
  }

  @Test
  void kvThatStaysCorruptIsComputedHereInstead() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    network.corrupt(true);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    Failure failure = pair.prefill(spec, decode.next()).await().getLast().getFailure();
    assertThat(failure.getCode()).isEqualTo(ErrorCode.HANDOFF_FAILED);
    List<DecodeEvent> events = decode.await();
    assertThat(tokens(events, 0)).isEqualTo(Sample.expected(spec));
    assertThat(events.getLast().getFinished().getGeneratedTokens()).isEqualTo(9);
    assertThat(settled(events)).containsExactly(true);
  }

  @Test
  void whatALostPrefillWorkerDidNotHandOffIsComputedHereInstead() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    decode.next();
    importerSide.losePeers();
    List<DecodeEvent> events = decode.await();
    assertThat(events.get(1).hasKvSettled()).as("after the reservation").isTrue();
    assertThat(settled(events)).containsExactly(true);
    assertThat(tokens(events, 0)).isEqualTo(Sample.expected(spec));
  }

  @Test
  void saysThatTheHandOffIsOverBeforeTheFirstToken() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    pair.prefill(spec, decode.next());
    List<DecodeEvent> events = decode.await();
    assertThat(events.get(1).hasKvSettled()).as("after the reservation").isTrue();
    assertThat(settled(events)).containsExactly(false);
  }

  @Test
  void anExporterThatGivesUpSpeaksFirst() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    SessionSpec ends =
        spec.toBuilder().setSampling(spec.getSampling().toBuilder().setMaxTokens(1)).build();
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    // The exporter's session ends with its first token, so it hands nothing off.
    pair.prefill(ends, decode.next()).await();
    Eventually.holds("blocks are free", () -> decodeWorker.ledger().closed());
    assertThat(decode.ended()).isFalse();
    assertThat(failure(decode).getCode()).isEqualTo(ErrorCode.HANDOFF_FAILED);
  }

  @Test
  void cancellingAReservationFreesIt() throws Exception {
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(Sample.session("a", 20, 9), true);
    decode.next();
    assertThat(decodeWorker.ledger().reserved()).isPositive();
    decode.cancel();
    decodeWorker.awaitClosedLedger();
  }

  @Test
  void cancellingInMidStreamFreesBothSides() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 900);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    pair.prefill(spec, decode.next());
    assertThat(decode.next().hasKvSettled()).isTrue();
    assertThat(decode.next().hasToken()).isTrue();
    decode.cancel();
    decodeWorker.awaitClosedLedger();
    prefillWorker.awaitClosedLedger();
  }

  @Test
  void blocksOfACancelledImportStayUntilNoSlabCanLandInThem() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9);
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    DecodeEvent reserved = decode.next();
    network.hold();
    Events<PrefillRequest, PrefillEvent> prefill = pair.prefill(spec, reserved);
    prefill.next();
    decode.cancel();
    Eventually.holds("cancelled", decode::ended);
    assertThat(decodeWorker.ledger().reserved()).isPositive();
    // The slabs land first, then the cancel is heard; the fake engine notes any breach.
    network.letGo();
    decodeWorker.awaitClosedLedger();
  }

  @Test
  void aDeadlineEndsAReservationWhosePrefillNeverComes() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 9).toBuilder().setDeadlineMillis(100).build();
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, true);
    decode.next();
    assertThat(failure(decode).getCode()).isEqualTo(ErrorCode.DEADLINE_EXCEEDED);
  }

  @Test
  void aNewerEpochTakesOver() throws Exception {
    SessionSpec first = Sample.session("a", 20, 900);
    decodeEngine.pause();
    Events<DecodeRequest, DecodeEvent> old = pair.decode(first, false);
    Eventually.holds("admitted", () -> decodeWorker.worker().sessions() == 1);
    SessionSpec second =
        first.toBuilder()
            .setEpoch(2)
            .setSampling(first.getSampling().toBuilder().setMaxTokens(9))
            .build();
    Events<DecodeRequest, DecodeEvent> fresh = pair.decode(second, false);
    assertThat(failure(old).getCode()).isEqualTo(ErrorCode.CANCELLED);
    decodeEngine.resume();
    assertThat(tokens(fresh.await(), 0)).isEqualTo(Sample.expected(second));
  }

  @Test
  void noRoomForAReservationIsOverload() throws Exception {
    List<Events<DecodeRequest, DecodeEvent>> fitting = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      // 64 of the 256 blocks each.
      fitting.add(pair.decode(Sample.session("fits " + i, 1000, 10), true));
      assertThat(fitting.getLast().next().hasReserved()).isTrue();
    }
    Failure refused = failure(pair.decode(Sample.session("too many", 1000, 10), true));
    assertThat(refused.getCode()).isEqualTo(ErrorCode.OVERLOADED);
    assertThat(refused.getRetryAfterMillis()).isPositive();
    fitting.forEach(Events::cancel);
  }

  @Test
  void aFailedStepFailsEverySessionAndNoneHangs() throws Exception {
    Events<DecodeRequest, DecodeEvent> running = pair.decode(Sample.session("a", 20, 900), false);
    Events<DecodeRequest, DecodeEvent> reserved = pair.decode(Sample.session("b", 20, 9), true);
    running.next();
    reserved.next();
    decodeEngine.failNextStep();
    assertThat(failure(running).getCode()).isEqualTo(ErrorCode.INTERNAL);
    assertThat(failure(reserved).getCode()).isEqualTo(ErrorCode.INTERNAL);
    assertThat(failure(pair.decode(Sample.session("c", 20, 9), false)).getCode())
        .isEqualTo(ErrorCode.INTERNAL);
  }

  @Test
  void drainingLetsARunningSessionFinish() throws Exception {
    SessionSpec spec = Sample.session("a", 20, 300);
    decodeEngine.pause();
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(spec, false);
    Eventually.holds("admitted", () -> decodeWorker.worker().sessions() == 1);
    Thread drain =
        Thread.ofVirtual().start(() -> decodeWorker.worker().drainAndClose(Eventually.AMPLE));
    Eventually.holds("draining", () -> decodeWorker.worker().status().getDraining());
    assertThat(failure(pair.decode(Sample.session("late", 4, 4), false)).getCode())
        .isEqualTo(ErrorCode.DRAINING);
    decodeEngine.resume();
    assertThat(tokens(decode.await(), 0)).isEqualTo(Sample.expected(spec));
    drain.join();
  }

  @Test
  void aSessionThatOutlivesTheGraceHearsWhy() throws Exception {
    decodeEngine.pause();
    Events<DecodeRequest, DecodeEvent> decode = pair.decode(Sample.session("a", 20, 9), false);
    Eventually.holds("admitted", () -> decodeWorker.worker().sessions() == 1);
    decodeWorker.worker().drainAndClose(Duration.ofMillis(50));
    assertThat(failure(decode).getCode()).isEqualTo(ErrorCode.DRAINING);
  }

  private static List<Boolean> settled(List<DecodeEvent> events) {
    return events.stream()
        .filter(DecodeEvent::hasKvSettled)
        .map(event -> event.getKvSettled().getRecomputed())
        .toList();
  }
}

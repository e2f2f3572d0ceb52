package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.KvSettled;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionFinished;
import dev.baton.proto.worker.v1.Suspended;
import dev.baton.router.failure.Failures;
import dev.baton.router.session.SessionEffect.Admitted;
import dev.baton.router.session.SessionEffect.AwaitCapacity;
import dev.baton.router.session.SessionEffect.CloseCalls;
import dev.baton.router.session.SessionEffect.CloseMove;
import dev.baton.router.session.SessionEffect.Deliver;
import dev.baton.router.session.SessionEffect.Fail;
import dev.baton.router.session.SessionEffect.Finish;
import dev.baton.router.session.SessionEffect.HandOver;
import dev.baton.router.session.SessionEffect.LetCallsEnd;
import dev.baton.router.session.SessionEffect.OpenDecode;
import dev.baton.router.session.SessionEffect.OpenPrefill;
import dev.baton.router.session.SessionEffect.Place;
import dev.baton.router.session.SessionEffect.PlaceMove;
import dev.baton.router.session.SessionEffect.StartGrace;
import dev.baton.router.session.SessionEffect.TakeOver;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Long, because the machine has one state that all its cases go through, step by step. */
final class SessionMachineTest {

  private static final HandoffTicket TICKET =
      HandoffTicket.newBuilder().setAddress("127.0.0.1:1").build();
  private static final long HASH = 0x1234;
  private static final Failure LOST = Failures.of(ErrorCode.WORKER_LOST, "lost");
  private static final Failure FULL = Failures.of(ErrorCode.OVERLOADED, "full");

  private final SessionMachine machine = new SessionMachine(() -> HASH);

  @Test
  void splitSessionIsReservedThenPrefilledThenDecoded() {
    assertThat(machine.start()).containsExactly(new Place(1, Set.of(), null, false, false));
    assertThat(machine.placed(1, "d", "p")).containsExactly(new OpenDecode(1, true));
    assertThat(machine.decode(1, reserved()))
        .containsExactly(new Admitted(), new OpenPrefill(1, TICKET));
    assertThat(machine.prefill(1, first(7))).containsExactly(new Deliver(token(0, 7)));
    assertThat(machine.prefill(1, handedOff())).isEmpty();
    assertThat(machine.prefillClosed(1, null)).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.decode(1, finished(FinishReason.LENGTH, 2)))
        .containsExactly(new LetCallsEnd(1), new Finish(FinishReason.LENGTH));
    assertThat(machine.decodeClosed(1, null)).isEmpty();
  }

  @Test
  void aggregatedSessionTakesAllTokensFromTheDecodeStream() {
    machine.start();
    assertThat(machine.placed(1, "d", null))
        .containsExactly(new OpenDecode(1, false), new Admitted());
    assertThat(machine.decode(1, decoded(0, 5))).containsExactly(new Deliver(token(0, 5)));
    assertThat(machine.decode(1, decoded(1, 6))).containsExactly(new Deliver(token(1, 6)));
  }

  @Test
  void tokensThatOvertakeTheFirstAreHeld() {
    runSplit();
    assertThat(machine.decode(1, decoded(1, 8))).isEmpty();
    assertThat(machine.decode(1, decoded(2, 9))).isEmpty();
    assertThat(machine.decode(1, finished(FinishReason.STOP, 3))).isEmpty();
    assertThat(machine.holding()).isTrue();
    assertThat(machine.decodeClosed(1, null)).isEmpty();
    assertThat(machine.prefill(1, first(7)))
        .containsExactly(
            new Deliver(token(0, 7)),
            new Deliver(token(1, 8)),
            new Deliver(token(2, 9)),
            new LetCallsEnd(1),
            new Finish(FinishReason.STOP));
  }

  @Test
  void afterAHandOffThatDidNotComeAboutTheNextAttemptDoesWithoutThoughAFirstTokenCame() {
    runSplit();
    machine.prefill(1, first(7));
    Failure failed = Failures.of(ErrorCode.HANDOFF_FAILED, "no answer");
    assertThat(machine.decode(1, failure(failed)))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of(), failed, false, true));
  }

  @Test
  void repeatedTokenFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    machine.decode(1, decoded(1, 8));
    assertFailure(
        machine.decode(1, decoded(1, 8)), ErrorCode.INTERNAL, "token index: 1 (expected: 2)");
    assertThat(machine.decode(1, decoded(2, 9))).isEmpty();
  }

  @Test
  void skippedTokenFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    assertFailure(machine.decode(1, decoded(2, 8)), ErrorCode.INTERNAL, "token index: 2");
  }

  @Test
  void secondFirstTokenFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    assertFailure(machine.prefill(1, first(7)), ErrorCode.INTERNAL, "first token");
  }

  @Test
  void tokenBeforeTheReservationFailsTheSession() {
    machine.start();
    machine.placed(1, "d", "p");
    assertFailure(machine.decode(1, decoded(1, 8)), ErrorCode.INTERNAL, "before the reservation");
  }

  @Test
  void wrongCountAtTheEndFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    assertFailure(
        machine.decode(1, finished(FinishReason.STOP, 2)),
        ErrorCode.INTERNAL,
        "2 generated tokens (expected: 1 as delivered)");
  }

  @Test
  void tokenZeroFromBothStreamsIsDeliveredOnce() {
    runSplit();
    assertThat(machine.decode(1, decoded(0, 7))).containsExactly(new Deliver(token(0, 7)));
    assertThat(machine.prefill(1, first(7))).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void differingTokenZeroFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    assertFailure(machine.decode(1, decoded(0, 6)), ErrorCode.INTERNAL, "token 0: id 6");
  }

  @Test
  void firstTokenThatEndsTheSessionClosesBothCalls() {
    runSplit();
    SampledToken last = token(0, 2).toBuilder().setFinishReason(FinishReason.STOP).build();
    assertThat(machine.prefill(1, PrefillEvent.newBuilder().setFirstToken(last).build()))
        .containsExactly(
            new CloseCalls(1),
            new Deliver(last),
            new LetCallsEnd(1),
            new Finish(FinishReason.STOP));
    assertThat(machine.ended()).isTrue();
  }

  @Test
  void prefillWorkerLostBeforeAnyTokenIsReplacedUnderANewEpoch() {
    runSplit();
    assertThat(machine.prefillClosed(1, LOST))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("p"), LOST, true, false));
    machine.placed(2, "d", "p2");
    assertThat(machine.decode(1, decoded(1, 9))).isEmpty();
    assertThat(machine.prefill(1, first(9))).isEmpty();
    assertThat(machine.decode(2, reserved()))
        .containsExactly(new Admitted(), new OpenPrefill(2, TICKET));
    assertThat(machine.prefill(2, first(7))).containsExactly(new Deliver(token(0, 7)));
  }

  @Test
  void lossesOneAfterAnotherWithoutATokenAreFinalInTheEnd() {
    machine.start();
    for (int epoch = 1; epoch <= SessionMachine.MAX_RETRIES; epoch++) {
      machine.placed(epoch, "d" + epoch, "p" + epoch);
      assertThat(machine.decodeClosed(epoch, LOST)).hasSize(2);
    }
    int last = SessionMachine.MAX_RETRIES + 1;
    machine.placed(last, "d", "p");
    assertThat(machine.decodeClosed(last, LOST))
        .containsExactly(new CloseCalls(last), new Fail(LOST));
  }

  @Test
  void lossesAfterTokensAreCountedAnew() {
    machine.start();
    for (int epoch = 1; epoch <= 3 * SessionMachine.MAX_RETRIES; epoch++) {
      machine.placed(epoch, "d", null);
      assertThat(machine.decode(epoch, decoded(epoch - 1, 40 + epoch)))
          .containsExactly(new Deliver(token(epoch - 1, 40 + epoch)));
      assertThat(machine.decodeClosed(epoch, LOST))
          .containsExactly(
              new CloseCalls(epoch), new Place(epoch + 1, Set.of("d"), LOST, false, false));
    }
  }

  @Test
  void lossWithoutAnotherWorkerWaitsForOne() {
    runSplit();
    machine.prefillClosed(1, LOST);
    assertThat(machine.unplaceable(2, Failures.of(ErrorCode.OVERLOADED, "none left"), LOST))
        .containsExactly(new AwaitCapacity());
    assertThat(machine.capacity()).containsExactly(new Place(3, Set.of(), null, false, false));
  }

  @Test
  void newSessionDoesNotWaitForAnEmptyPool() {
    machine.start();
    Failure none = Failures.of(ErrorCode.NO_WORKER, "none");
    assertThat(machine.unplaceable(1, none, null)).containsExactly(new Fail(none));
  }

  @Test
  void splitSessionGoesOnAfterItsTokensWhenTheDecodeWorkerIsLost() {
    runSplit();
    machine.prefill(1, first(7));
    machine.decode(1, decoded(1, 8));
    assertThat(machine.decodeClosed(1, LOST))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, false, false));
    machine.placed(2, "d2", "p");
    // The dead attempt speaks on.
    assertThat(machine.decode(1, decoded(2, 9))).isEmpty();
    assertThat(machine.decode(2, reserved()))
        .containsExactly(new Admitted(), new OpenPrefill(2, TICKET));
    assertThat(machine.decode(2, decoded(3, 10))).isEmpty();
    assertThat(machine.prefill(2, first(2, 9)))
        .containsExactly(new Deliver(token(2, 9)), new Deliver(token(3, 10)));
    assertThat(machine.decode(2, finished(FinishReason.LENGTH, 4)))
        .containsExactly(new LetCallsEnd(2), new Finish(FinishReason.LENGTH));
  }

  @Test
  void decodingSessionMovesWithItsKvWhileItGoesOn() {
    runAggregated();
    assertThat(machine.move()).containsExactly(new PlaceMove(2, Set.of()));
    assertThat(machine.move()).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.placed(2, "d2", null)).containsExactly(new OpenDecode(2, true));
    assertThat(machine.decode(1, decoded(2, 9))).containsExactly(new Deliver(token(2, 9)));
    assertThat(machine.decode(2, reserved())).containsExactly(new HandOver(2, TICKET));
    assertThat(machine.decode(1, decoded(3, 10))).containsExactly(new Deliver(token(3, 10)));
    assertThat(machine.decode(1, suspended(4))).isEmpty();
    assertThat(machine.decodeClosed(1, null)).isEmpty();
    assertThat(machine.decode(2, arrived(HASH))).containsExactly(new TakeOver(2));
    assertThat(machine.moving()).isFalse();
    assertThat(machine.decode(2, decoded(4, 11))).containsExactly(new Deliver(token(4, 11)));
    assertThat(machine.decode(1, decoded(4, 11))).isEmpty();
    assertThat(machine.decode(2, finished(FinishReason.LENGTH, 5)))
        .containsExactly(new LetCallsEnd(2), new Finish(FinishReason.LENGTH));
  }

  @Test
  void whatTheOtherWorkerSaysEarlyWaitsForTheLastTokensOfTheFirst() {
    copying();
    assertThat(machine.decode(2, arrived(HASH))).isEmpty();
    assertThat(machine.decode(2, decoded(2, 9))).isEmpty();
    assertThat(machine.decode(2, finished(FinishReason.LENGTH, 3))).isEmpty();
    assertThat(machine.decodeClosed(2, null)).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.decode(1, suspended(2)))
        .containsExactly(
            new TakeOver(2),
            new Deliver(token(2, 9)),
            new LetCallsEnd(2),
            new Finish(FinishReason.LENGTH));
  }

  @Test
  void sessionThatWasMovedCanMoveAtOnceAgain() {
    copying();
    machine.decode(1, suspended(1));
    machine.decode(2, arrived(HASH));
    assertThat(machine.move()).containsExactly(new PlaceMove(3, Set.of()));
  }

  @Test
  void otherTokensThanThoseDeliveredAreNeverTakenOver() {
    copying();
    machine.decode(1, suspended(1));
    assertFailure(machine.decode(2, arrived(HASH + 1)), ErrorCode.INTERNAL, "context hash");
  }

  @Test
  void kvThatWasComputedAnewIsNotTakenOver() {
    copying();
    machine.decode(1, suspended(1));
    assertFailure(machine.decode(2, settled(true)), ErrorCode.INTERNAL, "recomputed true");
  }

  @Test
  void moveThatFailsBeforeTheSessionStandsStillCostsItNothing() {
    copying();
    assertThat(machine.handOverFailed(2, LOST)).containsExactly(new CloseMove(2));
    assertThat(machine.moving()).isFalse();
    assertThat(machine.decode(2, arrived(HASH))).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.move()).containsExactly(new PlaceMove(3, Set.of()));
    machine.placed(3, "d3", null);
    assertThat(machine.decode(3, failure(FULL))).containsExactly(new CloseMove(3));
    machine.move();
    assertThat(machine.unplaceable(4, FULL, null)).isEmpty();
    assertThat(machine.decode(1, decoded(2, 9))).containsExactly(new Deliver(token(2, 9)));
  }

  @Test
  void sessionWhoseMovesFailAgainAndAgainGoesOnFromItsTokens() {
    runAggregated();
    List<SessionEffect> effects = List.of();
    for (int i = 0; i < SessionMachine.MAX_MOVES; i++) {
      machine.move();
      machine.placed(2 + i, "d2", null);
      effects = machine.decodeClosed(2 + i, LOST);
    }
    assertThat(effects).hasSize(3);
    assertThat(effects.get(1)).isEqualTo(new CloseCalls(1));
    assertThat(((Place) effects.getLast()).epoch()).isEqualTo(2 + SessionMachine.MAX_MOVES);
  }

  @Test
  void moveThatFailsWhileTheSessionStandsStillGoesOnFromTheTokens() {
    copying();
    machine.decode(1, suspended(1));
    assertThat(machine.handOverFailed(2, LOST))
        .containsExactly(
            new CloseCalls(1), new CloseMove(2), new Place(3, Set.of(), LOST, false, false));
    machine.placed(3, "d3", null);
    assertThat(machine.decode(2, arrived(HASH))).isEmpty();
    assertThat(machine.decode(3, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  /** The worker let go of the session for a move before this one, and does not know it any more. */
  @Test
  void workerThatCallsAMoveInvalidDoesNotEndTheSession() {
    copying();
    machine.decode(1, suspended(1));
    List<SessionEffect> effects =
        machine.handOverFailed(2, Failures.of(ErrorCode.INVALID_REQUEST, "session: not here"));
    assertThat(effects).hasSize(3);
    assertThat(((Place) effects.getLast()).epoch()).isEqualTo(3);
  }

  @Test
  void sessionThatStandsStillAfterItsMoveWasGivenUpGoesOnFromItsTokens() {
    copying();
    machine.handOverFailed(2, LOST);
    List<SessionEffect> effects = machine.decode(1, suspended(1));
    assertThat(effects.getFirst()).isEqualTo(new CloseCalls(1));
    assertThat(effects.getLast()).isInstanceOf(Place.class);
  }

  @Test
  void sessionThatEndsDuringItsMoveEndsOnBothSides() {
    copying();
    assertThat(machine.decode(1, finished(FinishReason.LENGTH, 1)))
        .containsExactly(new LetCallsEnd(1), new CloseMove(2), new Finish(FinishReason.LENGTH));
  }

  @Test
  void workerLostDuringAMoveIsReplaced() {
    copying();
    assertThat(machine.decodeClosed(1, LOST))
        .containsExactly(
            new CloseCalls(1), new CloseMove(2), new Place(3, Set.of("d"), LOST, false, false));
  }

  @Test
  void sessionThatIsComputedFirstMovesWhenItDecodes() {
    runSplit();
    assertThat(machine.move()).isEmpty();
    machine.prefill(1, first(7));
    assertThat(machine.move()).isEmpty();
    machine.decode(1, settled(false));
    assertThat(machine.move()).containsExactly(new PlaceMove(2, Set.of()));
  }

  @Test
  void sessionThatIsOnlyReservedIsTriedElsewhereWhenItIsToMove() {
    machine.start();
    machine.placed(1, "d", "p");
    List<SessionEffect> effects = machine.move();
    assertThat(effects.getFirst()).isEqualTo(new CloseCalls(1));
    assertThat(((Place) effects.getLast()).wasted()).isFalse();
  }

  @Test
  void clientThatGoesAwayDuringAMoveFreesBothSides() {
    copying();
    Failure gone = Failures.of(ErrorCode.CANCELLED, "gone");
    assertThat(machine.end(gone))
        .containsExactly(new CloseCalls(1), new CloseMove(2), new Fail(gone));
  }

  @Test
  void suspensionThatNobodyAskedForFailsTheSession() {
    runAggregated();
    assertFailure(machine.decode(1, suspended(1)), ErrorCode.INTERNAL, "suspended: unasked");
  }

  @Test
  void tokensThatWaitForTheFirstAreComputedAnewAfterALoss() {
    runSplit();
    machine.decode(1, decoded(1, 8));
    assertThat(machine.decodeClosed(1, LOST))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, true, false));
    machine.placed(2, "d2", null);
    assertThat(machine.decode(2, decoded(0, 7))).containsExactly(new Deliver(token(0, 7)));
    assertThat(machine.decode(2, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void laterAttemptThatRepeatsATokenFailsTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    machine.decodeClosed(1, LOST);
    machine.placed(2, "d2", null);
    assertFailure(
        machine.decode(2, decoded(0, 7)), ErrorCode.INTERNAL, "token index: 0 (expected: 1)");
  }

  @Test
  void prefillWorkerLostAfterItsTokenLeavesTheDecodeWorkerAMoment() {
    runSplit();
    machine.prefill(1, first(7));
    assertThat(machine.prefillClosed(1, LOST)).containsExactly(new StartGrace(1));
    assertThat(machine.graceOver(1))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("p"), LOST, false, false));
  }

  @Test
  void tokenWithinTheGraceSavesTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    machine.prefillClosed(1, LOST);
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.graceOver(1)).isEmpty();
  }

  @Test
  void decodeWorkerThatSaysItGoesOnAloneNeedsNoGrace() {
    runSplit();
    machine.prefill(1, first(7));
    assertThat(machine.decode(1, settled(true))).isEmpty();
    assertThat(machine.prefillClosed(1, LOST)).isEmpty();
    assertThat(machine.graceOver(1)).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void wordOfTheDecodeWorkerWithinTheGraceSavesTheSession() {
    runSplit();
    machine.prefill(1, first(7));
    machine.prefillClosed(1, LOST);
    assertThat(machine.decode(1, settled(false))).isEmpty();
    assertThat(machine.graceOver(1)).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void decodeWorkerThatComputesThePromptItselfNeedsNoPrefillWorker() {
    runSplit();
    machine.decode(1, settled(true));
    assertThat(machine.prefill(1, PrefillEvent.newBuilder().setFailure(LOST).build())).isEmpty();
    assertThat(machine.prefillClosed(1, LOST)).isEmpty();
    assertThat(machine.decode(1, decoded(0, 7))).containsExactly(new Deliver(token(0, 7)));
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void firstTokenOfBothWorkersIsDeliveredOnce() {
    runSplit();
    machine.decode(1, settled(true));
    assertThat(machine.decode(1, decoded(0, 7))).containsExactly(new Deliver(token(0, 7)));
    assertThat(machine.prefill(1, first(7))).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
  }

  @Test
  void handOffThatWasGivenUpIsNotTriedAgainThoughTokensCame() {
    runSplit();
    machine.decode(1, settled(true));
    machine.decode(1, decoded(0, 7));
    assertThat(machine.decodeClosed(1, LOST))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, false, true));
  }

  @Test
  void workerThatTellsOfALostPeerIsNotTheOneToAvoid() {
    runSplit();
    assertThat(machine.prefill(1, PrefillEvent.newBuilder().setFailure(LOST).build()))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, true, true));
    assertThat(machine.wastedInARow()).isEqualTo(1);
    machine.placed(2, "d2", "p");
    machine.decode(2, reserved());
    assertThat(machine.decode(2, failure(LOST)))
        .containsExactly(new CloseCalls(2), new Place(3, Set.of("d", "p"), LOST, true, true));
  }

  @Test
  void decodeWorkerLostBeforeAnyTokenIsReplacedUnderANewEpoch() {
    runSplit();
    assertThat(machine.decodeClosed(1, LOST))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, true, false));
    machine.placed(2, "d2", "p");
    assertThat(machine.decode(1, decoded(1, 9))).isEmpty();
    assertThat(machine.decode(2, reserved()))
        .containsExactly(new Admitted(), new OpenPrefill(2, TICKET));
  }

  @Test
  void failedHandOffAfterTheFirstTokenIsLeftToTheDecodeWorker() {
    runSplit();
    machine.prefill(1, first(7));
    Failure failed = Failures.of(ErrorCode.HANDOFF_FAILED, "slab 3 stayed corrupt");
    assertThat(machine.prefill(1, PrefillEvent.newBuilder().setFailure(failed).build()))
        .containsExactly(new StartGrace(1));
    assertThat(machine.prefillClosed(1, null)).isEmpty();
    assertThat(machine.decode(1, decoded(1, 8))).containsExactly(new Deliver(token(1, 8)));
    assertThat(machine.graceOver(1)).isEmpty();
  }

  @Test
  void decodeWorkerThatHearsNothingOfAFailedHandOffIsNotAwaitedForEver() {
    runSplit();
    machine.prefill(1, first(7));
    Failure failed = Failures.of(ErrorCode.HANDOFF_FAILED, "no answer");
    machine.prefill(1, PrefillEvent.newBuilder().setFailure(failed).build());
    assertThat(machine.prefillClosed(1, null)).isEmpty();
    assertThat(machine.graceOver(1))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of(), failed, false, true));
  }

  @Test
  void decodeWorkerThatItsPeerCannotReachIsTheOneToAvoid() {
    runSplit();
    machine.prefill(1, first(7));
    assertThat(machine.prefill(1, PrefillEvent.newBuilder().setFailure(LOST).build()))
        .containsExactly(new StartGrace(1));
    assertThat(machine.graceOver(1))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d"), LOST, false, true));
  }

  @Test
  void refusalsGoRoundTheWorkersAndThenWait() {
    machine.start();
    machine.placed(1, "d1", "p");
    assertThat(machine.decode(1, failure(FULL)))
        .containsExactly(new CloseCalls(1), new Place(2, Set.of("d1"), FULL, false, false));
    machine.placed(2, "d2", "p");
    assertThat(machine.decode(2, failure(FULL)))
        .containsExactly(new CloseCalls(2), new Place(3, Set.of("d1", "d2"), FULL, false, false));
    assertThat(machine.unplaceable(3, FULL, FULL)).containsExactly(new AwaitCapacity());
    assertThat(machine.capacity()).containsExactly(new Place(4, Set.of(), null, false, false));
  }

  @Test
  void invalidRequestIsNotTriedAgain() {
    machine.start();
    machine.placed(1, "d", "p");
    Failure invalid = Failures.of(ErrorCode.INVALID_REQUEST, "no");
    assertThat(machine.decode(1, failure(invalid)))
        .containsExactly(new CloseCalls(1), new Fail(invalid));
  }

  @Test
  void nothingFollowsTheEnd() {
    runSplit();
    machine.end(Failures.of(ErrorCode.CANCELLED, "gone"));
    assertThat(machine.prefill(1, first(7))).isEmpty();
    assertThat(machine.decodeClosed(1, LOST)).isEmpty();
    assertThat(machine.end(LOST)).isEmpty();
    assertThat(machine.stop()).isEmpty();
  }

  /** However the two streams interleave, the client sees 0, 1, 2, ... once each. */
  @Test
  void anyInterleavingOfTheStreamsGivesTheSameTokens() {
    long seed = Long.getLong("seed", System.nanoTime());
    Random random = new Random(seed);
    for (int round = 0; round < 200; round++) {
      SessionMachine tried = new SessionMachine(() -> HASH);
      tried.start();
      tried.placed(1, "d", "p");
      tried.decode(1, reserved());
      int tokens = 2 + random.nextInt(20);
      int firstAt = random.nextInt(tokens + 1);
      List<Integer> seen = new ArrayList<>();
      int finishes = 0;
      for (int step = 0; step <= tokens; step++) {
        List<SessionEffect> effects = new ArrayList<>();
        if (step == firstAt) {
          effects.addAll(tried.prefill(1, first(100)));
        }
        effects.addAll(
            step < tokens - 1
                ? tried.decode(1, decoded(step + 1, 101 + step))
                : step == tokens - 1
                    ? tried.decode(1, finished(FinishReason.LENGTH, tokens))
                    : List.of());
        for (SessionEffect effect : effects) {
          if (effect instanceof Deliver(SampledToken token)) {
            seen.add(token.getTokenId());
          } else if (effect instanceof Finish) {
            finishes++;
          }
        }
      }
      List<Integer> expected = new ArrayList<>();
      for (int i = 0; i < tokens; i++) {
        expected.add(100 + i);
      }
      assertThat(seen).as("seed %d, round %d", seed, round).isEqualTo(expected);
      assertThat(finishes).as("seed %d, round %d", seed, round).isEqualTo(1);
    }
  }

  /** One token is delivered. */
  private void runAggregated() {
    machine.start();
    machine.placed(1, "d", null);
    machine.decode(1, decoded(0, 7));
  }

  /** One token is delivered, and the session's KV is being copied. */
  private void copying() {
    runAggregated();
    machine.move();
    machine.placed(2, "d2", null);
    machine.decode(2, reserved());
  }

  private static DecodeEvent arrived(long contextHash) {
    return DecodeEvent.newBuilder()
        .setKvSettled(KvSettled.newBuilder().setContextHash(contextHash))
        .build();
  }

  private static DecodeEvent suspended(int tokens) {
    return DecodeEvent.newBuilder()
        .setSuspended(Suspended.newBuilder().setGeneratedTokens(tokens))
        .build();
  }

  private void runSplit() {
    machine.start();
    machine.placed(1, "d", "p");
    machine.decode(1, reserved());
  }

  private static void assertFailure(List<SessionEffect> effects, ErrorCode code, String text) {
    assertThat(effects).hasSizeBetween(2, 3);
    assertThat(effects.getFirst()).isInstanceOf(CloseCalls.class);
    Failure failure = ((Fail) effects.getLast()).failure();
    assertThat(failure.getCode()).isEqualTo(code);
    assertThat(failure.getMessage()).contains(text);
  }

  private static SampledToken token(int index, int id) {
    return SampledToken.newBuilder().setIndex(index).setTokenId(id).build();
  }

  private static DecodeEvent reserved() {
    return DecodeEvent.newBuilder().setReserved(TICKET).build();
  }

  private static DecodeEvent decoded(int index, int id) {
    return DecodeEvent.newBuilder().setToken(token(index, id)).build();
  }

  private static DecodeEvent settled(boolean recomputed) {
    return DecodeEvent.newBuilder()
        .setKvSettled(KvSettled.newBuilder().setRecomputed(recomputed))
        .build();
  }

  private static DecodeEvent finished(FinishReason reason, int tokens) {
    return DecodeEvent.newBuilder()
        .setFinished(SessionFinished.newBuilder().setReason(reason).setGeneratedTokens(tokens))
        .build();
  }

  private static DecodeEvent failure(Failure failure) {
    return DecodeEvent.newBuilder().setFailure(failure).build();
  }

  private static PrefillEvent first(int id) {
    return first(0, id);
  }

  private static PrefillEvent first(int index, int id) {
    return PrefillEvent.newBuilder().setFirstToken(token(index, id)).build();
  }

  private static PrefillEvent handedOff() {
    return PrefillEvent.newBuilder().setHandedOff(HandedOff.getDefaultInstance()).build();
  }
}

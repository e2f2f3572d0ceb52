package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.KvSettled;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionFinished;
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
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * Decides the course of one session. Events go in, {@link SessionEffect}s come out; no thread, no
 * clock, no socket. Not thread-safe. Long, because it is one state machine: each transition is
 * here.
 *
 * <p>The course of an attempt: Place, OpenDecode; Reserved brings OpenPrefill; the prefill stream
 * brings the token of the attempt's base index, the decode stream the tokens after it (an
 * aggregated session takes all from the decode stream). The base is the number of tokens delivered
 * before the attempt: 0 in the first. A later attempt gets them as what is generated already, so
 * that it goes on where the one before was lost.
 *
 * <p>A move takes the KV along, while the session goes on: PlaceMove, OpenDecode under another
 * epoch with the context of that moment; Reserved brings HandOver. The decode stream ends in
 * Suspended, after which every token is delivered; KvSettled of the other stream, whichever comes
 * first, brings TakeOver, and the tokens go on there. What fails before Suspended costs the session
 * nothing: it is where it was. After that, it goes on from its tokens.
 *
 * <p>Invariants:
 *
 * <ul>
 *   <li>Tokens are delivered by rising index from 0 without a gap, each once. The decode stream
 *       must be continuous in itself; a token out of order fails the session. Because the two
 *       streams race, tokens of the decode stream are held until the base token is there. A decode
 *       worker that computed the prompt itself, because the hand-off failed, brings the base token
 *       too: whichever comes second must be equal and is dropped.
 *   <li>An event of an epoch that is neither the current one nor that of its move changes nothing.
 *   <li>A session is taken over only with the very tokens that are delivered: the other worker
 *       tells their hash.
 *   <li>After Finish or Fail nothing comes out any more.
 *   <li>An attempt that was lost is followed by another under a higher epoch, on other workers if
 *       there are any. Of attempts that brought no token, at most {@link #MAX_RETRIES} follow one
 *       another. Refusals for want of capacity do not count: every worker is asked once, then the
 *       session waits, as it does when nobody is left.
 * </ul>
 */
final class SessionMachine {

  /** More than a fleet in which workers die every few seconds takes to get one token out. */
  static final int MAX_RETRIES = 5;

  /** Moves that failed, after which a session goes on from its tokens. */
  static final int MAX_MOVES = 3;

  private static final int SILENT = -1;

  /** Where a session is; the columns of its table in docs/handoff.md. */
  enum Phase {
    PLACING,
    WAITING,
    RESERVING,
    /** A prefill worker computes the prompt; no token of the attempt has come. */
    PREFILLING,
    /** The attempt has brought its first token; the decode worker has not said that it goes on. */
    ARRIVING,
    DECODING,
    /** The session decodes; for its move a worker is being chosen. */
    MOVE_PLACING,
    /** The session decodes; the worker that is to take it over has said nothing. */
    MOVE_RESERVING,
    /** The session decodes, and its KV is copied. */
    MOVE_COPYING,
    /** The session stands still; the worker that takes it over has not said that it has all. */
    MOVE_ARRIVING,
    ENDED
  }

  private enum State {
    PLACING,
    WAITING,
    /** Decode is open and has said nothing yet. */
    RESERVING,
    RUNNING,
    ENDED
  }

  private enum MoveState {
    PLACING,
    RESERVING,
    COPYING,
    ARRIVING
  }

  /** A second place for the session, which is to become its place. */
  private static final class Move {
    final int epoch;
    MoveState state = MoveState.PLACING;
    String worker = "";

    /** What the other worker has said before the session stood still. */
    final Deque<DecodeEvent> early = new ArrayDeque<>();

    Move(int epoch) {
      this.epoch = epoch;
    }
  }

  /** {@code worker} is the one to avoid then, null when there is none. */
  private record PrefillEnd(@Nullable String worker, Failure failure) {}

  private final LongSupplier contextHash;
  private State state = State.PLACING;
  private int epoch;

  /** The largest epoch that was ever used. */
  private int newest;

  private @Nullable Move move;

  /** The decode worker was asked to hand the session over, under this epoch. */
  private boolean handOverAsked;

  private int failedMoves;
  private int retries;
  private final Set<String> failedWorkers = new HashSet<>();
  private final Set<String> refusedWorkers = new HashSet<>();

  /** A worker refused for want of capacity since the last wait: waiting may help. */
  private boolean overloadSeen;

  private String decodeWorker = "";
  private @Nullable String prefillWorker;

  /** Index of the next token of the decode stream, SILENT before its first. */
  private int nextDecoded = SILENT;

  /** Index of the next token to deliver; also the count of delivered ones. */
  private int delivered;

  /** Tokens that were delivered when the attempt began: the index of its first token. */
  private int base;

  /** The id of the attempt's first token, which both streams may bring. */
  private int baseTokenId;

  private boolean prefillSpoke;

  private final Deque<SampledToken> held = new ArrayDeque<>();
  private @Nullable SessionFinished heldFinish;

  /** The decode worker goes on without the prefill worker. */
  private boolean settled;

  /** It does because the hand-off failed. */
  private boolean recomputes;

  /** The last hand-off did not come about: the next attempt does without. */
  private boolean handOffLost;

  /** How the prefill stream ended early after token 0; the decode worker may be fine without. */
  private @Nullable PrefillEnd prefillEnd;

  /** The prefill worker has handed over: what its stream does from then on means nothing. */
  private boolean prefillDone;

  private final List<SessionEffect> effects = new ArrayList<>();

  /**
   * @param contextHash of the prompt and all delivered tokens but the last, as in KvSettled
   */
  SessionMachine(LongSupplier contextHash) {
    this.contextHash = contextHash;
  }

  /** Begins the first attempt. */
  List<SessionEffect> start() {
    place(null, false);
    return drain();
  }

  /** Lets the session wait before its first attempt, because others wait already. */
  List<SessionEffect> startWaiting() {
    await();
    return drain();
  }

  /**
   * Answers Place.
   *
   * @param prefill null when the decode worker shall compute the prompt itself
   */
  List<SessionEffect> placed(int ofEpoch, String decode, @Nullable String prefill) {
    Move to = moveOf(ofEpoch);
    if (to != null && to.state == MoveState.PLACING) {
      to.state = MoveState.RESERVING;
      to.worker = decode;
      effects.add(new OpenDecode(to.epoch, true));
    } else if (state == State.PLACING && ofEpoch == epoch) {
      state = State.RESERVING;
      decodeWorker = decode;
      prefillWorker = prefill;
      nextDecoded = SILENT;
      effects.add(new OpenDecode(epoch, prefill != null));
      if (prefill == null) {
        // No reservation is going to come, and the first token may take long.
        effects.add(new Admitted());
      }
    }
    return drain();
  }

  /** Answers Place: no worker left that could be asked. */
  List<SessionEffect> unplaceable(int ofEpoch, Failure reason, @Nullable Failure because) {
    if (moveOf(ofEpoch) != null) {
      move = null;
    } else if (state == State.PLACING && ofEpoch == epoch) {
      // What was begun, or lost by no fault of its own, waits for a worker; who comes to an empty
      // pool is told so.
      boolean tooLong = reason.getCode() == ErrorCode.CONTEXT_LENGTH_EXCEEDED;
      if (delivered > 0
          || (!tooLong
              && (because != null || overloadSeen || reason.getCode() == ErrorCode.OVERLOADED))) {
        await();
      } else {
        fail(reason);
      }
    }
    return drain();
  }

  /** Answers AwaitCapacity. */
  List<SessionEffect> capacity() {
    if (state == State.WAITING) {
      // A worker that was lost may have come back.
      refusedWorkers.clear();
      failedWorkers.clear();
      overloadSeen = false;
      place(null, false);
    }
    return drain();
  }

  List<SessionEffect> decode(int ofEpoch, DecodeEvent event) {
    Move to = moveOf(ofEpoch);
    if (to != null) {
      moveSays(to, event);
    } else if (current(ofEpoch)) {
      if (move != null && move.state == MoveState.ARRIVING && !event.hasFailure()) {
        broken(event.getEventCase() + ": after Suspended (expected: nothing)");
      } else {
        decode(event);
      }
    }
    return drain();
  }

  private void decode(DecodeEvent event) {
    switch (event.getEventCase()) {
      case RESERVED -> {
        if (!awaitsReservation()) {
          broken("reserved: out of turn (expected: once, first, and only before a hand-off)");
        } else {
          state = State.RUNNING;
          effects.add(new Admitted());
          effects.add(new OpenPrefill(epoch, event.getReserved()));
        }
      }
      case TOKEN -> decoded(event.getToken());
      case FINISHED -> {
        if (awaitsReservation()) {
          broken("finished: before the reservation (expected: Reserved first)");
        } else {
          heldFinish = event.getFinished();
          deliverHeld();
        }
      }
      case KV_SETTLED -> {
        if (awaitsReservation()) {
          broken("kv settled: before the reservation (expected: Reserved first)");
        } else {
          settled = true;
          recomputes = event.getKvSettled().getRecomputed();
          handOffLost |= recomputes;
        }
      }
      case SUSPENDED -> suspended(event.getSuspended().getGeneratedTokens());
      case FAILURE -> {
        noteHandOff(event.getFailure());
        lostOn(blamed(event.getFailure(), decodeWorker, prefillWorker), event.getFailure());
      }
      case EVENT_NOT_SET -> broken("event: unset (expected: one that this router knows)");
    }
  }

  /** The worker that is to take the session over has spoken. */
  private void moveSays(Move to, DecodeEvent event) {
    switch (event.getEventCase()) {
      case RESERVED -> {
        if (to.state == MoveState.RESERVING) {
          to.state = MoveState.COPYING;
          handOverAsked = true;
          effects.add(new HandOver(to.epoch, event.getReserved()));
        } else {
          moveBroken(to, "reserved: out of turn (expected: once, first)");
        }
      }
      case FAILURE ->
          moveFailed(to, blamed(event.getFailure(), to.worker, decodeWorker), event.getFailure());
      case KV_SETTLED, TOKEN, FINISHED -> {
        if (to.state == MoveState.RESERVING || to.early.isEmpty() != event.hasKvSettled()) {
          moveBroken(
              to,
              "%s: out of turn (expected: Reserved, KvSettled, then tokens)"
                  .formatted(event.getEventCase()));
        } else {
          to.early.add(event);
          takeOver(to);
        }
      }
      case SUSPENDED, EVENT_NOT_SET ->
          moveBroken(to, "%s (expected: Reserved or KvSettled)".formatted(event.getEventCase()));
    }
  }

  private void moveBroken(Move to, String what) {
    fail(Failures.of(ErrorCode.INTERNAL, "worker " + to.worker + ": " + what));
  }

  /** Goes on at the other worker, when the session stands still here and is whole there. */
  private void takeOver(Move to) {
    if (to.state != MoveState.ARRIVING || to.early.isEmpty()) {
      return;
    }
    KvSettled arrived = to.early.remove().getKvSettled();
    if (arrived.getRecomputed()
        || !arrived.hasContextHash()
        || arrived.getContextHash() != contextHash.getAsLong()) {
      moveBroken(
          to,
          "kv settled: recomputed %s, context hash %016x (expected: the KV of what is delivered, %016x)"
              .formatted(
                  arrived.getRecomputed(), arrived.getContextHash(), contextHash.getAsLong()));
      return;
    }
    move = null;
    beginAttempt(to.epoch);
    state = State.RUNNING;
    decodeWorker = to.worker;
    prefillWorker = null;
    nextDecoded = SILENT;
    settled = true;
    failedMoves = 0;
    effects.add(new TakeOver(epoch));
    while (!to.early.isEmpty() && state != State.ENDED) {
      decode(to.early.remove());
    }
  }

  /** Before the session stands still nothing is lost with a move. */
  private void moveFailed(Move to, @Nullable String worker, Failure failure) {
    if (to.state == MoveState.ARRIVING) {
      // The client's request has run until now: whatever is said of a move, it is not at fault.
      lostOn(
          worker,
          isWorthRetrying(failure)
              ? failure
              : Failures.of(ErrorCode.HANDOFF_FAILED, failure.getMessage()));
      return;
    }
    closeMove();
    if (!isRefusal(failure) && ++failedMoves == MAX_MOVES) {
      replay();
    }
  }

  private void closeMove() {
    Move left = move;
    if (left != null) {
      move = null;
      if (left.state != MoveState.PLACING) {
        effects.add(new CloseMove(left.epoch));
      }
    }
  }

  /** The decode stream has ended; {@code cause} tells how it broke, null when in order. */
  List<SessionEffect> decodeClosed(int ofEpoch, @Nullable Failure cause) {
    Move to = moveOf(ofEpoch);
    if (to != null) {
      boolean finished = !to.early.isEmpty() && to.early.getLast().hasFinished();
      if (cause != null || !finished) {
        moveFailed(to, to.worker, cause != null ? cause : endedEarly("decode worker " + to.worker));
      }
      return drain();
    }
    if (current(ofEpoch) && move != null && move.state == MoveState.ARRIVING) {
      // It has nothing more to say; how its hand-over went, the other worker and its answer tell.
      return drain();
    }
    // A finish that is held needs its stream no more, only token 0.
    if (current(ofEpoch) && !(cause == null && heldFinish != null)) {
      lostOn(decodeWorker, cause != null ? cause : endedEarly("decode worker " + decodeWorker));
    }
    return drain();
  }

  private static Failure endedEarly(String worker) {
    return Failures.of(ErrorCode.INTERNAL, worker + ": ended its stream without a finish");
  }

  List<SessionEffect> prefill(int ofEpoch, PrefillEvent event) {
    if (!current(ofEpoch)) {
      return drain();
    }
    switch (event.getEventCase()) {
      case FIRST_TOKEN -> firstToken(event.getFirstToken());
      case HANDED_OFF -> {
        if (prefillSpoke) {
          prefillDone = true;
        } else {
          broken("handed off: before the first token (expected: FirstToken first)");
        }
      }
      case FAILURE -> {
        noteHandOff(event.getFailure());
        prefillLost(blamed(event.getFailure(), prefillWorker, decodeWorker), event.getFailure());
      }
      case EVENT_NOT_SET -> broken("event: unset (expected: one that this router knows)");
    }
    return drain();
  }

  /** The prefill stream has ended; {@code cause} tells how it broke, null when in order. */
  List<SessionEffect> prefillClosed(int ofEpoch, @Nullable Failure cause) {
    if (current(ofEpoch) && !prefillDone) {
      prefillLost(
          prefillWorker,
          cause != null
              ? cause
              : Failures.of(
                  ErrorCode.INTERNAL,
                  "prefill worker " + prefillWorker + ": ended its stream without a hand-off"));
    }
    return drain();
  }

  /** The time after a lost prefill stream is over in which the decode worker could show a token. */
  List<SessionEffect> graceOver(int ofEpoch) {
    if (current(ofEpoch) && prefillEnd != null && awaitsDecode()) {
      lostOn(prefillEnd.worker(), prefillEnd.failure());
    }
    return drain();
  }

  /**
   * The decode worker is to be left: the session moves with its KV when it decodes, and goes
   * elsewhere when nothing has been done for it yet. No effect when it is on its way already, or
   * when it is about to decode: it can move then.
   */
  List<SessionEffect> move() {
    if (state == State.RUNNING && !awaitsFirstToken() && !awaitsDecode()) {
      if (move == null) {
        move = new Move(++newest);
        effects.add(new PlaceMove(newest, avoided()));
      }
    } else if (state == State.RESERVING) {
      replay();
    }
    return drain();
  }

  /** The session is being moved, and may still be where it was. */
  boolean moving() {
    return move != null;
  }

  /** The worker has not handed the session over. */
  List<SessionEffect> handOverFailed(int ofEpoch, Failure failure) {
    Move to = moveOf(ofEpoch);
    if (to != null) {
      // A hand-over has two sides: nobody is to blame for sure.
      moveFailed(to, null, failure);
    }
    return drain();
  }

  /** Ends the session with a failure from outside: deadline, cancellation, shutdown. */
  List<SessionEffect> end(Failure failure) {
    fail(failure);
    return drain();
  }

  /** Ends the session in order from outside: a stop string was found. */
  List<SessionEffect> stop() {
    if (state != State.ENDED) {
      close();
      effects.add(new Finish(FinishReason.STOP));
    }
    return drain();
  }

  boolean ended() {
    return state == State.ENDED;
  }

  /** A summary of the fields. */
  Phase phase() {
    return switch (state) {
      case PLACING -> Phase.PLACING;
      case WAITING -> Phase.WAITING;
      case RESERVING -> Phase.RESERVING;
      case RUNNING -> running();
      case ENDED -> Phase.ENDED;
    };
  }

  private Phase running() {
    if (move != null) {
      return switch (move.state) {
        case PLACING -> Phase.MOVE_PLACING;
        case RESERVING -> Phase.MOVE_RESERVING;
        case COPYING -> Phase.MOVE_COPYING;
        case ARRIVING -> Phase.MOVE_ARRIVING;
      };
    }
    if (!awaitsDecode()) {
      return Phase.DECODING;
    }
    return progressed() ? Phase.ARRIVING : Phase.PREFILLING;
  }

  /** Tokens of the decode stream wait for token 0; nothing more should be asked for. */
  boolean holding() {
    return !held.isEmpty();
  }

  int epoch() {
    return epoch;
  }

  /** Attempts that ended without a token, one after another, up to now. */
  int wastedInARow() {
    return retries;
  }

  private boolean current(int ofEpoch) {
    return ofEpoch == epoch && (state == State.RESERVING || state == State.RUNNING);
  }

  private @Nullable Move moveOf(int ofEpoch) {
    return move != null && move.epoch == ofEpoch ? move : null;
  }

  private void suspended(int generated) {
    Move to = move;
    if (!handOverAsked) {
      broken("suspended: unasked (expected: after HandOver)");
    } else if (to == null || to.state != MoveState.COPYING || generated != delivered) {
      // The move was given up while this was on its way.
      replay();
    } else {
      to.state = MoveState.ARRIVING;
      takeOver(to);
    }
  }

  /** Leaves the attempt and goes on elsewhere, at nobody's cost. */
  private void replay() {
    effects.add(new CloseCalls(epoch));
    place(Failures.of(ErrorCode.DRAINING, "worker " + decodeWorker + ": draining"), false);
  }

  private void decoded(SampledToken token) {
    if (awaitsReservation()) {
      broken("token: before the reservation (expected: Reserved first)");
      return;
    }
    int index = token.getIndex();
    boolean continuous =
        nextDecoded == SILENT
            ? index == base || (index == base + 1 && prefillWorker != null)
            : index == nextDecoded;
    if (!continuous || heldFinish != null) {
      broken(
          "token index: "
              + index
              + " (expected: "
              + (nextDecoded == SILENT ? base : nextDecoded)
              + ")");
      return;
    }
    state = State.RUNNING;
    handOffLost &= recomputes;
    nextDecoded = index + 1;
    held.add(token);
    deliverHeld();
  }

  private void firstToken(SampledToken token) {
    if (token.getIndex() != base || prefillSpoke || awaitsReservation()) {
      broken("first token: index " + token.getIndex() + " (expected: " + base + ", once)");
      return;
    }
    prefillSpoke = true;
    deliver(token);
    if (state == State.ENDED) {
      // The prefill worker ended the session: the decode worker waits for nothing.
      effects.addFirst(new CloseCalls(epoch));
    }
    deliverHeld();
  }

  private void deliverHeld() {
    while (state != State.ENDED && !held.isEmpty() && held.element().getIndex() <= delivered) {
      deliver(held.remove());
    }
    SessionFinished finished = heldFinish;
    if (state == State.ENDED || finished == null || !held.isEmpty() || awaitsFirstToken()) {
      return;
    }
    if (finished.getGeneratedTokens() != delivered) {
      broken(
          "finished: "
              + finished.getGeneratedTokens()
              + " generated tokens (expected: "
              + delivered
              + " as delivered)");
    } else if (finished.getReason() != FinishReason.STOP
        && finished.getReason() != FinishReason.LENGTH) {
      broken("finished: reason " + finished.getReason() + " (expected: STOP or LENGTH)");
    } else {
      finish(finished.getReason());
    }
  }

  /** The decode worker owes its reservation before anything else may come. */
  private boolean awaitsReservation() {
    return state == State.RESERVING && prefillWorker != null;
  }

  /** The decode stream is over before the prefill stream has said anything. */
  private boolean awaitsFirstToken() {
    return prefillWorker != null && !progressed();
  }

  /** The attempt has brought a token. */
  private boolean progressed() {
    return delivered > base;
  }

  /** Delivers a token, or drops the base token when both streams bring it. */
  private void deliver(SampledToken token) {
    if (token.getIndex() < delivered) {
      if (token.getTokenId() != baseTokenId) {
        broken(
            "token "
                + base
                + ": id "
                + token.getTokenId()
                + " (expected: "
                + baseTokenId
                + " as delivered)");
      }
      return;
    }
    if (!progressed()) {
      baseTokenId = token.getTokenId();
    }
    delivered++;
    effects.add(new Deliver(token));
    switch (token.getFinishReason()) {
      case FINISH_REASON_UNSPECIFIED -> {}
      case STOP, LENGTH -> finish(token.getFinishReason());
      case UNRECOGNIZED -> broken("token: unknown finish reason (expected: STOP or LENGTH)");
    }
  }

  /** The worker that a failure speaks of: one that says "worker lost" means the other. */
  private static @Nullable String blamed(
      Failure failure, @Nullable String by, @Nullable String peer) {
    return failure.getCode() == ErrorCode.WORKER_LOST && peer != null ? peer : by;
  }

  /** A worker speaks of its peer: the two may not reach each other, though the router does both. */
  private void noteHandOff(Failure failure) {
    handOffLost |=
        prefillWorker != null
            && awaitsDecode()
            && (failure.getCode() == ErrorCode.WORKER_LOST
                || failure.getCode() == ErrorCode.HANDOFF_FAILED);
  }

  private void prefillLost(@Nullable String worker, Failure failure) {
    if (recomputes) {
      // The decode worker computes the prompt itself, and brings every token of it.
      return;
    }
    if (!progressed()) {
      lostOn(worker, failure);
    } else if (awaitsDecode() && prefillEnd == null) {
      // The hand-off may be complete, with only its last word to us lost, or the decode worker
      // computes the prompt itself: it knows. It may hear nothing of its peer, too: we do not wait
      // for ever.
      prefillEnd = new PrefillEnd(worker, failure);
      effects.add(new StartGrace(epoch));
    }
  }

  /** The decode worker has not said yet that it goes on. */
  private boolean awaitsDecode() {
    return nextDecoded == SILENT && !settled;
  }

  /** A worker broke the protocol: its answers cannot be trusted. */
  private void broken(String what) {
    fail(
        Failures.of(
            ErrorCode.INTERNAL, "workers " + decodeWorker + ", " + prefillWorker + ": " + what));
  }

  /** The attempt is lost on a worker: another one goes on after the tokens delivered. */
  private void lostOn(@Nullable String worker, Failure failure) {
    boolean refused = state == State.RESERVING && isRefusal(failure);
    boolean wasted = !refused && !progressed();
    if (!isWorthRetrying(failure) || (wasted && retries == MAX_RETRIES)) {
      fail(failure);
      return;
    }
    if (refused && worker != null) {
      refusedWorkers.add(worker);
      overloadSeen |= failure.getCode() == ErrorCode.OVERLOADED;
    } else {
      retries = wasted ? retries + 1 : 0;
      if (worker != null && failure.getCode() != ErrorCode.HANDOFF_FAILED) {
        // A hand-off has two sides and a wire between them: nobody is to blame for sure.
        failedWorkers.add(worker);
      }
    }
    effects.add(new CloseCalls(epoch));
    place(failure, wasted);
  }

  private static boolean isRefusal(Failure failure) {
    return failure.getCode() == ErrorCode.OVERLOADED || failure.getCode() == ErrorCode.DRAINING;
  }

  /**
   * A fault of a worker's own may be the session's doing; it is tried a few times all the same. A
   * context that is too long for one worker, though it was not for another, fits elsewhere.
   */
  private boolean isWorthRetrying(Failure failure) {
    return switch (failure.getCode()) {
      case WORKER_LOST, HANDOFF_FAILED, DRAINING, OVERLOADED, NO_WORKER, INTERNAL -> true;
      case CONTEXT_LENGTH_EXCEEDED -> delivered > 0;
      default -> false;
    };
  }

  private void place(@Nullable Failure because, boolean wasted) {
    closeMove();
    beginAttempt(newest + 1);
    state = State.PLACING;
    effects.add(new Place(epoch, avoided(), because, wasted, handOffLost));
  }

  private Set<String> avoided() {
    Set<String> avoided = new HashSet<>(failedWorkers);
    avoided.addAll(refusedWorkers);
    return avoided;
  }

  private void beginAttempt(int number) {
    epoch = number;
    newest = Math.max(newest, number);
    base = delivered;
    held.clear();
    heldFinish = null;
    prefillEnd = null;
    settled = false;
    recomputes = false;
    prefillDone = false;
    prefillSpoke = false;
    handOverAsked = false;
  }

  private void await() {
    state = State.WAITING;
    effects.add(new AwaitCapacity());
  }

  /** The workers have come to the end by themselves. */
  private void finish(FinishReason reason) {
    if (state != State.ENDED) {
      state = State.ENDED;
      held.clear();
      effects.add(new LetCallsEnd(epoch));
      closeMove();
      effects.add(new Finish(reason));
    }
  }

  private void fail(Failure failure) {
    if (state != State.ENDED) {
      close();
      effects.add(new Fail(failure));
    }
  }

  private void close() {
    if (state == State.RESERVING || state == State.RUNNING) {
      effects.add(new CloseCalls(epoch));
    }
    closeMove();
    state = State.ENDED;
    held.clear();
  }

  private List<SessionEffect> drain() {
    List<SessionEffect> out = List.copyOf(effects);
    effects.clear();
    return out;
  }
}

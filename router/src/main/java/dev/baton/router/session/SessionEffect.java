package dev.baton.router.session;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.SampledToken;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/** What {@link SessionMachine} wants done, in order. */
sealed interface SessionEffect {

  /**
   * Choose workers for the epoch; answered by {@code placed} or {@code unplaceable}.
   *
   * @param avoided ids of workers that must not be chosen
   * @param because why the attempt before ended; null in the first
   * @param wasted the attempt before brought no token, so that this one is on the retry budget
   * @param whole without a prefill worker, because a hand-off did not come about
   */
  record Place(
      int epoch, Set<String> avoided, @Nullable Failure because, boolean wasted, boolean whole)
      implements SessionEffect {
    public Place {
      avoided = Set.copyOf(avoided);
    }
  }

  /**
   * Choose another decode worker for a session that goes on meanwhile where it is; answered as
   * Place. The epoch is that of the move.
   */
  record PlaceMove(int epoch, Set<String> avoided) implements SessionEffect {
    public PlaceMove {
      avoided = Set.copyOf(avoided);
    }
  }

  /**
   * Have the session's worker hand it over to the epoch; answered by handOverFailed if it fails.
   */
  record HandOver(int epoch, HandoffTicket ticket) implements SessionEffect {}

  /** Cancel the call of a move that is given up. */
  record CloseMove(int epoch) implements SessionEffect {}

  /**
   * The epoch of the move is the session's from now on. The call of the one before ends by itself,
   * or is cancelled after a while.
   */
  record TakeOver(int epoch) implements SessionEffect {}

  /** No decode worker takes the session now; answered by {@code capacity} when one may. */
  record AwaitCapacity() implements SessionEffect {}

  /** A decode worker has taken the session, or is going to: others may try. */
  record Admitted() implements SessionEffect {}

  record OpenDecode(int epoch, boolean awaitHandoff) implements SessionEffect {}

  record OpenPrefill(int epoch, HandoffTicket ticket) implements SessionEffect {}

  /** Cancel the calls of the epoch that are still open. */
  record CloseCalls(int epoch) implements SessionEffect {}

  /** The calls of the epoch end by themselves; cancel what is still open after a while. */
  record LetCallsEnd(int epoch) implements SessionEffect {}

  /** Call {@code graceOver} of the epoch after a short while. */
  record StartGrace(int epoch) implements SessionEffect {}

  record Deliver(SampledToken token) implements SessionEffect {}

  /** The last effect. */
  record Finish(FinishReason reason) implements SessionEffect {}

  /** The last effect. */
  record Fail(Failure failure) implements SessionEffect {}
}

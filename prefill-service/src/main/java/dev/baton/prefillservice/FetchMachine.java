package dev.baton.prefillservice;

import static dev.baton.prefillservice.FetchMachine.Effect.CANCEL_IMPORT;
import static dev.baton.prefillservice.FetchMachine.Effect.FAIL;
import static dev.baton.prefillservice.FetchMachine.Effect.FREE_BLOCKS;
import static dev.baton.prefillservice.FetchMachine.Effect.LEAVE;
import static dev.baton.prefillservice.FetchMachine.Effect.PUBLISH;

import java.util.List;

/**
 * The life of a prefix on its way into this worker's cache, as a pure state machine: events in,
 * effects out. docs/handoff.md has the whole table of states and events, and a test holds this to
 * it.
 */
final class FetchMachine {

  enum State {
    /** The transfer unpacks into the reserved blocks. */
    IMPORTING,
    /** As IMPORTING, of a fetch that was given up: the import's last word is awaited. */
    CANCELLING,
    FREE
  }

  enum Effect {
    CANCEL_IMPORT,
    /** Gives the blocks to the prefix cache, and ends the stream with what it holds now. */
    PUBLISH,
    FREE_BLOCKS,
    /** Ends the stream with the failure at hand. */
    FAIL,
    /** The last effect. */
    LEAVE
  }

  private State state = State.IMPORTING;

  State state() {
    return state;
  }

  /** All is there and verified; worth keeping, even if nobody waits for it any more. */
  List<Effect> imported() {
    return state == State.FREE ? List.of() : to(State.FREE, PUBLISH, FREE_BLOCKS, LEAVE);
  }

  List<Effect> importFailed() {
    return state == State.FREE ? List.of() : to(State.FREE, FAIL, FREE_BLOCKS, LEAVE);
  }

  List<Effect> engineFailed() {
    return state == State.IMPORTING ? to(State.CANCELLING, FAIL, CANCEL_IMPORT) : List.of();
  }

  /**
   * The call is cancelled, or the deadline has passed, or the worker stops; the stream has ended.
   */
  List<Effect> abandoned() {
    return state == State.IMPORTING ? to(State.CANCELLING, CANCEL_IMPORT) : List.of();
  }

  private List<Effect> to(State next, Effect... effects) {
    state = next;
    return List.of(effects);
  }
}

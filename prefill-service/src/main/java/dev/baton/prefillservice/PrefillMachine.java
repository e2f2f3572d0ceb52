package dev.baton.prefillservice;

import static dev.baton.prefillservice.PrefillMachine.Effect.ABORT_EXPORT;
import static dev.baton.prefillservice.PrefillMachine.Effect.END_STREAM;
import static dev.baton.prefillservice.PrefillMachine.Effect.FAIL;
import static dev.baton.prefillservice.PrefillMachine.Effect.FINISH_EXPORT;
import static dev.baton.prefillservice.PrefillMachine.Effect.FREE_BLOCKS;
import static dev.baton.prefillservice.PrefillMachine.Effect.HANDED_OFF;
import static dev.baton.prefillservice.PrefillMachine.Effect.LEAVE;
import static dev.baton.prefillservice.PrefillMachine.Effect.SEND_TOKEN;
import static dev.baton.prefillservice.PrefillMachine.Effect.TELL_EXPORT;

import java.util.List;

/**
 * The life of KV that leaves by a call of its own, a computed prompt's or a cached prefix's, as a
 * pure state machine: events in, effects out. The state says who reads the blocks, and so when they
 * may be freed. docs/handoff.md has the whole table of states and events, and a test holds this to
 * it.
 *
 * <p>Once a prompt's export is finished, nothing here gives it up: the importer says whether it
 * wants the KV, and the lease bounds how long it takes. So a worker that stops, or a call that
 * breaks, does not cost the importer what is computed already. A prefix is nobody's last hope, and
 * is given up.
 */
final class PrefillMachine {

  enum State {
    /** The engine writes the blocks, the export reads what is computed. */
    COMPUTING,
    /** The export reads the blocks; all is computed. */
    PACKING,
    /** As PACKING, of a prefix: the cache's blocks, pinned. */
    PINNED,
    /** Nobody: all is packed, and on its way. */
    SENDING,
    /** As SENDING, of a prefix. */
    PREFIX_SENDING,
    /** The export, until its last word; nobody wants it any more. */
    ABORTING,
    ENDED
  }

  enum Effect {
    /** Says to the export what is computed. */
    TELL_EXPORT,
    SEND_TOKEN,
    /** Ends the export with its manifest. */
    FINISH_EXPORT,
    ABORT_EXPORT,
    FREE_BLOCKS,
    /** Ends the stream with what was moved. */
    HANDED_OFF,
    /** Ends the stream with the failure at hand. */
    FAIL,
    /** Ends the stream without a further event. */
    END_STREAM,
    /** The last effect. */
    LEAVE
  }

  private State state;

  private PrefillMachine(State state) {
    this.state = state;
  }

  /** Of a prompt that is computed here. */
  static PrefillMachine computing() {
    return new PrefillMachine(State.COMPUTING);
  }

  /** Of a cached prefix; the export is open and finished. */
  static PrefillMachine pinned() {
    return new PrefillMachine(State.PINNED);
  }

  State state() {
    return state;
  }

  /** More tokens are computed. */
  List<Effect> computed() {
    return state == State.COMPUTING ? List.of(TELL_EXPORT) : List.of();
  }

  List<Effect> firstToken() {
    return state == State.COMPUTING ? to(State.PACKING, SEND_TOKEN, FINISH_EXPORT) : List.of();
  }

  /** The first token is the last one too: nothing is to be handed over. */
  List<Effect> onlyToken() {
    return state == State.COMPUTING
        ? to(State.ABORTING, SEND_TOKEN, END_STREAM, ABORT_EXPORT)
        : List.of();
  }

  /** The blocks are the engine's again. */
  List<Effect> engineFailed() {
    return switch (state) {
      case COMPUTING, PINNED -> to(State.ABORTING, FAIL, ABORT_EXPORT);
      // What is packed may still arrive; what is not fails the export.
      case PACKING -> List.of(FAIL);
      case SENDING, PREFIX_SENDING, ABORTING, ENDED -> List.of();
    };
  }

  /**
   * The call is cancelled, or the deadline has passed, or the worker stops; the stream has ended.
   */
  List<Effect> abandoned() {
    return switch (state) {
      case COMPUTING, PINNED, PREFIX_SENDING -> to(State.ABORTING, ABORT_EXPORT);
      case PACKING, SENDING, ABORTING, ENDED -> List.of();
    };
  }

  /** The export reads no block any more. */
  List<Effect> packed() {
    return switch (state) {
      case PACKING -> to(State.SENDING, FREE_BLOCKS);
      case PINNED -> to(State.PREFIX_SENDING, FREE_BLOCKS);
      case ABORTING -> List.of(FREE_BLOCKS);
      case COMPUTING, SENDING, PREFIX_SENDING, ENDED -> List.of();
    };
  }

  List<Effect> acknowledged() {
    return state == State.ENDED ? List.of() : to(State.ENDED, FREE_BLOCKS, HANDED_OFF, LEAVE);
  }

  List<Effect> exportFailed() {
    return state == State.ENDED ? List.of() : to(State.ENDED, FREE_BLOCKS, FAIL, LEAVE);
  }

  private List<Effect> to(State next, Effect... effects) {
    state = next;
    return List.of(effects);
  }
}

package dev.baton.decodeservice;

import static dev.baton.decodeservice.DecodeMachine.Effect.ABORT_EXPORT;
import static dev.baton.decodeservice.DecodeMachine.Effect.AWAIT_EXPORTER;
import static dev.baton.decodeservice.DecodeMachine.Effect.CANCEL_IMPORT;
import static dev.baton.decodeservice.DecodeMachine.Effect.END_STREAM;
import static dev.baton.decodeservice.DecodeMachine.Effect.FAIL;
import static dev.baton.decodeservice.DecodeMachine.Effect.FREE_BLOCKS;
import static dev.baton.decodeservice.DecodeMachine.Effect.RECOMPUTE;
import static dev.baton.decodeservice.DecodeMachine.Effect.RELEASE;
import static dev.baton.decodeservice.DecodeMachine.Effect.REPLY;
import static dev.baton.decodeservice.DecodeMachine.Effect.START;
import static dev.baton.decodeservice.DecodeMachine.Effect.SUSPEND;

import dev.baton.kvtransfer.HandoffException;
import java.util.List;

/**
 * The life of one session on a decode worker, as a pure state machine: events in, effects out. The
 * state says who may touch the session's blocks, and so when they may be released. docs/handoff.md
 * has the whole table of states and events, and a test holds this to it.
 *
 * <p>KV that stayed corrupt after all resends is not used, and KV whose exporter is gone does not
 * come: the session is computed here instead; unless its context grew meanwhile elsewhere, for then
 * this worker does not know all of it.
 */
final class DecodeMachine {

  enum State {
    /** The transfer unpacks into the reserved blocks. */
    IMPORTING,
    /** As IMPORTING, of a session that was given up: the import's last word is awaited. */
    CANCELLING,
    /** Nobody holds anything; the exporter's word to the router goes before ours. */
    WAITING,
    /** The engine alone. */
    DECODING,
    /** The engine, and an export to another decode worker reads. */
    COPYING,
    /** The export alone; the session stands still. */
    STANDING,
    /** The session is over here, and the export's last word is awaited. */
    ABORTING,
    FREE
  }

  enum Effect {
    /** Has the engine decode from what has arrived, and tells the router. */
    START,
    /** Frees the reserved blocks, has the engine compute all, and tells the router. */
    RECOMPUTE,
    /** Frees the reserved blocks; the session stays. */
    FREE_BLOCKS,
    /** Has {@link #exporterHasSpoken} called after a while. */
    AWAIT_EXPORTER,
    CANCEL_IMPORT,
    /** Stops the session for good, tells the router, and ends the export with all tokens. */
    SUSPEND,
    ABORT_EXPORT,
    /** Answers who asked for the move. */
    REPLY,
    /** Ends the stream with the failure at hand. */
    FAIL,
    /** Ends the stream without a further event. */
    END_STREAM,
    /** Frees what the session holds, and leaves: the last effect. */
    RELEASE
  }

  private State state;
  private final boolean growing;

  private DecodeMachine(State state, boolean growing) {
    this.state = state;
    this.growing = growing;
  }

  /** Of a session that is computed here. */
  static DecodeMachine computing() {
    return new DecodeMachine(State.DECODING, false);
  }

  /**
   * Of a session whose KV comes by hand-off.
   *
   * @param growing from another decode worker, where its context still grows
   */
  static DecodeMachine importing(boolean growing) {
    return new DecodeMachine(State.IMPORTING, growing);
  }

  State state() {
    return state;
  }

  /** All KV is there and verified. */
  List<Effect> imported() {
    return switch (state) {
      case IMPORTING -> to(State.DECODING, START);
      case CANCELLING -> to(State.FREE, RELEASE);
      default -> List.of();
    };
  }

  /** All KV is there, but the manifest speaks of another session than this one. */
  List<Effect> importedWrong() {
    return switch (state) {
      case IMPORTING -> to(State.FREE, FAIL, RELEASE);
      case CANCELLING -> to(State.FREE, RELEASE);
      default -> List.of();
    };
  }

  List<Effect> importFailed(HandoffException.Kind kind) {
    if (state == State.CANCELLING) {
      return to(State.FREE, RELEASE);
    }
    if (state != State.IMPORTING) {
      return List.of();
    }
    return switch (kind) {
      case CORRUPT, PEER_LOST, TIMEOUT ->
          growing ? to(State.FREE, FAIL, RELEASE) : to(State.DECODING, RECOMPUTE);
      case PEER_ABORTED -> to(State.WAITING, FREE_BLOCKS, AWAIT_EXPORTER);
      case CANCELLED, INTERNAL -> to(State.FREE, FAIL, RELEASE);
    };
  }

  /** The exporter has had its time to tell the router why it gave up. */
  List<Effect> exporterHasSpoken() {
    return state == State.WAITING ? to(State.FREE, FAIL, RELEASE) : List.of();
  }

  /** The engine has refused to start the session or to compute it. */
  List<Effect> refused() {
    return state == State.DECODING ? to(State.FREE, FAIL, RELEASE) : List.of();
  }

  /** The session has had its last token, or the engine has failed it; its stream has ended. */
  List<Effect> ended() {
    return switch (state) {
      case DECODING -> to(State.FREE, RELEASE);
      case COPYING, STANDING -> to(State.ABORTING, ABORT_EXPORT);
      default -> List.of();
    };
  }

  /** An export to another decode worker is open. Only in DECODING. */
  void copying() {
    if (state != State.DECODING) {
      throw new IllegalStateException("state: %s (expected: DECODING)".formatted(state));
    }
    state = State.COPYING;
  }

  /** The other worker has nearly all KV, or no more room. */
  List<Effect> nearlyCopied() {
    return state == State.COPYING ? to(State.STANDING, SUSPEND) : List.of();
  }

  /** The other worker has verified everything. */
  List<Effect> exported() {
    return switch (state) {
      case STANDING -> to(State.FREE, END_STREAM, RELEASE, REPLY);
      case ABORTING -> to(State.FREE, RELEASE, REPLY);
      default -> List.of();
    };
  }

  List<Effect> exportFailed() {
    return switch (state) {
      case COPYING -> to(State.DECODING, REPLY);
      case STANDING -> to(State.FREE, END_STREAM, RELEASE, REPLY);
      case ABORTING -> to(State.FREE, RELEASE, REPLY);
      default -> List.of();
    };
  }

  /** The call is cancelled, or the deadline has passed; the stream has ended. */
  List<Effect> abandoned() {
    return switch (state) {
      case IMPORTING -> to(State.CANCELLING, CANCEL_IMPORT);
      case WAITING, DECODING -> to(State.FREE, RELEASE);
      case COPYING, STANDING -> to(State.ABORTING, ABORT_EXPORT);
      case CANCELLING, ABORTING, FREE -> List.of();
    };
  }

  private List<Effect> to(State next, Effect... effects) {
    state = next;
    return List.of(effects);
  }
}

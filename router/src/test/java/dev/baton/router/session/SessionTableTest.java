package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.testing.StateTable;
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
import dev.baton.router.session.SessionMachine.Phase;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Drives the session's machine through every cell of its table in docs/handoff.md: brought to the
 * column's phase in the usual way, given the row's event, it must do what the cell says. Rows and
 * events must be the same set.
 */
class SessionTableTest {

  private static final long HASH = 9;

  /** Epoch of the session's move. */
  private static final int MOVE = 2;

  /** A machine in a phase, and the epoch and token that are next there. */
  private static final class Driven {
    final SessionMachine machine = new SessionMachine(() -> HASH);

    Driven(Phase phase) {
      switch (phase) {
        case PLACING -> machine.start();
        case WAITING -> machine.startWaiting();
        case RESERVING -> reserving();
        case PREFILLING -> prefilling();
        case ARRIVING -> arriving();
        case DECODING -> decoding();
        case MOVE_PLACING -> movePlacing();
        case MOVE_RESERVING -> moveReserving();
        case MOVE_COPYING -> moveCopying();
        case MOVE_ARRIVING -> {
          moveCopying();
          machine.decode(1, suspended());
        }
        case ENDED -> {
          machine.start();
          machine.end(Failures.of(ErrorCode.CANCELLED, "cancelled"));
        }
      }
      assertThat(machine.phase()).isEqualTo(phase);
    }

    private void reserving() {
      machine.start();
      machine.placed(1, "d", "p");
    }

    private void prefilling() {
      reserving();
      machine.decode(1, reserved());
    }

    private void arriving() {
      prefilling();
      machine.prefill(1, first(0));
    }

    private void decoding() {
      arriving();
      machine.decode(1, settled());
    }

    private void movePlacing() {
      decoding();
      machine.move();
    }

    private void moveReserving() {
      movePlacing();
      machine.placed(2, "e", null);
    }

    private void moveCopying() {
      moveReserving();
      machine.decode(2, reserved());
    }

    int epoch() {
      return machine.epoch();
    }

    /** Index of the next token of the decode stream: the prefill worker owes token 0 at first. */
    int next() {
      return 1;
    }
  }

  private interface Event {
    List<SessionEffect> on(Driven driven);
  }

  private static Map<String, Event> events() {
    Map<String, Event> events = new LinkedHashMap<>();
    events.put("placed with a prefill worker", d -> d.machine.placed(d.epoch(), "d", "p"));
    events.put("placed without one", d -> d.machine.placed(d.epoch(), "d", null));
    events.put(
        "no worker in the pool",
        d -> d.machine.unplaceable(d.epoch(), of(ErrorCode.NO_WORKER), null));
    events.put(
        "no worker has room",
        d -> d.machine.unplaceable(d.epoch(), of(ErrorCode.OVERLOADED), null));
    events.put("capacity", d -> d.machine.capacity());
    events.put("decode: Reserved", d -> d.machine.decode(d.epoch(), reserved()));
    events.put("decode: KvSettled", d -> d.machine.decode(d.epoch(), settled()));
    events.put("decode: the next token", d -> d.machine.decode(d.epoch(), decoded(d.next())));
    events.put("decode: a token out of order", d -> d.machine.decode(d.epoch(), decoded(9)));
    events.put(
        "decode: Finished, as many tokens as delivered",
        d -> d.machine.decode(d.epoch(), finished(1)));
    events.put("decode: Finished, another count", d -> d.machine.decode(d.epoch(), finished(5)));
    events.put("decode: Suspended", d -> d.machine.decode(d.epoch(), suspended()));
    events.put(
        "decode: Failure OVERLOADED",
        d -> d.machine.decode(d.epoch(), failure(ErrorCode.OVERLOADED)));
    events.put(
        "decode: Failure HANDOFF_FAILED",
        d -> d.machine.decode(d.epoch(), failure(ErrorCode.HANDOFF_FAILED)));
    events.put(
        "decode: Failure INVALID_REQUEST",
        d -> d.machine.decode(d.epoch(), failure(ErrorCode.INVALID_REQUEST)));
    events.put(
        "decode: the stream breaks",
        d -> d.machine.decodeClosed(d.epoch(), of(ErrorCode.WORKER_LOST)));
    events.put("prefill: FirstToken", d -> d.machine.prefill(d.epoch(), first(0)));
    events.put(
        "prefill: FirstToken that ends the session",
        d ->
            d.machine.prefill(
                d.epoch(),
                PrefillEvent.newBuilder()
                    .setFirstToken(token(0).toBuilder().setFinishReason(FinishReason.STOP))
                    .build()));
    events.put(
        "prefill: HandedOff",
        d ->
            d.machine.prefill(
                d.epoch(),
                PrefillEvent.newBuilder().setHandedOff(HandedOff.getDefaultInstance()).build()));
    events.put(
        "prefill: Failure HANDOFF_FAILED",
        d ->
            d.machine.prefill(
                d.epoch(),
                PrefillEvent.newBuilder().setFailure(of(ErrorCode.HANDOFF_FAILED)).build()));
    events.put(
        "prefill: the stream breaks",
        d -> d.machine.prefillClosed(d.epoch(), of(ErrorCode.WORKER_LOST)));
    events.put("the worker drains", d -> d.machine.move());
    events.put("move: placed", d -> d.machine.placed(MOVE, "e", null));
    events.put("move: no worker", d -> d.machine.unplaceable(MOVE, of(ErrorCode.NO_WORKER), null));
    events.put("move: Reserved", d -> d.machine.decode(MOVE, reserved()));
    events.put("move: KvSettled", d -> d.machine.decode(MOVE, arrived(HASH)));
    events.put("move: KvSettled, of other tokens", d -> d.machine.decode(MOVE, arrived(HASH + 1)));
    events.put("move: a token before KvSettled", d -> d.machine.decode(MOVE, decoded(1)));
    events.put(
        "move: Failure OVERLOADED", d -> d.machine.decode(MOVE, failure(ErrorCode.OVERLOADED)));
    events.put(
        "move: Failure HANDOFF_FAILED",
        d -> d.machine.decode(MOVE, failure(ErrorCode.HANDOFF_FAILED)));
    events.put(
        "move: the stream breaks", d -> d.machine.decodeClosed(MOVE, of(ErrorCode.WORKER_LOST)));
    events.put(
        "HandOver failed", d -> d.machine.handOverFailed(MOVE, of(ErrorCode.HANDOFF_FAILED)));
    events.put(
        "deadline, or the client leaves", d -> d.machine.end(of(ErrorCode.DEADLINE_EXCEEDED)));
    events.put("a stop string was found", d -> d.machine.stop());
    events.put(
        "anything of an older epoch",
        d -> {
          int old = d.epoch() - 1;
          assertThat(d.machine.placed(old, "x", "y")).isEmpty();
          assertThat(d.machine.decode(old, failure(ErrorCode.INTERNAL))).isEmpty();
          assertThat(d.machine.decodeClosed(old, null)).isEmpty();
          assertThat(d.machine.prefill(old, first(0))).isEmpty();
          assertThat(d.machine.prefillClosed(old, null)).isEmpty();
          assertThat(d.machine.graceOver(old)).isEmpty();
          return d.machine.handOverFailed(old, of(ErrorCode.INTERNAL));
        });
    return events;
  }

  @Test
  void theSessionDoesWhatItsTableSays() throws IOException {
    StateTable.check("Session", events(), Phase.class, SessionTableTest::cell);
  }

  private static String cell(Event event, Phase phase) {
    Driven driven = new Driven(phase);
    List<SessionEffect> effects = event.on(driven);
    return StateTable.cell(
        phase, driven.machine.phase(), effects.stream().map(SessionTableTest::name).toList());
  }

  private static String name(SessionEffect effect) {
    return switch (effect) {
      case SessionEffect.Fail(var failure) -> "Fail " + failure.getCode();
      case SessionEffect.Place place -> place.whole() ? "Place whole" : "Place";
      default -> effect.getClass().getSimpleName();
    };
  }

  private static Failure of(ErrorCode code) {
    return Failures.of(code, "so it is");
  }

  private static SampledToken token(int index) {
    return SampledToken.newBuilder().setIndex(index).setTokenId(7).build();
  }

  private static DecodeEvent reserved() {
    return DecodeEvent.newBuilder()
        .setReserved(HandoffTicket.newBuilder().setAddress("127.0.0.1:1"))
        .build();
  }

  private static DecodeEvent suspended() {
    return DecodeEvent.newBuilder()
        .setSuspended(Suspended.newBuilder().setGeneratedTokens(1))
        .build();
  }

  private static DecodeEvent arrived(long contextHash) {
    return DecodeEvent.newBuilder()
        .setKvSettled(KvSettled.newBuilder().setContextHash(contextHash))
        .build();
  }

  private static DecodeEvent settled() {
    return DecodeEvent.newBuilder().setKvSettled(KvSettled.getDefaultInstance()).build();
  }

  private static DecodeEvent decoded(int index) {
    return DecodeEvent.newBuilder().setToken(token(index)).build();
  }

  private static DecodeEvent finished(int tokens) {
    return DecodeEvent.newBuilder()
        .setFinished(
            SessionFinished.newBuilder().setReason(FinishReason.LENGTH).setGeneratedTokens(tokens))
        .build();
  }

  private static DecodeEvent failure(ErrorCode code) {
    return DecodeEvent.newBuilder().setFailure(of(code)).build();
  }

  private static PrefillEvent first(int index) {
    return PrefillEvent.newBuilder().setFirstToken(token(index)).build();
  }
}

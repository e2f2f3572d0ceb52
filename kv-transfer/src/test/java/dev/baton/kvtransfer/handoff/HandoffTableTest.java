package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.testing.StateTable;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Drives both machines through every cell of the tables of docs/handoff.md: a machine in the
 * column's state, the row's event, and what happens must be what the cell says. Rows and events
 * must be the same set, so that neither side has one that the other lacks.
 */
class HandoffTableTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 8, 2);
  private static final int LAYER_TOKEN = 2 * 8 * 2;
  private static final int TOKENS = 10;
  private static final int WINDOW = 6;
  private static final int SLAB_BYTES = 8 * LAYER_TOKEN;
  private static final int RESENDS = 2;
  private static final Duration LEASE = Duration.ofSeconds(10);
  private static final Duration CONNECT = Duration.ofSeconds(2);
  private static final Manifest MANIFEST = new Manifest(TOKENS, 99, 5, 0);
  private static final Ticket TICKET =
      new Ticket(new Bits128(1, 1), new Bits128(2, 2), "127.0.0.1", 1, 2, 60_000);
  private static final Route ROUTE = new Route(TICKET.transfer(), "s", 4);
  private static final Route STALE = new Route(TICKET.transfer(), "s", 3);

  @Test
  void theExporterDoesWhatItsTableSays() throws IOException {
    StateTable.check("Exporter", exportEvents(), ExportMachine.State.class, HandoffTableTest::cell);
  }

  @Test
  void theImporterDoesWhatItsTableSays() throws IOException {
    StateTable.check("Importer", importEvents(), ImportMachine.State.class, HandoffTableTest::cell);
  }

  private static String cell(ExportEvent event, ExportMachine.State state) {
    Exporter exporter = new Exporter(state);
    List<ExportEffect> effects = event.on(exporter);
    return StateTable.cell(
        state, exporter.machine.state(), effects.stream().map(HandoffTableTest::name).toList());
  }

  private static String cell(ImportEvent event, ImportMachine.State state) {
    Importer importer = new Importer(state);
    List<ImportEffect> effects = event.on(importer);
    return StateTable.cell(
        state, importer.machine.state(), effects.stream().map(HandoffTableTest::name).toList());
  }

  private static String name(ExportEffect effect) {
    return switch (effect) {
      case ExportEffect.Send(Message message) -> name(message);
      case ExportEffect.SendSlab(Message.Slab message) -> name(message);
      case ExportEffect.Release _ -> "release";
      case ExportEffect.Packed() -> "packed";
      case ExportEffect.Acknowledged() -> "acknowledged";
      case ExportEffect.Failed(var cause) -> "failed " + cause.kind();
    };
  }

  private static String name(ImportEffect effect) {
    return switch (effect) {
      case ImportEffect.Send(Message message) -> name(message);
      case ImportEffect.Land _ -> "land";
      case ImportEffect.Refuse() -> "refuse";
      case ImportEffect.Completed _ -> "completed";
      case ImportEffect.Failed(var cause) -> "failed " + cause.kind();
    };
  }

  private static String name(Message message) {
    return switch (message) {
      case Message.Hello _ -> "HELLO";
      case Message.Welcome _ -> "WELCOME";
      case Message.Slab _ -> "SLAB";
      case Message.SlabAck _ -> "SLAB_ACK";
      case Message.SlabNack _ -> "SLAB_NACK";
      case Message.Finish _ -> "FINISH";
      case Message.Done _ -> "DONE";
      case Message.Abort _ -> "ABORT";
      case Message.Heartbeat _ -> "HEARTBEAT";
    };
  }

  private interface ExportEvent {
    List<ExportEffect> on(Exporter exporter);
  }

  private interface ImportEvent {
    List<ImportEffect> on(Importer importer);
  }

  /** Brought to a state in the usual way: half of the context is computed while it streams. */
  private static final class Exporter {
    long now;
    final ExportMachine machine =
        new ExportMachine(
            TICKET,
            ROUTE,
            HandoffReason.MIGRATION,
            GEOMETRY,
            0,
            SLAB_BYTES,
            RESENDS,
            CONNECT,
            LEASE,
            () -> now);

    Exporter(ExportMachine.State state) {
      machine.begin();
      machine.computed(6);
      if (state == ExportMachine.State.CONNECTING) {
        return;
      }
      machine.message(welcome(TOKENS, SLAB_BYTES));
      send();
      switch (state) {
        case CONNECTING, STREAMING -> {}
        case FINISHED -> finish();
        case ACKNOWLEDGED -> {
          finish();
          machine.message(new Message.Done(ROUTE));
        }
        case FAILED -> machine.abort("enough");
      }
      assertThat(machine.state()).isEqualTo(state);
    }

    List<ExportEffect> send() {
      List<ExportEffect> last = List.of();
      while (machine.hasJob()) {
        last = machine.packed(machine.nextJob().sequence(), 0);
      }
      return last;
    }

    List<ExportEffect> finish() {
      machine.finish(MANIFEST);
      return send();
    }

    List<ExportEffect> tickAfter(Duration time) {
      now += time.toNanos();
      return machine.tick();
    }

    List<ExportEffect> nack(int attempt) {
      return machine.message(new Message.SlabNack(ROUTE, 0, attempt));
    }
  }

  private static Message.Welcome welcome(int tokens, int slabBytes) {
    return new Message.Welcome(ROUTE, tokens, 0, slabBytes, 1 << 20, 10_000);
  }

  private static Map<String, ExportEvent> exportEvents() {
    Map<String, ExportEvent> events = new LinkedHashMap<>();
    events.put("more tokens computed", e -> e.machine.computed(8));
    events.put(
        "more tokens computed than the importer's context has",
        e -> e.machine.computed(TOKENS + 1));
    events.put("finish, slabs left to cut", e -> e.machine.finish(MANIFEST));
    events.put(
        "finish with fewer tokens than computed", e -> e.machine.finish(new Manifest(5, 99, 5, 0)));
    events.put(
        "a slab packed",
        e -> {
          e.machine.computed(7);
          return e.machine.hasJob()
              ? e.machine.packed(e.machine.nextJob().sequence(), 0)
              : e.machine.packed(0, 0);
        });
    events.put("the last slab packed after finish", Exporter::finish);
    events.put("packing failed", e -> e.machine.sourceFailed(new IllegalStateException("why")));
    events.put("abort", e -> e.machine.abort("why"));
    events.put("connection lost", e -> e.machine.peerLost("why"));
    events.put("WELCOME", e -> e.machine.message(welcome(TOKENS, SLAB_BYTES)));
    events.put(
        "WELCOME with slabs too small for a layer of a token",
        e -> e.machine.message(welcome(TOKENS, LAYER_TOKEN - 1)));
    events.put(
        "WELCOME for a shorter context than computed",
        e -> e.machine.message(welcome(5, SLAB_BYTES)));
    events.put(
        "SLAB_ACK of a slab sent", e -> e.machine.message(new Message.SlabAck(ROUTE, 0, 1 << 20)));
    events.put(
        "SLAB_ACK of another", e -> e.machine.message(new Message.SlabAck(ROUTE, 77, 1 << 20)));
    events.put("SLAB_NACK of the last attempt", e -> e.nack(0));
    events.put(
        "SLAB_NACK of an earlier attempt",
        e -> {
          e.nack(0);
          return e.nack(0);
        });
    events.put(
        "SLAB_NACK after the last resend",
        e -> {
          for (int attempt = 0; attempt < RESENDS; attempt++) {
            e.nack(attempt);
          }
          return e.nack(RESENDS);
        });
    events.put("DONE", e -> e.machine.message(new Message.Done(ROUTE)));
    events.put("HEARTBEAT", e -> e.machine.message(new Message.Heartbeat(ROUTE, 1 << 20)));
    events.put("ABORT", e -> e.machine.message(new Message.Abort(ROUTE, Kind.CANCELLED, "why")));
    events.put(
        "ABORT of kind PEER_LOST: no such hand-off",
        e -> e.machine.message(new Message.Abort(ROUTE, Kind.PEER_LOST, "no such hand-off")));
    events.put(
        "HELLO, SLAB, FINISH",
        e ->
            all(
                e.machine.message(hello(ROUTE, GEOMETRY, SLAB_BYTES)),
                e.machine.message(slab(ROUTE, 0, 0, 0, 1)),
                e.machine.message(finish(2))));
    events.put(
        "a message of another session or epoch",
        e ->
            all(
                e.machine.message(
                    new Message.Welcome(STALE, TOKENS, 0, SLAB_BYTES, 1 << 20, 10_000)),
                e.machine.message(new Message.Done(STALE)),
                e.machine.message(new Message.Abort(STALE, Kind.CANCELLED, "why")),
                e.machine.message(
                    new Message.Done(new Route(TICKET.transfer(), "another", ROUTE.epoch())))));
    events.put("tick after the connect timeout", e -> e.tickAfter(CONNECT));
    events.put(
        "tick a quarter of a lease after the last word to the peer, all slabs acknowledged",
        e -> {
          for (int sequence = 0; sequence < e.machine.slabs(); sequence++) {
            e.machine.message(new Message.SlabAck(ROUTE, sequence, 1 << 20));
          }
          return e.tickAfter(LEASE.dividedBy(4));
        });
    events.put("tick a lease after the last word of the peer", e -> e.tickAfter(LEASE));
    events.put("tick a second after an answer was due", e -> e.tickAfter(ExportMachine.ANSWER));
    events.put(
        "tick a second after that, nothing heard",
        e -> {
          e.tickAfter(ExportMachine.ANSWER);
          return e.tickAfter(ExportMachine.ANSWER);
        });
    events.put(
        "tick, heartbeats but no answer for a lease",
        e -> {
          List<ExportEffect> ticked = List.of();
          for (int second = 0; second < LEASE.toSeconds(); second++) {
            ticked = e.tickAfter(Duration.ofSeconds(1));
            if (e.machine.ended()) {
              return ticked;
            }
            e.machine.message(new Message.Heartbeat(ROUTE, 1 << 20));
          }
          return ticked;
        });
    return events;
  }

  @SafeVarargs
  private static <E> List<E> all(List<E>... effects) {
    List<E> all = new ArrayList<>();
    for (List<E> some : effects) {
      all.addAll(some);
    }
    return all;
  }

  /** Brought to a state in the usual way: slab 0 of two, a layer each, lands while it receives. */
  private static final class Importer {
    long now;
    final ImportMachine machine =
        new ImportMachine(
            new ImportSpec("s", 4, GEOMETRY, 2, TOKENS, 0, WINDOW, _ -> 99),
            TICKET,
            SLAB_BYTES,
            RESENDS,
            LEASE,
            () -> 2 * SLAB_BYTES,
            () -> now);

    Importer(ImportMachine.State state) {
      if (state == ImportMachine.State.EXPECTING) {
        return;
      }
      machine.hello(hello(ROUTE, GEOMETRY, SLAB_BYTES));
      announce(slab(ROUTE, 0, 0, 0, 1));
      switch (state) {
        case EXPECTING, RECEIVING -> {}
        case COMPLETED -> {
          announce(slab(ROUTE, 1, 0, 1, 2));
          machine.verified(0);
          machine.verified(1);
          machine.message(finish(2));
        }
        case FAILED -> machine.cancel("enough");
      }
      assertThat(machine.state()).isEqualTo(state);
    }

    List<ImportEffect> announce(Message.Slab slab) {
      return machine.slab(slab, slab.length());
    }

    List<ImportEffect> tickAfter(Duration time) {
      now += time.toNanos();
      return machine.tick();
    }
  }

  private static Message.Hello hello(Route route, KvGeometry geometry, int slabBytes) {
    return hello(route, geometry, 2, slabBytes);
  }

  private static Message.Hello hello(Route route, KvGeometry geometry, int first, int slabBytes) {
    return new Message.Hello(
        route, TICKET.secret(), HandoffReason.MIGRATION, geometry, first, slabBytes, 10_000);
  }

  private static Message.Slab slab(
      Route route, int sequence, int attempt, int layerFrom, int layerTo) {
    SlabRange range = new SlabRange(layerFrom, layerTo, 2, TOKENS);
    return new Message.Slab(route, sequence, attempt, range, 2, GEOMETRY.bytes(range), 0);
  }

  private static Message.Finish finish(int slabs) {
    return new Message.Finish(ROUTE, slabs, 2L * 8 * LAYER_TOKEN, MANIFEST);
  }

  private static Map<String, ImportEvent> importEvents() {
    Map<String, ImportEvent> events = new LinkedHashMap<>();
    events.put("HELLO admitted", i -> i.machine.hello(hello(ROUTE, GEOMETRY, SLAB_BYTES)));
    events.put(
        "HELLO with another geometry",
        i -> i.machine.hello(hello(ROUTE, new KvGeometry(2, 1, 8, 4), SLAB_BYTES)));
    events.put(
        "HELLO from where the window of the context's end begins",
        i -> i.machine.hello(hello(ROUTE, GEOMETRY, TOKENS - WINDOW + 1, SLAB_BYTES)));
    events.put(
        "HELLO from a token within that window",
        i -> i.machine.hello(hello(ROUTE, GEOMETRY, TOKENS - WINDOW + 2, SLAB_BYTES)));
    events.put(
        "HELLO from a token before the ticket's",
        i -> i.machine.hello(hello(ROUTE, GEOMETRY, 1, SLAB_BYTES)));
    events.put(
        "HELLO with slabs too small for a layer of a token",
        i -> i.machine.hello(hello(ROUTE, GEOMETRY, LAYER_TOKEN - 1)));
    events.put("SLAB", i -> i.announce(slab(ROUTE, 1, 0, 1, 2)));
    events.put("SLAB again, landing", i -> i.announce(slab(ROUTE, 0, 0, 0, 1)));
    events.put(
        "SLAB again, verified",
        i -> {
          i.machine.verified(0);
          return i.announce(slab(ROUTE, 0, 0, 0, 1));
        });
    events.put(
        "SLAB again, found wrong, a later attempt",
        i -> {
          i.machine.wrong(0);
          return i.announce(slab(ROUTE, 0, 1, 0, 1));
        });
    events.put(
        "SLAB again, found wrong, the same attempt",
        i -> {
          i.machine.wrong(0);
          return i.announce(slab(ROUTE, 0, 0, 0, 1));
        });
    events.put("SLAB again with another range", i -> i.announce(slab(ROUTE, 0, 0, 1, 2)));
    events.put("SLAB over positions of another", i -> i.announce(slab(ROUTE, 1, 0, 0, 1)));
    events.put(
        "SLAB out of bounds or of a wrong length",
        i -> {
          Message.Slab slab = slab(ROUTE, 1, 0, 1, 2);
          return i.machine.slab(slab, slab.length() - 1);
        });
    events.put(
        "SLAB beyond the credit",
        i -> {
          SlabRange half = new SlabRange(1, 2, 2, 6);
          i.announce(new Message.Slab(ROUTE, 1, 0, half, 2, GEOMETRY.bytes(half), 0));
          SlabRange rest = new SlabRange(1, 2, 6, TOKENS);
          return i.announce(new Message.Slab(ROUTE, 2, 0, rest, 2, GEOMETRY.bytes(rest), 0));
        });
    events.put(
        "SLAB that does not fit, once too often",
        i -> {
          for (int time = 0; time < RESENDS; time++) {
            i.announce(slab(ROUTE, 1, 0, 0, 1));
          }
          return i.announce(slab(ROUTE, 1, 0, 0, 1));
        });
    events.put("SLAB of another session or epoch", i -> i.announce(slab(STALE, 1, 0, 1, 2)));
    events.put("a slab verified", i -> i.machine.verified(0));
    events.put(
        "the last slab of the manifest verified",
        i -> {
          i.announce(slab(ROUTE, 1, 0, 1, 2));
          i.machine.message(finish(2));
          i.machine.verified(0);
          return i.machine.verified(1);
        });
    events.put("a slab found wrong", i -> i.machine.wrong(0));
    events.put(
        "a slab found wrong after the last resend",
        i -> {
          for (int attempt = 0; attempt < RESENDS; attempt++) {
            i.machine.wrong(0);
            i.announce(slab(ROUTE, 0, attempt + 1, 0, 1));
          }
          return i.machine.wrong(0);
        });
    events.put("unpacking failed", i -> i.machine.sinkFailed(new IllegalStateException("why")));
    events.put("FINISH, slabs missing", i -> i.machine.message(finish(2)));
    events.put(
        "FINISH, all verified",
        i -> {
          i.announce(slab(ROUTE, 1, 0, 1, 2));
          i.machine.verified(0);
          i.machine.verified(1);
          return i.machine.message(finish(2));
        });
    events.put(
        "FINISH of another context or with wrong counts",
        i ->
            i.machine.message(
                new Message.Finish(
                    ROUTE, 2, 2L * 8 * LAYER_TOKEN, new Manifest(TOKENS, 98, 5, 0))));
    events.put(
        "FINISH again, the same",
        i -> {
          i.machine.message(finish(2));
          return i.machine.message(finish(2));
        });
    events.put(
        "FINISH again, different",
        i -> {
          i.machine.message(finish(2));
          return i.machine.message(finish(3));
        });
    events.put(
        "FINISH, all verified, positions uncovered",
        i -> {
          i.machine.verified(0);
          return i.machine.message(finish(1));
        });
    events.put("HEARTBEAT", i -> i.machine.message(new Message.Heartbeat(ROUTE, 0)));
    events.put("ABORT", i -> i.machine.message(new Message.Abort(ROUTE, Kind.CANCELLED, "why")));
    events.put(
        "WELCOME, SLAB_ACK, SLAB_NACK, DONE",
        i ->
            all(
                i.machine.message(welcome(TOKENS, SLAB_BYTES)),
                i.machine.message(new Message.SlabAck(ROUTE, 0, 1)),
                i.machine.message(new Message.SlabNack(ROUTE, 0, 0)),
                i.machine.message(new Message.Done(ROUTE))));
    events.put(
        "a message of another session or epoch",
        i ->
            all(
                i.machine.message(new Message.Abort(STALE, Kind.CANCELLED, "why")),
                i.machine.message(new Message.Finish(STALE, 2, 1, MANIFEST))));
    events.put("cancel", i -> i.machine.cancel("why"));
    events.put("connection lost", i -> i.machine.peerLost("why"));
    events.put(
        "tick a quarter of a lease after the last word to the peer",
        i -> i.tickAfter(LEASE.dividedBy(4)));
    events.put("tick a lease after the last word of the peer", i -> i.tickAfter(LEASE));
    events.put(
        "tick after the ticket's life, the peer heard",
        i -> {
          for (int second = 5; second < 60; second += 5) {
            i.tickAfter(Duration.ofSeconds(5));
            i.machine.message(new Message.Heartbeat(ROUTE, 0));
          }
          return i.tickAfter(Duration.ofSeconds(5));
        });
    return events;
  }
}

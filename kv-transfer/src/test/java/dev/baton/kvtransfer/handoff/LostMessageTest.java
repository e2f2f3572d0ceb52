package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.List;
import java.util.Objects;
import java.util.Queue;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Exporter and importer talk over a wire that loses one message, whichever; both live on. */
class LostMessageTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 8, 2);
  private static final int SLAB_BYTES = 2 * 2 * 2 * 8 * 2;
  private static final int TOKENS = 6;
  private static final Duration TICK = Duration.ofMillis(100);

  private static final class Pair {
    final Queue<Message> wire = new ArrayDeque<>();
    final ImportMachine importer;
    final ExportMachine exporter;
    long now;
    int messages;
    int lost;
    @Nullable Message what;
    boolean completed;
    boolean acknowledged;
    @Nullable HandoffException failed;

    Pair(int lost) {
      this.lost = lost;
      Ticket ticket = new Ticket(new Bits128(1, 1), new Bits128(2, 2), "here", 1, 0, 60_000);
      Route route = new Route(ticket.transfer(), "s", 1);
      importer =
          new ImportMachine(
              new ImportSpec("s", 1, GEOMETRY, 0, TOKENS, 9),
              ticket,
              SLAB_BYTES,
              3,
              Duration.ofSeconds(10),
              () -> 1 << 20,
              () -> now);
      exporter =
          new ExportMachine(
              ticket,
              route,
              HandoffReason.MIGRATION,
              GEOMETRY,
              0,
              SLAB_BYTES,
              3,
              Duration.ofSeconds(2),
              Duration.ofSeconds(10),
              () -> now);
      exported(exporter.begin());
      exported(exporter.finish(new Manifest(TOKENS, 9, 5, 0)));
    }

    /** Until nothing more is on the wire; then time passes. */
    void run() {
      while (!exporter.ended()) {
        for (Message message = wire.poll(); message != null; message = wire.poll()) {
          deliver(message);
        }
        now += TICK.toNanos();
        exported(exporter.tick());
        imported(importer.tick());
        assertThat(now).isLessThan(Duration.ofSeconds(20).toNanos());
      }
    }

    private void deliver(Message message) {
      switch (message) {
        case Message.Hello hello -> imported(importer.hello(hello));
        case Message.Slab slab -> {
          List<ImportEffect> effects = importer.slab(slab, slab.length());
          imported(effects);
          if (effects.getFirst() instanceof ImportEffect.Land) {
            imported(importer.verified(slab.sequence()));
          }
        }
        case Message.Finish _ -> imported(importer.message(message));
        case Message.Welcome _, Message.SlabAck _, Message.SlabNack _, Message.Done _ ->
            exported(exporter.message(message));
        case Message.Heartbeat _, Message.Abort _ -> {
          exported(exporter.message(message));
          imported(importer.message(message));
        }
      }
      while (exporter.hasJob()) {
        exported(exporter.packed(exporter.nextJob().sequence(), 0));
      }
    }

    private void send(Message message) {
      if (messages++ == lost) {
        what = message;
      } else {
        wire.add(message);
      }
    }

    private void exported(List<ExportEffect> effects) {
      for (ExportEffect effect : effects) {
        switch (effect) {
          case ExportEffect.Send(Message message) -> send(message);
          case ExportEffect.SendSlab(Message.Slab message) -> send(message);
          case ExportEffect.Acknowledged() -> acknowledged = true;
          case ExportEffect.Failed(HandoffException cause) -> failed = cause;
          case ExportEffect.Release _, ExportEffect.Packed() -> {}
        }
      }
    }

    private void imported(List<ImportEffect> effects) {
      for (ImportEffect effect : effects) {
        switch (effect) {
          case ImportEffect.Send(Message message) -> send(message);
          case ImportEffect.Completed _ -> completed = true;
          case ImportEffect.Failed _, ImportEffect.Land _, ImportEffect.Refuse() -> {}
        }
      }
    }
  }

  @Test
  void aLostSlabOrAnswerOrManifestCostsASecond() {
    Pair undisturbed = new Pair(-1);
    undisturbed.run();
    assertThat(undisturbed.acknowledged).isTrue();
    int seen = 0;
    for (int lost = 0; lost < undisturbed.messages; lost++) {
      Pair pair = new Pair(lost);
      pair.run();
      switch (Objects.requireNonNull(pair.what)) {
        case Message.Slab _, Message.SlabAck _, Message.Finish _ -> {
          seen++;
          assertThat(pair.completed && pair.acknowledged).as("without %s", pair.what).isTrue();
          assertThat(pair.now).isLessThanOrEqualTo(Duration.ofMillis(1200).toNanos());
        }
        case Message.Done _ -> {
          // Nobody is there any more who could say it again.
          assertThat(pair.completed).isTrue();
          assertThat(Objects.requireNonNull(pair.failed).kind())
              .isEqualTo(HandoffException.Kind.TIMEOUT);
          assertThat(pair.now).isLessThanOrEqualTo(Duration.ofMillis(2200).toNanos());
        }
        default -> assertThat(pair.acknowledged).as("without %s", pair.what).isFalse();
      }
    }
    assertThat(seen).isGreaterThan(4);
  }
}

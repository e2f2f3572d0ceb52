package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

/**
 * A peer with a ticket that says anything in any order, with the right values, with nearly right
 * ones and with absurd ones. Neither machine may throw, complete wrongly, release twice, pass its
 * bounds, or say anything after its end.
 */
class HostileSequencesTest {
  private static final long SEED = Long.getLong("seed", System.nanoTime());
  private static final int ROUNDS = Integer.getInteger("rounds", 3000);
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 8, 2);
  private static final int LAYER_TOKEN = 2 * 8 * 2;
  private static final int FIRST = 1;
  private static final int TOKENS = 5;
  private static final int WINDOW = 3;

  /** What the next token sees begins here. */
  private static final int SEEN = TOKENS - WINDOW + 1;

  private static final int SLAB_BYTES = 4 * LAYER_TOKEN;
  private static final int RESENDS = 3;
  private static final Duration LEASE = Duration.ofSeconds(10);
  private static final Ticket TICKET =
      new Ticket(new Bits128(1, 1), new Bits128(2, 2), "127.0.0.1", 1, FIRST, 60_000);
  private static final Route ROUTE = new Route(TICKET.transfer(), "s", 4);

  @Test
  void anImportCompletesOnlyWithWhatItAskedForWhateverThePeerSays() {
    System.out.println("HostileSequencesTest: -Dseed=" + SEED);
    int completed = 0;
    for (int round = 0; round < ROUNDS; round++) {
      completed += new Import(new Random(SEED + round), SEED + round).run() ? 1 : 0;
    }
    assertThat(completed).as("peers that happened to behave").isPositive();
  }

  @Test
  void anExportIsAcknowledgedOnlyAfterItsManifestWhateverThePeerSays() {
    System.out.println("HostileSequencesTest: -Dseed=" + SEED);
    int acknowledged = 0;
    for (int round = 0; round < ROUNDS; round++) {
      acknowledged += new Exporting(new Random(SEED + round), SEED + round).run() ? 1 : 0;
    }
    assertThat(acknowledged).as("peers that happened to behave").isPositive();
  }

  /** Often the value, at times a neighbour, seldom an extreme. */
  private static int near(Random random, int value) {
    return switch (random.nextInt(12)) {
      case 0 -> Math.max(0, value - 1);
      case 1 -> value + 1;
      case 2 -> random.nextBoolean() ? Integer.MAX_VALUE : 0;
      default -> value;
    };
  }

  private static Route route(Random random) {
    return switch (random.nextInt(20)) {
      case 0 -> new Route(TICKET.transfer(), "s", 3);
      case 1 -> new Route(TICKET.transfer(), "t", 4);
      default -> ROUTE;
    };
  }

  private static final class Import {
    private final Random random;
    private final long seed;
    private long now;
    private final ImportMachine machine =
        new ImportMachine(
            new ImportSpec("s", 4, GEOMETRY, FIRST, TOKENS, 0, WINDOW, _ -> 99),
            TICKET,
            SLAB_BYTES,
            RESENDS,
            LEASE,
            () -> 3 * SLAB_BYTES,
            () -> now);
    private final Map<Integer, SlabRange> landing = new HashMap<>();
    private final Map<Integer, SlabRange> verified = new HashMap<>();
    private boolean ended;
    private boolean completed;

    Import(Random random, long seed) {
      this.random = random;
      this.seed = seed;
    }

    boolean run() {
      for (int step = 0; step < 60; step++) {
        now += random.nextLong(Duration.ofMillis(500).toNanos());
        switch (random.nextInt(8)) {
          case 0 -> {
            Message.Hello hello = hello();
            if (machine.admits(hello)) {
              take(machine.hello(hello), false);
            }
          }
          case 1, 2, 3 -> slab();
          case 4, 5 -> settle();
          case 6 -> take(machine.message(other()), false);
          default -> take(machine.tick(), false);
        }
      }
      return completed;
    }

    private Message.Hello hello() {
      Bits128 secret = random.nextInt(8) == 0 ? new Bits128(2, 3) : TICKET.secret();
      KvGeometry geometry = random.nextInt(40) == 0 ? new KvGeometry(9, 1, 8, 2) : GEOMETRY;
      return new Message.Hello(
          route(random),
          secret,
          HandoffReason.DRAIN,
          geometry,
          random.nextInt(10) == 0 ? near(random, SEEN) : FIRST,
          random.nextInt(40) == 0 ? 1 : SLAB_BYTES,
          near(random, 10_000));
    }

    private void slab() {
      int layer = random.nextInt(2);
      int from = FIRST + 2 * random.nextInt(2);
      int to = from + 2;
      if (random.nextInt(10) == 0) {
        layer = near(random, 2);
        to = Math.max(from + 1, near(random, TOKENS + 1));
      }
      layer = Math.min(layer, Integer.MAX_VALUE - 1);
      SlabRange range = new SlabRange(layer, layer + 1, from, to);
      int sequence = near(random, 2 * Math.min(layer, 1) + (from == FIRST ? 0 : 1));
      long length = Math.max(1, near(random, 2 * LAYER_TOKEN));
      Message.Slab slab =
          new Message.Slab(
              route(random), sequence, near(random, random.nextInt(2)), range, 2, length, 0);
      List<ImportEffect> effects =
          machine.slab(slab, random.nextInt(20) == 0 ? length + 1 : length);
      long answers =
          effects.stream()
              .filter(e -> e instanceof ImportEffect.Land || e instanceof ImportEffect.Refuse)
              .count();
      assertThat(answers).as("seed %d: land or refuse, once", seed).isEqualTo(1);
      if (effects.getFirst() instanceof ImportEffect.Land) {
        assertThat(landing.put(sequence, range)).as("seed %d: lands twice", seed).isNull();
        assertThat(verified).as("seed %d: lands again", seed).doesNotContainKey(sequence);
        assertThat(landing.size()).as("seed %d: credit", seed).isLessThanOrEqualTo(3);
      }
      take(effects, true);
    }

    private void settle() {
      if (landing.isEmpty()) {
        take(machine.verified(random.nextInt(4)), false);
        return;
      }
      int sequence = landing.keySet().iterator().next();
      SlabRange range = landing.remove(sequence);
      if (random.nextInt(6) == 0) {
        take(machine.wrong(sequence), false);
      } else {
        verified.put(sequence, range);
        take(machine.verified(sequence), false);
      }
    }

    private Message other() {
      int first = random.nextInt(10) == 0 ? SEEN : FIRST;
      long bytes = GEOMETRY.bytes(new SlabRange(0, 2, first, TOKENS));
      Manifest manifest =
          new Manifest(
              Math.max(1, random.nextInt(30) == 0 ? near(random, TOKENS) : TOKENS),
              random.nextInt(30) == 0 ? 98 : 99,
              near(random, 5),
              0);
      return switch (random.nextInt(8)) {
        case 0 ->
            random.nextInt(8) == 0
                ? new Message.Abort(route(random), Kind.CANCELLED, "why")
                : new Message.Heartbeat(route(random), 0);
        case 1 -> new Message.Done(route(random));
        case 2 -> new Message.SlabNack(route(random), 0, 0);
        default ->
            new Message.Finish(
                route(random), Math.max(1, random.nextInt(30) == 0 ? 3 : 4), bytes, manifest);
      };
    }

    private void take(List<ImportEffect> effects, boolean slab) {
      for (ImportEffect effect : effects) {
        if (effect instanceof ImportEffect.Refuse) {
          assertThat(slab).isTrue();
          continue;
        }
        assertThat(ended).as("seed %d: %s after the end", seed, effect).isFalse();
        if (effect instanceof ImportEffect.Failed) {
          ended = true;
        } else if (effect instanceof ImportEffect.Completed(Manifest manifest)) {
          ended = true;
          completed = true;
          checkCompleted(manifest);
        }
      }
      assertThat(machine.ended()).isEqualTo(ended);
    }

    private void checkCompleted(Manifest manifest) {
      assertThat(manifest.tokens()).isEqualTo(TOKENS);
      assertThat(manifest.contextHash()).isEqualTo(99);
      Set<Integer> positions = new HashSet<>();
      for (SlabRange range : verified.values()) {
        for (int layer = range.layerFrom(); layer < range.layerTo(); layer++) {
          for (int token = range.tokenFrom(); token < range.tokenTo(); token++) {
            assertThat(positions.add(layer * 100 + token)).as("seed %d: twice", seed).isTrue();
          }
        }
      }
      int first = positions.stream().mapToInt(place -> place % 100).min().orElseThrow();
      assertThat(first).as("seed %d: the window", seed).isBetween(FIRST, SEEN);
      assertThat(positions).as("seed %d: all", seed).hasSize(2 * (TOKENS - first));
    }
  }

  private static final class Exporting {
    private final Random random;
    private final long seed;
    private long now;
    private final ExportMachine machine =
        new ExportMachine(
            TICKET,
            ROUTE,
            HandoffReason.MIGRATION,
            GEOMETRY,
            0,
            2 * LAYER_TOKEN,
            RESENDS,
            Duration.ofSeconds(20),
            LEASE,
            () -> now);
    private final Set<Integer> sent = new HashSet<>();
    private final Set<Integer> released = new HashSet<>();
    private final List<ExportMachine.Job> jobs = new ArrayList<>();
    private long largestCredit;
    private boolean finished;
    private boolean ended;
    private boolean acknowledged;

    Exporting(Random random, long seed) {
      this.random = random;
      this.seed = seed;
    }

    boolean run() {
      machine.begin();
      take(machine.finish(new Manifest(TOKENS, 99, 5, 0)));
      for (int step = 0; step < 80; step++) {
        now += random.nextLong(Duration.ofMillis(500).toNanos());
        switch (random.nextInt(6)) {
          case 0, 1 -> {
            if (machine.hasJob()) {
              jobs.add(machine.nextJob());
              long agreed = machine.unanswered() - 1L;
              assertThat(agreed * LAYER_TOKEN)
                  .as("seed %d: credit", seed)
                  .isLessThanOrEqualTo(Math.max(0, largestCredit));
            }
          }
          case 2 -> {
            if (!jobs.isEmpty()) {
              take(machine.packed(jobs.removeFirst().sequence(), 0));
            }
          }
          case 3, 4 -> take(machine.message(message()));
          default -> take(machine.tick());
        }
      }
      return acknowledged;
    }

    private Message message() {
      long credit = LAYER_TOKEN * (long) random.nextInt(8);
      int sequence = near(random, random.nextInt(6));
      return switch (random.nextInt(10)) {
        case 0, 1 -> {
          largestCredit = Math.max(largestCredit, credit);
          yield new Message.Welcome(
              route(random),
              Math.max(1, random.nextInt(30) == 0 ? near(random, TOKENS) : TOKENS),
              random.nextInt(10) == 0 ? random.nextInt(Manifest.MOST_ADDED) : 0,
              Math.max(LAYER_TOKEN, near(random, 2 * LAYER_TOKEN)),
              credit,
              near(random, 10_000));
        }
        case 2, 3, 4 -> {
          largestCredit = Math.max(largestCredit, credit);
          yield new Message.SlabAck(route(random), sequence, credit);
        }
        case 5 -> new Message.SlabNack(route(random), sequence, near(random, 0));
        case 6, 7 -> new Message.Done(route(random));
        case 8 -> new Message.Heartbeat(route(random), largestCredit);
        default ->
            random.nextInt(10) == 0
                ? new Message.Abort(route(random), Kind.INTERNAL, "why")
                : new Message.Finish(route(random), 1, 1, new Manifest(1, 1, 1, 1));
      };
    }

    private void take(List<ExportEffect> effects) {
      for (ExportEffect effect : effects) {
        assertThat(ended).as("seed %d: %s after the end", seed, effect).isFalse();
        switch (effect) {
          case ExportEffect.SendSlab(Message.Slab slab) -> {
            sent.add(slab.sequence());
            assertThat(released)
                .as("seed %d: sent, released", seed)
                .doesNotContain(slab.sequence());
          }
          case ExportEffect.Release(int sequence, int _) -> {
            assertThat(sent).contains(sequence);
            assertThat(released.add(sequence)).as("seed %d: released twice", seed).isTrue();
          }
          case ExportEffect.Send(Message message) -> finished |= message instanceof Message.Finish;
          case ExportEffect.Packed() -> assertThat(jobs).as("seed %d: packed", seed).isEmpty();
          case ExportEffect.Acknowledged() -> {
            assertThat(finished).as("seed %d: acknowledged before the manifest", seed).isTrue();
            ended = true;
            acknowledged = true;
          }
          case ExportEffect.Failed _ -> ended = true;
        }
      }
      assertThat(machine.ended()).isEqualTo(ended);
    }
  }
}

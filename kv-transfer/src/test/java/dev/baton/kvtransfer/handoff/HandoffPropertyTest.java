package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.FaultyTransport;
import dev.baton.kvtransfer.testing.FaultyTransport.Faults;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.MemoryNetwork;
import dev.baton.kvtransfer.testing.Outcome;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/**
 * Several hand-offs at once over a network with faults, in random orders of everything. What must
 * hold: an import completes with exactly the exporter's bytes or fails; an export is acknowledged
 * only if its import completed; each listener has one last call, after which source and sink are
 * left alone; at the end every slab is back and nothing is open.
 */
class HandoffPropertyTest {
  private static final long SEED = Long.getLong("seed", System.nanoTime());
  private static final int ROUNDS = Integer.getInteger("rounds", 300);
  private static final Duration LEASE = Duration.ofSeconds(1);

  @Test
  void contentArrivesExactlyOrTheImportFails() {
    System.out.println("HandoffPropertyTest: -Dseed=" + SEED);
    int completed = 0;
    for (int round = 0; round < ROUNDS; round++) {
      completed += run(new Random(SEED + round), SEED + round, false);
    }
    assertThat(completed).as("hand-offs completed in spite of faults").isGreaterThan(ROUNDS / 10);
  }

  @Test
  void corruptDuplicatedAndReorderedMessagesCostNothingButTime() {
    System.out.println("HandoffPropertyTest: -Dseed=" + SEED);
    for (int round = 0; round < ROUNDS; round++) {
      run(new Random(SEED + round), SEED + round, true);
    }
  }

  private record Pair(KvStore from, KvStore to, int first, Outcome exported, Outcome imported) {}

  /** One world; the number of imports that completed. */
  private static int run(Random random, long seed, boolean benign) {
    MemoryNetwork network = new MemoryNetwork(random);
    Faults faults = benign ? benign(random) : any(random);
    List<MemoryNetwork.Node> nodes = new ArrayList<>();
    List<HandoffService> services = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      MemoryNetwork.Node node = network.node();
      nodes.add(node);
      services.add(
          new HandoffService(
              options(random), new FaultyTransport(node, faults, random), node, network::nanos));
    }
    List<Runnable> script = new ArrayList<>();
    List<Pair> pairs = new ArrayList<>();
    int count = 1 + random.nextInt(4);
    for (int i = 0; i < count; i++) {
      pairs.add(begin(random, services, script, "session-" + i, benign));
    }
    if (!benign && random.nextInt(4) == 0) {
      script.add(() -> nodes.get(random.nextInt(nodes.size())).cut());
    }
    // Whoever hears nothing gives up within a lease, one side after the other.
    long ended = network.nanos() + LEASE.toNanos() * 6;
    while (pairs.stream().anyMatch(pair -> !pair.exported.ended() || !pair.imported.ended())) {
      if (!script.isEmpty() && random.nextInt(20) == 0) {
        script.remove(random.nextInt(script.size())).run();
      }
      if (!network.step() && script.isEmpty()) {
        network.pass(Duration.ofMillis(100).toNanos());
      }
      assertThat(network.nanos()).as("seed %d: a hand-off never ends", seed).isLessThan(ended);
    }
    network.runUntilIdle();
    int completed = 0;
    for (Pair pair : pairs) {
      completed += check(pair, seed, benign) ? 1 : 0;
    }
    for (HandoffService service : services) {
      var totals = service.totals();
      assertThat(totals.openExports() + totals.openImports()).as("seed %d: open", seed).isZero();
      assertThat(totals.slabBytesInUse()).as("seed %d: slab bytes in use", seed).isZero();
    }
    services.forEach(HandoffService::close);
    return completed;
  }

  private static boolean check(Pair pair, long seed, boolean benign) {
    boolean completed = pair.imported.succeeded();
    if (completed) {
      assertThat(pair.to.sameFrom(pair.first, pair.from)).as("seed %d: bytes", seed).isTrue();
    }
    if (pair.exported.succeeded()) {
      assertThat(completed).as("seed %d: acknowledged, so completed", seed).isTrue();
      assertThat(pair.exported.calls()).containsExactly("packed", "acknowledged");
    } else {
      assertThat(pair.exported.calls()).last().isEqualTo("failed");
      assertThat(pair.exported.calls().stream().filter("failed"::equals)).hasSize(1);
    }
    assertThat(pair.imported.calls()).as("seed %d: last calls", seed).hasSize(1);
    assertThat(pair.from.touchedAfterSeal() + pair.to.touchedAfterSeal())
        .as("seed %d: uses after the last call", seed)
        .isZero();
    if (benign) {
      assertThat(completed && pair.exported.succeeded())
          .as("seed %d: %s, %s", seed, pair.exported, pair.imported)
          .isTrue();
    }
    return completed;
  }

  private static Pair begin(
      Random random,
      List<HandoffService> services,
      List<Runnable> script,
      String session,
      boolean benign) {
    HandoffService exporter = services.get(random.nextInt(2));
    HandoffService importer = services.get(2);
    KvGeometry geometry =
        new KvGeometry(1 + random.nextInt(6), 1 + random.nextInt(3), 16 << random.nextInt(4), 2);
    int tokens = 1 + random.nextInt(300);
    int first = random.nextBoolean() ? 0 : random.nextInt(tokens);
    KvStore from = KvStore.random(geometry, tokens, random.nextLong());
    KvStore to = new KvStore(geometry, tokens);
    Outcome exported = new Outcome(from);
    Outcome imported = new Outcome(to);
    // Of some contexts the importer knows the beginning only; they grow while they are handed over.
    int known = random.nextBoolean() ? tokens : Math.max(first + 1, tokens - random.nextInt(60));
    List<Integer> added = IntStream.range(known, tokens).boxed().toList();
    // Of some models the exporter has given up what is behind the window, or a part of that.
    int window = random.nextBoolean() ? 0 : 1 + random.nextInt(tokens);
    int needed = window == 0 ? 0 : Math.max(0, tokens - Math.max(1, window - 1));
    from.startsAt(random.nextInt(needed + 1));
    ImportSpec spec =
        new ImportSpec(
            session,
            1,
            geometry,
            first,
            known,
            added.size() + random.nextInt(3),
            window,
            List::hashCode);
    Ticket ticket = importer.expect(spec, to, imported);
    Export export = exporter.export(ticket, session, 1, geometry, from, exported);
    from.computed(0);
    int[] computed = {0};
    Runnable compute =
        () -> {
          computed[0] = Math.min(tokens, computed[0] + random.nextInt(tokens + 1));
          from.computed(computed[0]);
          export.computed(computed[0]);
        };
    script.add(compute);
    script.add(compute);
    script.add(
        () -> {
          computed[0] = tokens;
          from.computed(tokens);
          export.finish(new Manifest(tokens, added.hashCode(), 5, 0, added));
        });
    if (!benign && random.nextInt(6) == 0) {
      script.add(() -> export.abort("changed its mind"));
    }
    if (!benign && random.nextInt(6) == 0) {
      script.add(() -> importer.cancelImport(ticket.transfer()));
    }
    return new Pair(from, to, Math.max(first, from.firstToken()), exported, imported);
  }

  private static TransferOptions options(Random random) {
    return new TransferOptions(
        "memory",
        0,
        64 << 10,
        1 + random.nextInt(6),
        1 + random.nextInt(6),
        Duration.ofSeconds(2),
        LEASE,
        12);
  }

  private static Faults benign(Random random) {
    return new Faults(0, some(random), some(random) * 2, some(random), 0, 0);
  }

  private static Faults any(Random random) {
    return new Faults(
        some(random) / 10,
        some(random),
        some(random) * 2,
        some(random),
        some(random) / 10,
        some(random) / 20);
  }

  private static double some(Random random) {
    return random.nextBoolean() ? 0 : random.nextDouble() * 0.2;
  }
}

package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvAwayException;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.MemoryNetwork;
import dev.baton.kvtransfer.testing.Outcome;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** An export whose source has lost its KV for a while: its session was preempted. */
class AwayTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 16, 2);
  private static final int TOKENS = 32;

  private final MemoryNetwork network = new MemoryNetwork(new Random(1));
  private final HandoffService exporter = service();
  private final HandoffService importer = service();
  private final KvStore from = KvStore.random(GEOMETRY, TOKENS, 1);
  private final KvStore to = new KvStore(GEOMETRY, TOKENS);
  private final Outcome exported = new Outcome(from);
  private final Outcome imported = new Outcome(to);
  private final Ticket ticket =
      importer.expect(new ImportSpec("s", 1, GEOMETRY, 0, TOKENS, 7), to, imported);
  private final Source source = new Source();
  private final Export export = exporter.export(ticket, "s", 1, GEOMETRY, source, exported);

  private final class Source implements KvSource {
    boolean away = true;
    int asked;
    Runnable whileAsked = () -> {};

    @Override
    public void pack(SlabRange range, MemorySegment slab) {
      asked++;
      if (away) {
        slab.fill((byte) 0xff);
        whileAsked.run();
        throw new KvAwayException("preempted", new IllegalStateException());
      }
      from.pack(range, slab);
    }
  }

  private HandoffService service() {
    MemoryNetwork.Node node = network.node();
    return new HandoffService(TransferOptions.on("memory"), node, node, network::nanos);
  }

  @Test
  void goesOnWhenTheSourceIsBackHoweverLongItWasAway() throws Exception {
    export.computed(TOKENS / 2);
    pass(Duration.ofMinutes(2));
    assertThat(source.asked).isEqualTo(1);
    assertThat(exporter.totals().slabBytesInUse()).as("others can use them").isZero();
    assertThat(exported.ended()).isFalse();
    assertThat(imported.ended()).isFalse();
    assertThat(export.acknowledgedBytes()).isZero();

    source.away = false;
    pass(Duration.ofSeconds(5));
    assertThat(source.asked).as("nobody has said that it is back").isEqualTo(1);
    export.computed(TOKENS / 2);
    network.runUntilIdle();
    assertThat(export.acknowledgedBytes()).isPositive();
    export.finish(new Manifest(TOKENS, 7, 1, 0));
    arrives();
  }

  @Test
  void endOfTheSourceIsWordOfItToo() throws Exception {
    export.computed(TOKENS);
    network.runUntilIdle();
    source.away = false;
    export.finish(new Manifest(TOKENS, 7, 1, 0));
    arrives();
  }

  @Test
  void sourceThatComesBackWhileItIsAskedIsAskedAgain() throws Exception {
    source.whileAsked =
        () -> {
          source.away = false;
          export.finish(new Manifest(TOKENS, 7, 1, 0));
        };
    export.computed(TOKENS);
    arrives();
    assertThat(source.asked).isEqualTo(2);
  }

  @Test
  void mayEndMeanwhile() throws Exception {
    export.computed(TOKENS);
    network.runUntilIdle();
    export.abort("the session is over");
    network.runUntilIdle();
    assertThat(exported.failure(0).kind()).isEqualTo(Kind.CANCELLED);
    assertThat(imported.failure(0).kind()).isEqualTo(Kind.PEER_ABORTED);
    assertThat(exporter.totals().slabBytesInUse()).isZero();
  }

  private void arrives() throws Exception {
    network.runUntilIdle();
    exported.success(0);
    imported.success(0);
    assertThat(to.sameFrom(0, from)).isTrue();
    assertThat(exporter.totals().slabBytesInUse()).isZero();
    assertThat(from.touchedAfterSeal()).isZero();
  }

  private void pass(Duration time) {
    long end = network.nanos() + time.toNanos();
    while (network.nanos() < end) {
      network.pass(Duration.ofMillis(100).toNanos());
      network.runUntilIdle();
    }
  }
}

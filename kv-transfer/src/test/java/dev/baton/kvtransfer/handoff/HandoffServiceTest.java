package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.SlabHolding.Side;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.MemoryNetwork;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** One importer, and a peer at the bare transport that says what it likes when it likes. */
class HandoffServiceTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 16, 2);
  private static final int TOKENS = 32;

  private final MemoryNetwork network = new MemoryNetwork(new Random(1));
  private final MemoryNetwork.Node node = network.node();
  private final MemoryNetwork.Node peer = network.node();
  private final HandoffService importer =
      new HandoffService(TransferOptions.on("memory"), node, node, network::nanos);
  private final KvStore to = new KvStore(GEOMETRY, TOKENS);
  private final Outcome imported = new Outcome(to);
  private final Ticket ticket =
      importer.expect(new ImportSpec("s", 1, GEOMETRY, 0, TOKENS, 7), to, imported);
  private final Route route = new Route(ticket.transfer(), "s", 1);
  private final List<Connection> accepted = new ArrayList<>();
  private final List<String> losses = new ArrayList<>();
  private final List<Message> messages = new ArrayList<>();
  private final List<IncomingPayload> payloads = new ArrayList<>();

  HandoffServiceTest() {
    peer.start(
        new TransportListener() {
          @Override
          public void onAccepted(Connection connection) {
            accepted.add(connection);
          }

          @Override
          public void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload) {
            messages.add(MessageCodec.decode(header));
            if (payload != null) {
              payloads.add(payload);
            }
          }

          @Override
          public void onLost(Connection connection, String cause) {
            losses.add(cause);
          }
        });
  }

  @Test
  void abortThatOvertakesItsHelloEndsTheImport() throws Exception {
    Connection connection = connect();
    say(connection, new Message.Abort(route, Kind.CANCELLED, "changed its mind"));
    assertThat(imported.ended()).as("a stranger's word").isFalse();
    say(connection, hello());
    assertThat(imported.failure(0).kind()).isEqualTo(Kind.PEER_ABORTED);
    assertThat(importer.totals().openImports()).isZero();
  }

  @Test
  void abortOfAnotherConnectionThanTheHellosIsNotHeard() {
    say(connect(), new Message.Abort(route, Kind.CANCELLED, "go away"));
    MemoryNetwork.Node exporter = network.node();
    say(exporter.connect("memory", node.port()), hello());
    assertThat(imported.ended()).isFalse();
    assertThat(importer.totals().openImports()).isEqualTo(1);
  }

  @Test
  void connectionThatNeverSaysHelloIsClosed() {
    connect();
    network.runUntilIdle();
    pass(Duration.ofSeconds(3));
    assertThat(losses).isEmpty();
    pass(Duration.ofSeconds(2));
    assertThat(losses).hasSize(1);
  }

  @Test
  void connectionThatHasShownATicketStaysOpen() {
    say(connect(), hello());
    pass(Duration.ofSeconds(30));
    assertThat(losses).isEmpty();
  }

  @Test
  void peerThatHasShownATicketAndFloodsIsClosed() throws Exception {
    Connection connection = connect();
    say(connection, hello());
    Message stray = new Message.Done(new Route(ticket.secret(), "s", 1));
    for (int i = 0; i < 999; i++) {
      say(connection, stray);
    }
    assertThat(losses).isEmpty();
    say(connection, stray);
    assertThat(losses).hasSize(1);
    assertThat(imported.failure(0).kind()).isEqualTo(Kind.PEER_LOST);
  }

  @Test
  void exporterThatFallsSilentIsGivenUpAfterALease() throws Exception {
    say(connect(), hello());
    pass(Duration.ofMillis(9_900));
    assertThat(imported.ended()).isFalse();
    pass(Duration.ofMillis(200));
    assertThat(imported.failure(0).kind()).isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void exporterThatIsHeardKeepsItsImportForMinutes() {
    Connection connection = connect();
    say(connection, hello());
    for (int i = 0; i < 60; i++) {
      pass(Duration.ofSeconds(5));
      say(connection, new Message.Heartbeat(route, 0));
    }
    assertThat(imported.ended()).isFalse();
    assertThat(messages).filteredOn(Message.Heartbeat.class::isInstance).hasSizeGreaterThan(100);
  }

  @Test
  void helloOfAnotherConnectionIsRefusedWhileTheHandoffRunsAndAfterIt() {
    Connection first = connect();
    say(first, hello());
    MemoryNetwork.Node thief = network.node();
    List<Message> answers = new ArrayList<>();
    thief.start(
        new TransportListener() {
          @Override
          public void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload) {
            answers.add(MessageCodec.decode(header));
          }

          @Override
          public void onLost(Connection connection, String cause) {}
        });
    Connection second = thief.connect("memory", node.port());
    say(second, hello());
    importer.cancelImport(ticket.transfer());
    network.runUntilIdle();
    assertThat(imported.ended()).isTrue();
    say(second, hello());
    assertThat(answers)
        .hasSize(2)
        .allSatisfy(
            answer ->
                assertThat(answer)
                    .isEqualTo(new Message.Abort(route, Kind.PEER_LOST, "no such hand-off")));
  }

  @Test
  void slabsThatAPeerNeverFetchesComeBackWithTheEndOfItsConnection() {
    Ticket toPeer =
        new Ticket(ticket.transfer(), ticket.secret(), "memory", peer.port(), 0, 60_000);
    KvStore from = KvStore.random(GEOMETRY, TOKENS, 1);
    Outcome exported = new Outcome(from);
    from.computed(TOKENS);
    var export = importer.export(toPeer, "s", 1, GEOMETRY, from, exported);
    export.computed(TOKENS);
    network.runUntilIdle();
    peer.execute(
        () ->
            accepted
                .getLast()
                .send(
                    MessageCodec.encode(
                        new Message.Welcome(route, TOKENS, 0, 1 << 20, 1 << 20, 60_000)),
                    null,
                    _ -> {}));
    network.runUntilIdle();
    assertThat(payloads).as("announced, never fetched").isNotEmpty();
    export.abort("the client is gone");
    network.runUntilIdle();
    assertThat(exported.ended()).isTrue();
    assertThat(importer.totals().slabBytesInUse()).isPositive();
    pass(Leftovers.PATIENCE.plusMillis(200));
    assertThat(losses).as("its connection is closed").hasSize(1);
    pass(Leftovers.PATIENCE);
    assertThat(importer.totals().slabBytesQuarantined()).as("still announced").isPositive();
    assertThat(importer.holdings())
        .extracting(SlabHolding::session, SlabHolding::side, SlabHolding::reason)
        .containsExactly(tuple("s", Side.SENDING, HandoffReason.PREFILL_TO_DECODE));
    peer.execute(() -> payloads.forEach(IncomingPayload::refuse));
    pass(Duration.ofMillis(200));
    assertThat(importer.totals().slabBytesInUse()).isZero();
    assertThat(importer.totals().slabBytesQuarantined()).isZero();
  }

  @Test
  void aPeerThatStandsStillLeavesSlabsToTheOthers() throws Exception {
    MemoryNetwork.Node other = network.node();
    int slabs = 6;
    HandoffService exporter =
        new HandoffService(
            new TransferOptions(
                "memory",
                0,
                TransferOptions.LEAST_SLAB_BYTES,
                slabs,
                slabs,
                Duration.ofSeconds(2),
                Duration.ofSeconds(10),
                3),
            other,
            other,
            network::nanos);
    // More hand-offs to the one than there are slabs; it announces all the room in the world.
    int tokens = 16 * TOKENS;
    for (int i = 0; i < 2 * slabs; i++) {
      Ticket stuck =
          new Ticket(
              Bits128.random(new Random(i)), ticket.secret(), "memory", peer.port(), 0, 60_000);
      KvStore from = KvStore.random(GEOMETRY, tokens, i);
      exporter
          .export(stuck, "stuck" + i, 1, GEOMETRY, from, new Outcome(from))
          .finish(new Manifest(tokens, 7, 1, 0));
      network.runUntilIdle();
      Route stuckRoute = new Route(stuck.transfer(), "stuck" + i, 1);
      peer.execute(
          () ->
              accepted
                  .getLast()
                  .send(
                      MessageCodec.encode(
                          new Message.Welcome(stuckRoute, tokens, 0, 1 << 20, 1 << 30, 60_000)),
                      null,
                      _ -> {}));
      network.runUntilIdle();
    }
    assertThat(exporter.totals().sending().owned()).as("slabs that never come back").isEqualTo(4);

    KvStore from = KvStore.random(GEOMETRY, TOKENS, 1);
    Outcome exported = new Outcome(from);
    exporter.export(ticket, "s", 1, GEOMETRY, from, exported).finish(new Manifest(TOKENS, 7, 1, 0));
    network.runUntilIdle();

    exported.success(0);
    imported.success(0);
    assertThat(to.sameFrom(0, from)).isTrue();
  }

  @Test
  void closingLetsTheImporterFetchWhatIsFinished() throws Exception {
    MemoryNetwork.Node other = network.node();
    HandoffService exporter =
        new HandoffService(TransferOptions.on("memory"), other, other, network::nanos);
    KvStore from = KvStore.random(GEOMETRY, TOKENS, 1);
    Outcome exported = new Outcome(from);
    var export = exporter.export(ticket, "s", 1, GEOMETRY, from, exported);
    export.finish(new Manifest(TOKENS, 7, 1, 0));
    while (exported.calls().isEmpty()) {
      network.step();
    }
    assertThat(imported.ended()).as("packed, not fetched yet").isFalse();
    exporter.close();
    exported.success(0);
    imported.success(0);
    assertThat(to.sameFrom(0, from)).isTrue();
  }

  @Test
  void closingGivesUpWhatIsNotFinished() throws Exception {
    MemoryNetwork.Node other = network.node();
    HandoffService exporter =
        new HandoffService(TransferOptions.on("memory"), other, other, network::nanos);
    KvStore from = KvStore.random(GEOMETRY, TOKENS, 1);
    Outcome exported = new Outcome(from);
    exporter.export(ticket, "s", 1, GEOMETRY, from, exported).computed(TOKENS / 2);
    network.runUntilIdle();
    exporter.close();
    assertThat(exported.failure(0).kind()).isEqualTo(Kind.CANCELLED);
    assertThat(imported.failure(0).kind()).isEqualTo(Kind.PEER_ABORTED);
  }

  private Message.Hello hello() {
    return new Message.Hello(
        route, ticket.secret(), HandoffReason.PREFILL_TO_DECODE, GEOMETRY, 0, 1 << 20, 60_000);
  }

  private Connection connect() {
    return peer.connect("memory", node.port());
  }

  private void say(Connection connection, Message message) {
    peer.execute(() -> connection.send(MessageCodec.encode(message), null, _ -> {}));
    network.runUntilIdle();
  }

  private void pass(Duration time) {
    long end = network.nanos() + time.toNanos();
    while (network.nanos() < end) {
      network.pass(Duration.ofMillis(100).toNanos());
      network.runUntilIdle();
    }
  }
}

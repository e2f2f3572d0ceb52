package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
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
                    MessageCodec.encode(new Message.Welcome(route, TOKENS, 1 << 20, 60_000)),
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
    peer.execute(() -> payloads.forEach(IncomingPayload::refuse));
    pass(Duration.ofMillis(200));
    assertThat(importer.totals().slabBytesInUse()).isZero();
    assertThat(importer.totals().slabBytesQuarantined()).isZero();
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

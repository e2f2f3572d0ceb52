package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.handoff.HandoffService;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.testing.UcxPresent;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A process that can reach the importer, but has no secret, says everything it can think of. */
@UcxPresent
@Timeout(300)
class UcxStrangerTest {
  private static final long SEED = Long.getLong("seed", System.nanoTime());
  private static final String HOST = "127.0.0.1";
  private static final KvGeometry GEOMETRY = new KvGeometry(5, 4, 8, 4);
  private static final int TOKENS = 64;

  @Test
  void aStrangerCanNeitherDisturbAHandoffNorWriteIntoIt() throws Exception {
    System.out.println("UcxStrangerTest: -Dseed=" + SEED);
    try (HandoffService importer =
            (HandoffService) KvTransferFactory.open(TransferOptions.on(HOST));
        KvTransfer exporter = KvTransferFactory.open(TransferOptions.on(HOST));
        Arena arena = Arena.ofShared()) {
      KvStore from = KvStore.random(GEOMETRY, TOKENS, 3);
      KvStore to = new KvStore(GEOMETRY, TOKENS);
      Outcome exported = new Outcome(from);
      Outcome imported = new Outcome(to);
      CountDownLatch half = new CountDownLatch(1);
      Ticket ticket =
          importer.expect(
              new ImportSpec("s", 3, GEOMETRY, 0, TOKENS, 7),
              (range, slab) -> {
                to.unpack(range, slab);
                half.countDown();
              },
              imported);
      Export export = exporter.export(ticket, "s", 3, GEOMETRY, from, exported);
      export.computed(TOKENS / 2);
      assertThat(half.await(60, TimeUnit.SECONDS)).isTrue();

      List<byte[]> messages = hostile(ticket);
      try (Stranger stranger = new Stranger(ticket.port())) {
        for (byte[] message : messages) {
          stranger.say(message, null);
        }
        MemorySegment payload = arena.allocate(1 << 16, 64);
        for (byte[] message : messages) {
          stranger.say(message, payload);
        }
        assertThat(stranger.connections()).as("it was thrown out").isGreaterThan(1);
      }
      assertThat(importer.refusedMessages()).isPositive();
      assertThat(importer.totals().openImports()).isEqualTo(1);

      export.finish(new Manifest(TOKENS, 7, 1, 0));
      imported.success(60);
      exported.success(60);
      assertThat(to.sameFrom(0, from)).isTrue();
      assertThat(importer.totals().corruptSlabs()).isZero();
      assertThat(importer.totals().slabBytesInUse()).isZero();
    }
  }

  @Test
  void aProcessThatSpeaksPlainUcxReadsAndWritesNothingAndAHandoffBesideItCompletes()
      throws Exception {
    try (HandoffService importer =
            (HandoffService) KvTransferFactory.open(TransferOptions.on(HOST));
        KvTransfer exporter = KvTransferFactory.open(TransferOptions.on(HOST));
        Arena arena = Arena.ofShared()) {
      MemorySegment marked = arena.allocate(HostileProcess.BYTES, 4096).fill((byte) 0x5A);
      KvStore from = KvStore.random(GEOMETRY, TOKENS, 3);
      KvStore to = new KvStore(GEOMETRY, TOKENS);
      Outcome exported = new Outcome(from);
      Outcome imported = new Outcome(to);
      Ticket ticket = importer.expect(new ImportSpec("s", 3, GEOMETRY, 0, TOKENS, 7), to, imported);
      Export export = exporter.export(ticket, "s", 3, GEOMETRY, from, exported);
      export.computed(TOKENS / 2);

      Map<String, String> environment = new HashMap<>(UcxEnvironment.defaults(HOST));
      environment.put("UCX_TLS", "tcp"); // where UCX emulates one-sided access in software
      Process hostile =
          PeerProcess.start(
              HostileProcess.class,
              List.of(Integer.toString(ticket.port()), Long.toString(marked.address())),
              environment);
      assertThat(PeerProcess.output(hostile).readLine()).as("what it read").isEqualTo("done 0");
      assertThat(hostile.waitFor(60, TimeUnit.SECONDS)).isTrue();
      assertThat(marked.mismatch(arena.allocate(HostileProcess.BYTES).fill((byte) 0x5A)))
          .as("what it wrote")
          .isEqualTo(-1);

      export.finish(new Manifest(TOKENS, 7, 1, 0));
      imported.success(60);
      exported.success(60);
      assertThat(to.sameFrom(0, from)).isTrue();
      assertThat(importer.totals().slabBytesInUse()).isZero();
    }
  }

  @Test
  void aTicketThatWasOverheardOpensNothingWhileItIsUsedNorAfter() throws Exception {
    try (HandoffService importer =
            (HandoffService) KvTransferFactory.open(TransferOptions.on(HOST));
        KvTransfer exporter = KvTransferFactory.open(TransferOptions.on(HOST))) {
      KvStore from = KvStore.random(GEOMETRY, TOKENS, 3);
      KvStore to = new KvStore(GEOMETRY, TOKENS);
      Outcome exported = new Outcome(from);
      Outcome imported = new Outcome(to);
      CountDownLatch half = new CountDownLatch(1);
      Ticket ticket =
          importer.expect(
              new ImportSpec("s", 3, GEOMETRY, 0, TOKENS, 7),
              (range, slab) -> {
                to.unpack(range, slab);
                half.countDown();
              },
              imported);
      Export export = exporter.export(ticket, "s", 3, GEOMETRY, from, exported);
      export.computed(TOKENS / 2);
      assertThat(half.await(60, TimeUnit.SECONDS)).isTrue();
      Route right = new Route(ticket.transfer(), "s", 3);
      SlabRange rest = new SlabRange(0, 5, TOKENS / 2, TOKENS);
      List<Message> replay =
          List.of(
              new Message.Hello(
                  right,
                  ticket.secret(),
                  HandoffReason.PREFILL_TO_DECODE,
                  GEOMETRY,
                  0,
                  1 << 20,
                  1000),
              new Message.Slab(right, 1, 0, rest, 4, GEOMETRY.bytes(rest), 0),
              new Message.Finish(right, 2, 1, new Manifest(TOKENS, 7, 66, 0)),
              new Message.Abort(right, Kind.CANCELLED, "go away"));
      try (Stranger stranger = new Stranger(ticket.port())) {
        for (Message message : replay) {
          stranger.say(MessageCodec.encode(message), null);
        }
        export.finish(new Manifest(TOKENS, 7, 1, 0));
        imported.success(60);
        exported.success(60);
        for (Message message : replay) {
          stranger.say(MessageCodec.encode(message), null);
        }
      }
      assertThat(to.sameFrom(0, from)).isTrue();
      assertThat(to.touchedAfterSeal()).isZero();
    }
  }

  /** Garbage of every length, and well-formed messages of one who does not know the secret. */
  private static List<byte[]> hostile(Ticket ticket) {
    Random random = new Random(SEED);
    List<byte[]> messages = new ArrayList<>();
    for (int length = 1; length <= MessageCodec.MAX_BYTES; length += 1 + length / 8) {
      byte[] garbage = new byte[length];
      random.nextBytes(garbage);
      messages.add(garbage);
    }
    Route right = new Route(ticket.transfer(), "s", 3);
    List<Route> routes =
        List.of(
            right,
            new Route(ticket.transfer(), "s", 2),
            new Route(ticket.transfer(), "other", 3),
            new Route(new Bits128(1, 2), "s", 3));
    for (Route route : routes) {
      for (Message message : every(route)) {
        messages.add(MessageCodec.encode(message));
      }
    }
    Message.Hello stale =
        new Message.Hello(
            routes.get(1),
            ticket.secret(),
            HandoffReason.PREFILL_TO_DECODE,
            GEOMETRY,
            0,
            1 << 20,
            1000);
    messages.add(MessageCodec.encode(stale));
    return messages;
  }

  private static List<Message> every(Route route) {
    SlabRange range = new SlabRange(0, 5, TOKENS / 2, TOKENS);
    return List.of(
        new Message.Hello(
            route, new Bits128(0, 0), HandoffReason.PREFILL_TO_DECODE, GEOMETRY, 0, 1 << 20, 1000),
        new Message.Slab(route, 1, 0, range, 4, GEOMETRY.bytes(range), 0),
        new Message.Slab(
            route, 7, 0, new SlabRange(0, Integer.MAX_VALUE, 0, Integer.MAX_VALUE), 4, 1, 0),
        new Message.Finish(route, 1, 1, new Manifest(TOKENS, 7, 66, 0)),
        new Message.Abort(route, Kind.CANCELLED, "go away"),
        new Message.Welcome(route, 1, 0, 1, 1 << 20, 1),
        new Message.SlabAck(route, 0, 1 << 20),
        new Message.SlabNack(route, 0, 0),
        new Message.Done(route));
  }

  /** Speaks to a port by the bare transport and connects again whenever it is thrown out. */
  private static final class Stranger implements AutoCloseable {
    private final UcxTransport transport = UcxTransport.open(HOST, 0);
    private final Semaphore sent = new Semaphore(0);
    private final int port;
    private @Nullable Connection connection;
    private int connections;

    Stranger(int port) {
      this.port = port;
      transport.start(
          new TransportListener() {
            @Override
            public void onMessage(
                Connection from, byte[] header, @Nullable IncomingPayload payload) {
              // whatever the answer is
            }

            @Override
            public void onLost(Connection lost, String cause) {
              connection = null;
            }
          });
    }

    void say(byte[] header, @Nullable MemorySegment payload) throws InterruptedException {
      transport.execute(
          () -> {
            if (connection == null) {
              connection = transport.connect(HOST, port);
              connections++;
            }
            connection.send(header, payload, _ -> sent.release());
          });
      assertThat(sent.tryAcquire(60, TimeUnit.SECONDS)).isTrue();
    }

    int connections() {
      return connections;
    }

    @Override
    public void close() {
      transport.close();
    }
  }
}

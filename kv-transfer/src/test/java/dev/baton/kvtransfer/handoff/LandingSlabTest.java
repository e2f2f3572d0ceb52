package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** A network that writes when the test says so, into the one landing slab that there is. */
class LandingSlabTest {

  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 16, 2);
  private static final int TOKENS = 32;
  private static final SlabRange ALL = new SlabRange(0, 2, 0, TOKENS);

  private final Wires wires = new Wires();
  private final HandoffService importer =
      new HandoffService(
          new TransferOptions(
              "here",
              1,
              TransferOptions.LEAST_SLAB_BYTES,
              1,
              1,
              Duration.ofSeconds(2),
              Duration.ofSeconds(10),
              3),
          wires,
          wires,
          () -> 0);

  /** Transport and threads in one queue that the test runs. */
  private static final class Wires implements Transport, HandoffWorkers {
    private final Deque<Runnable> tasks = new ArrayDeque<>();
    private @Nullable TransportListener listener;

    void run() {
      while (!tasks.isEmpty()) {
        tasks.removeFirst().run();
      }
    }

    void arrive(Connection from, Message message, @Nullable IncomingPayload payload) {
      execute(
          () ->
              Objects.requireNonNull(listener)
                  .onMessage(from, MessageCodec.encode(message), payload));
      run();
    }

    @Override
    public void start(TransportListener taker) {
      listener = taker;
    }

    @Override
    public String host() {
      return "here";
    }

    @Override
    public int port() {
      return 1;
    }

    @Override
    public void execute(Runnable task) {
      tasks.addLast(task);
    }

    @Override
    public Connection connect(String host, int port) {
      throw new AssertionError("an importer connects to nobody");
    }

    @Override
    public Executor packer() {
      return tasks::addLast;
    }

    @Override
    public Executor unpacker() {
      return tasks::addLast;
    }

    @Override
    public void everyTick(Runnable task) {
      // time stands still
    }

    @Override
    public boolean await(CountDownLatch latch, Duration most) {
      run();
      return latch.getCount() == 0;
    }

    @Override
    public boolean close(CountDownLatch submitted, long seconds) {
      run();
      return true;
    }

    @Override
    public void close() {
      run();
    }
  }

  /** Swallows what is said to it. */
  private static final class Exporter implements Connection {
    @Override
    public String peer() {
      return "exporter";
    }

    @Override
    public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
      // nobody listens
    }

    @Override
    public void close() {
      // stays
    }
  }

  /** A payload that lands when it is told to. */
  private static final class Payload implements IncomingPayload {
    private final long length;
    private @Nullable MemorySegment place;
    private @Nullable Completion completion;

    Payload(long length) {
      this.length = length;
    }

    @Override
    public long length() {
      return length;
    }

    @Override
    public void receive(MemorySegment landing, Completion done) {
      place = landing;
      completion = done;
    }

    @Override
    public void refuse() {
      throw new AssertionError("refused");
    }
  }

  private Payload announce(String session, Outcome outcome, KvStore store) {
    Ticket ticket =
        importer.expect(new ImportSpec(session, 1, GEOMETRY, 0, TOKENS, 7), store, outcome);
    transfer = ticket;
    Route route = new Route(ticket.transfer(), session, 1);
    Connection exporter = new Exporter();
    Payload payload = new Payload(GEOMETRY.bytes(ALL));
    wires.arrive(
        exporter,
        new Message.Hello(
            route, ticket.secret(), HandoffReason.PREFILL_TO_DECODE, GEOMETRY, 0, 4096, 60_000),
        null);
    wires.arrive(exporter, new Message.Slab(route, 0, 0, ALL, 2, payload.length(), 1), payload);
    return payload;
  }

  private @Nullable Ticket transfer;

  @AfterEach
  void close() {
    importer.close();
  }

  @Test
  void isNobodyElsesUntilTheNetworkIsDoneWithItHoweverItsHandOffEnded() throws Exception {
    KvStore first = new KvStore(GEOMETRY, TOKENS);
    Outcome cancelled = new Outcome(first);
    Payload late = announce("first", cancelled, first);
    assertThat(late.place).as("the landing slab").isNotNull();

    importer.cancelImport(Objects.requireNonNull(transfer).transfer());
    wires.run();

    assertThat(cancelled.failure(0)).isNotNull();
    KvStore second = new KvStore(GEOMETRY, TOKENS);
    Payload waiting = announce("second", new Outcome(second), second);
    assertThat(waiting.place).as("a place for the next hand-off's slab").isNull();
    assertThat(importer.holdings())
        .extracting(SlabHolding::session)
        .as("who has the slab")
        .containsExactly("first");

    // The network writes what it likes, and only then lets go.
    Objects.requireNonNull(late.place).fill((byte) 0x5a);
    Objects.requireNonNull(late.completion).done(new IOException("lost"));
    wires.run();

    assertThat(Objects.requireNonNull(waiting.place).address()).isEqualTo(late.place.address());
    assertThat(importer.holdings()).extracting(SlabHolding::session).containsExactly("second");
    assertThat(first.touchedAfterSeal()).isZero();
    Objects.requireNonNull(waiting.completion).done(new IOException("lost"));
    wires.run();
  }
}

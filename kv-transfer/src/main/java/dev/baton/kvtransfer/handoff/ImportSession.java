package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One open import: does what its {@link ImportMachine} says with slabs, connection, sink and
 * listener. Transport thread only, but for unpacking and the listener, which are on the unpacking
 * thread (the transport's, where sinks only copy memory) in the order of their submission; that
 * order is why the sink is left alone after the listener's call.
 *
 * <p>A slab goes back to the pool only after its receive has completed, whatever has become of the
 * import meanwhile: until then the network may still write to it.
 */
final class ImportSession implements SlabQueue.User {
  private static final Logger log = LoggerFactory.getLogger(ImportSession.class);

  private record Announced(Message.Slab slab, IncomingPayload payload) {}

  private final ImportMachine machine;
  private final KvSink sink;
  private final ImportListener listener;
  private final ImportDesk desk;
  private final Deque<Announced> announced = new ArrayDeque<>();
  private @Nullable Connection connection;
  private @Nullable Connection abortedBy;
  private Message.@Nullable Abort aborted;
  private @Nullable IncomingPayload arriving;
  private volatile HandoffReason reason = HandoffReason.PREFILL_TO_DECODE;
  private int slabsHeld;
  private long firstNanos;

  /** Read by the unpacking thread, so that slabs queued before the end are skipped. */
  private volatile boolean ended;

  ImportSession(ImportMachine machine, KvSink sink, ImportListener listener, ImportDesk desk) {
    this.machine = machine;
    this.sink = sink;
    this.listener = listener;
    this.desk = desk;
  }

  ImportMachine machine() {
    return machine;
  }

  /** Where the exporter is, once it has shown the secret. */
  @Nullable Connection connection() {
    return connection;
  }

  /** Takes an admitted hello; false if the hand-off has another connection already. */
  boolean hello(Connection from, Message.Hello message) {
    if (connection != null && connection != from) {
      return false;
    }
    connection = from;
    reason = message.reason();
    apply(machine.hello(message));
    Message.Abort overtaken = aborted;
    if (abortedBy == from && overtaken != null) {
      apply(machine.message(overtaken));
    }
    return true;
  }

  /**
   * An abort of a connection that has not shown the secret. It counts only if the secret follows on
   * the same connection: messages may overtake each other.
   */
  void abortedEarly(Connection from, Message.Abort message) {
    if (abortedBy == null) {
      abortedBy = from;
      aborted = message;
    }
  }

  void slab(Message.Slab message, IncomingPayload payload) {
    if (firstNanos == 0) {
      firstNanos = desk.nanos();
    }
    arriving = payload;
    apply(machine.slab(message, payload.length()));
  }

  @Override
  public boolean wantsSlab() {
    return !announced.isEmpty();
  }

  @Override
  public int slabsHeld() {
    return slabsHeld;
  }

  @Override
  public Route route() {
    return machine.route();
  }

  @Override
  public HandoffReason reason() {
    return reason;
  }

  @Override
  public Object peer() {
    Connection from = connection;
    if (from == null) {
      throw new IllegalStateException("a slab without a connection");
    }
    return from;
  }

  @Override
  public void useSlab(Slab slab) {
    Announced next = announced.removeFirst();
    slabsHeld++;
    next.payload.receive(slab.first(next.slab.length()), failure -> landed(next, slab, failure));
  }

  private void landed(Announced next, Slab slab, @Nullable Exception failure) {
    if (machine.ended()) {
      release(slab);
    } else if (failure != null) {
      log.debug("{}: slab {} did not land", machine.route(), next.slab.sequence(), failure);
      release(slab);
      apply(machine.wrong(next.slab.sequence()));
    } else {
      desk.unpack(() -> unpack(next.slab, slab));
    }
  }

  /** Unpacking thread; the result is for the transport's thread. */
  private Runnable unpack(Message.Slab message, Slab slab) {
    if (ended) {
      return () -> release(slab);
    }
    Runnable outcome;
    if (slab.crc32c(message.length()) != message.crc32c()) {
      outcome = () -> apply(wrongChecksum(message));
    } else {
      outcome = () -> apply(machine.verified(message.sequence()));
      try {
        sink.unpack(message.range(), slab.first(message.length()));
      } catch (RuntimeException | Error e) {
        outcome = () -> apply(machine.sinkFailed(e));
      }
    }
    Runnable last = outcome;
    return () -> {
      release(slab);
      last.run();
    };
  }

  private List<ImportEffect> wrongChecksum(Message.Slab message) {
    desk.counters().corruptSlabs.increment();
    log.warn(
        "{}: slab {} has a wrong checksum, attempt {}",
        machine.route(),
        message.sequence(),
        message.attempt());
    return machine.wrong(message.sequence());
  }

  void apply(List<ImportEffect> effects) {
    for (ImportEffect effect : effects) {
      switch (effect) {
        case ImportEffect.Send(Message message) -> send(message);
        case ImportEffect.Land(Message.Slab slab) -> {
          announced.addLast(new Announced(slab, takeArriving()));
          desk.wantsSlabs(this);
        }
        case ImportEffect.Refuse() -> takeArriving().refuse();
        case ImportEffect.Completed(var manifest) -> {
          HandoffStats stats =
              new HandoffStats(
                  machine.bytes(), machine.slabs(), machine.resent(), desk.nanos() - firstNanos);
          end();
          desk.completed(this, stats);
          desk.tell(() -> listener.onCompleted(manifest, stats));
        }
        case ImportEffect.Failed(HandoffException cause) -> {
          end();
          desk.failed(this, cause);
          desk.tell(() -> listener.onFailed(cause));
        }
      }
    }
  }

  private IncomingPayload takeArriving() {
    IncomingPayload payload = arriving;
    if (payload == null) {
      throw new IllegalStateException("no payload has arrived");
    }
    arriving = null;
    return payload;
  }

  private void send(Message message) {
    if (connection != null) {
      connection.send(MessageCodec.encode(message), null, this::sent);
    }
  }

  private void sent(@Nullable Exception failure) {
    if (failure != null && !machine.ended()) {
      apply(machine.peerLost("sending failed: " + failure.getMessage()));
    }
  }

  private void end() {
    ended = true;
    announced.forEach(waiting -> waiting.payload.refuse());
    announced.clear();
  }

  private void release(Slab slab) {
    slabsHeld--;
    desk.release(this, slab);
  }
}

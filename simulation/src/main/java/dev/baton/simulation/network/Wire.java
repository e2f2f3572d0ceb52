package dev.baton.simulation.network;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * One end of a connection between two transports. Messages overtake each other. A payload stays at
 * its sender until the receiver has named a place, and is copied some time after that; garbage is
 * written there if the wire is lost by then, and a sender that changes a payload before its send
 * has completed is found out: what the contract of transports forbids shows as wrong text.
 */
final class Wire implements Connection {

  private static final long SILENCE_NANOS = 4_000_000_000L;

  /** A slab that was acknowledged here. */
  private record Slab(Route route, int sequence) {}

  private final SlabTransport at;
  private final String peerAddress;
  private final Network network;
  private final SplittableRandom random;
  private final Set<Payload> pending = new LinkedHashSet<>();
  private final Set<Sending> outstanding = new LinkedHashSet<>();
  private final Set<Slab> acknowledged = new HashSet<>();
  private @Nullable Wire other;
  private boolean open = true;

  Wire(SlabTransport at, String peerAddress) {
    this.at = at;
    this.peerAddress = peerAddress;
    this.network = at.network();
    this.random = network.random();
    at.wires().add(this);
  }

  boolean open() {
    return open;
  }

  String peerHost() {
    return peerAddress.substring(0, peerAddress.indexOf(':'));
  }

  /** Both ends belong together; the other one's transport hears of it. */
  void join(Wire back) {
    other = back;
    back.other = this;
    SlabTransport there = back.at;
    arrive(
        back,
        () ->
            there.tell(
                listener -> {
                  if (back.open) {
                    listener.onAccepted(back);
                  }
                }));
  }

  @Override
  public String peer() {
    return peerAddress;
  }

  /** Runs the delivery at the other end's process when the network has brought it there. */
  private void arrive(Wire there, Runnable delivery) {
    arrive(there, at.process().instant() + network.latency(), delivery);
  }

  private void arrive(Wire there, long instant, Runnable delivery) {
    network
        .time()
        .at(
            instant,
            () -> {
              if (network.reaches(at.process(), there.at.process())) {
                there.at.process().run(delivery);
              } else if (silent(there)) {
                lose("no answer of the peer");
                there.lose("no answer of the peer");
                there.at.process().run(delivery);
              } else {
                arrive(there, network.time().now() + network.retryPause(), delivery);
              }
            });
  }

  private boolean silent(Wire there) {
    long since = network.silentSince(there.at.process(), at.process());
    return since != Long.MAX_VALUE && network.time().now() - since > SILENCE_NANOS;
  }

  /** Who acknowledges a slab has verified it, and never asks for it again. */
  private void requireKept(@Nullable Message message) {
    switch (message) {
      case Message.SlabAck m -> acknowledged.add(new Slab(m.route(), m.sequence()));
      case Message.SlabNack m when acknowledged.contains(new Slab(m.route(), m.sequence())) ->
          network.broke(
              "%s asks again for slab %d of %s, which it has acknowledged"
                  .formatted(at.process().name(), m.sequence(), m.route().session()));
      case null, default -> {
        // promises nothing
      }
    }
  }

  private boolean happens(double probability) {
    return probability > 0 && random.nextDouble() < probability;
  }

  @Override
  public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
    TransportFaults faults = at.faults();
    if (happens(faults.loss())) {
      close();
    }
    Wire there = other;
    if (!open || there == null) {
      at.execute(() -> completion.done(new IOException("lost")));
      return;
    }
    byte[] sent = header.clone();
    Message message = MessageCodec.decode(header);
    if (network.traced()) {
      network.note(at.process(), "to " + peerAddress + ": " + message);
    }
    requireKept(message);
    if (happens(faults.corruptHeader())) {
      sent[random.nextInt(sent.length)] ^= (byte) (1 << random.nextInt(8));
    }
    if (happens(faults.drop())) {
      at.execute(() -> completion.done(null));
      return;
    }
    int copies = happens(faults.duplicate()) ? 2 : 1;
    byte[] content = payload == null ? new byte[0] : payload.toArray(ValueLayout.JAVA_BYTE);
    Sending sending = new Sending(payload, content, completion, copies);
    outstanding.add(sending);
    for (int i = 0; i < copies; i++) {
      long delay = happens(faults.delay()) ? random.nextLong(3_000_000_000L) : 0;
      Payload incoming = payload == null ? null : new Payload(there, sending);
      arrive(
          there,
          at.process().instant() + network.latency() + delay,
          () -> there.receive(sent, incoming, sending));
    }
  }

  private void receive(byte[] header, @Nullable Payload payload, Sending sending) {
    if (payload != null) {
      pending.add(payload);
    } else {
      sending.doneAt(Objects.requireNonNull(other), null);
    }
    at.tell(
        listener -> {
          if (open) {
            listener.onMessage(this, header, payload);
          } else if (payload != null && !payload.used) {
            payload.refuse();
          }
        });
  }

  @Override
  public void close() {
    Wire there = other;
    lose("closed");
    if (there != null) {
      arrive(there, () -> there.lose("closed by the peer"));
    }
  }

  void lose(String cause) {
    if (!open) {
      return;
    }
    open = false;
    at.wires().remove(this);
    at.tell(listener -> listener.onLost(this, cause));
    // What was to land here does not come any more, but may still write for a while.
    for (Payload payload : List.copyOf(pending)) {
      payload.lost();
    }
    for (Sending sending : List.copyOf(outstanding)) {
      sending.lost();
    }
  }

  /** What a sender has given away, until all copies of it are done. */
  private final class Sending {
    private final @Nullable MemorySegment memory;
    private final byte[] content;
    private final Completion completion;
    private int copies;

    Sending(@Nullable MemorySegment memory, byte[] content, Completion completion, int copies) {
      this.memory = memory;
      this.content = content;
      this.completion = completion;
      this.copies = copies;
    }

    /** A copy is done, as the other end knows; the sender hears it a little later. */
    void doneAt(Wire sender, @Nullable Exception cause) {
      network
          .time()
          .at(
              network.time().now() + network.latency(),
              () -> sender.at.process().run(() -> sender.at.execute(() -> done(cause))));
    }

    /** The sender's end of the wire is gone. */
    void lost() {
      copies = 1;
      at.execute(() -> done(new IOException("lost")));
    }

    private void done(@Nullable Exception cause) {
      if (--copies == 0 && outstanding.remove(this)) {
        requireUnchanged();
        completion.done(cause);
      }
    }

    private void requireUnchanged() {
      if (memory != null && memory.mismatch(MemorySegment.ofArray(content)) >= 0) {
        throw new IllegalStateException("a payload was changed before its send completed");
      }
    }
  }

  /** A payload at its receiver. */
  private final class Payload implements IncomingPayload {
    private final Wire receiver;
    private final Sending sending;
    private @Nullable MemorySegment landing;
    private @Nullable Completion completion;
    private boolean used;
    private boolean done;

    Payload(Wire receiver, Sending sending) {
      this.receiver = receiver;
      this.sending = sending;
    }

    @Override
    public long length() {
      return sending.content.length;
    }

    @Override
    public void receive(MemorySegment place, Completion landed) {
      use();
      landing = place;
      completion = landed;
      if (!receiver.open) {
        lost();
        return;
      }
      // The sender's process takes part; then the bytes travel.
      receiver.arrive(Wire.this, () -> Wire.this.arrive(receiver, this::land));
    }

    private void land() {
      if (done) {
        return;
      }
      if (!open || !receiver.open) {
        lost();
        return;
      }
      byte[] bytes = sending.content;
      if (happens(at.faults().corruptPayload())) {
        if (network.traced()) {
          network.note(receiver.at.process(), "a payload arrives corrupt");
        }
        bytes = bytes.clone();
        bytes[random.nextInt(bytes.length)] ^= (byte) (1 << random.nextInt(8));
      }
      MemorySegment.copy(
          bytes, 0, Objects.requireNonNull(landing), ValueLayout.JAVA_BYTE, 0, bytes.length);
      end(null);
    }

    @Override
    public void refuse() {
      use();
      end(null);
    }

    /** The wire is gone: a place that was named may be written to until the completion. */
    void lost() {
      if (done || completion == null) {
        return;
      }
      done = true;
      receiver.pending.remove(this);
      MemorySegment place = Objects.requireNonNull(landing);
      Completion waiting = completion;
      receiver
          .at
          .process()
          .after(
              random.nextLong(50_000_000),
              () -> {
                place.fill((byte) random.nextInt());
                receiver.at.execute(() -> waiting.done(new IOException("lost")));
              });
      sending.doneAt(Wire.this, new IOException("lost"));
    }

    private void end(@Nullable Exception failure) {
      done = true;
      receiver.pending.remove(this);
      Completion waiting = completion;
      if (waiting != null) {
        receiver.at.execute(() -> waiting.done(failure));
      }
      sending.doneAt(Wire.this, failure);
    }

    private void use() {
      if (used) {
        throw new IllegalStateException("a payload was used twice");
      }
      used = true;
    }
  }
}

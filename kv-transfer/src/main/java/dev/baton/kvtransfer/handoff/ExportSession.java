package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.KvAwayException;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.util.ArrayDeque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;

/**
 * One open export: does what its {@link ExportMachine} says with slabs, connection, source and
 * listener. Transport thread only, but for packing and the listener, which are on the packing
 * thread (the transport's, where sources only copy memory) in the order of their submission; that
 * order is why nothing is packed after the listener's last call.
 */
final class ExportSession implements SlabQueue.User {
  private final ExportMachine machine;
  private final KvSource source;
  private final ExportListener listener;
  private final ExportDesk desk;
  private final Connection connection;
  private final AtomicLong acknowledgedBytes;
  private final Map<Integer, Held> held = new HashMap<>();

  /** Cut, but the source did not have it when it was to be packed; they hold no slabs. */
  private final ArrayDeque<ExportMachine.Job> away = new ArrayDeque<>();

  /** Whether the source has said nothing since it did not have what is away. */
  private boolean waits;

  /** How often the source's owner has spoken. */
  private int told;

  private long firstNanos;

  /** Read by the packing thread, so that jobs queued before the end are skipped. */
  private volatile boolean ended;

  /** A slab and why it is in use; when no reason is left it goes back. */
  private static final class Held {
    final Slab slab;
    boolean packing = true;
    boolean kept = true;
    int sends;

    Held(Slab slab) {
      this.slab = slab;
    }
  }

  /**
   * @param acknowledgedBytes counts the bytes of slabs that the importer has verified
   */
  ExportSession(
      ExportMachine machine,
      KvSource source,
      ExportListener listener,
      ExportDesk desk,
      Connection connection,
      AtomicLong acknowledgedBytes) {
    this.machine = machine;
    this.source = source;
    this.listener = listener;
    this.desk = desk;
    this.connection = connection;
    this.acknowledgedBytes = acknowledgedBytes;
  }

  ExportMachine machine() {
    return machine;
  }

  Connection connection() {
    return connection;
  }

  @Override
  public boolean wantsSlab() {
    return !waits && (!away.isEmpty() || machine.hasJob());
  }

  @Override
  public int slabsHeld() {
    return held.size();
  }

  @Override
  public Route route() {
    return machine.route();
  }

  @Override
  public HandoffReason reason() {
    return machine.reason();
  }

  @Override
  public Object peer() {
    return connection;
  }

  @Override
  public void useSlab(Slab slab) {
    if (firstNanos == 0) {
      firstNanos = desk.nanos();
    }
    ExportMachine.Job job = away.isEmpty() ? machine.nextJob() : away.removeFirst();
    held.put(job.sequence(), new Held(slab));
    int toldBefore = told;
    desk.pack(() -> pack(job, slab, toldBefore));
  }

  /** The source's owner has spoken: what was away may be there. */
  void toldOfSource(List<ExportEffect> effects) {
    told++;
    waits = false;
    apply(effects);
  }

  private void wasAway(ExportMachine.Job job, int toldBefore) {
    if (!machine.ended()) {
      away.add(job);
      waits |= told == toldBefore; // else it may have come back while this was packed
    }
    Held slab = requireHeld(job.sequence());
    slab.packing = false;
    slab.kept = false;
    giveBackIfUnused(job.sequence(), slab);
    desk.wantsSlabs(this);
  }

  /** Packing thread; the result is for the transport's thread. */
  private Runnable pack(ExportMachine.Job job, Slab slab, int toldBefore) {
    if (ended) {
      return () -> packed(job, List.of());
    }
    try {
      source.pack(job.range(), slab.first(job.bytes()));
      int crc = slab.crc32c(job.bytes());
      return () -> packed(job, machine.packed(job.sequence(), crc));
    } catch (KvAwayException e) {
      return () -> wasAway(job, toldBefore);
    } catch (RuntimeException | Error e) {
      return () -> packed(job, machine.sourceFailed(e));
    }
  }

  private void packed(ExportMachine.Job job, List<ExportEffect> effects) {
    Held slab = requireHeld(job.sequence());
    slab.packing = false;
    apply(effects);
    giveBackIfUnused(job.sequence(), slab);
  }

  void apply(List<ExportEffect> effects) {
    for (ExportEffect effect : effects) {
      switch (effect) {
        case ExportEffect.Send(Message message) ->
            connection.send(MessageCodec.encode(message), null, this::sent);
        case ExportEffect.SendSlab(Message.Slab message) -> sendSlab(message);
        case ExportEffect.Release(int sequence, int bytes) -> {
          acknowledgedBytes.addAndGet(bytes);
          release(sequence);
        }
        case ExportEffect.Packed() -> desk.tell(listener::onPacked);
        case ExportEffect.Acknowledged() -> {
          HandoffStats stats =
              new HandoffStats(
                  machine.bytes(), machine.slabs(), machine.resent(), desk.nanos() - firstNanos);
          end();
          desk.completed(this, stats);
          desk.tell(() -> listener.onAcknowledged(stats));
        }
        case ExportEffect.Failed(HandoffException cause) -> {
          end();
          desk.failed(this, cause);
          desk.tell(() -> listener.onFailed(cause));
        }
      }
    }
    desk.wantsSlabs(this);
  }

  private void sendSlab(Message.Slab message) {
    Held slab = requireHeld(message.sequence());
    slab.sends++;
    connection.send(
        MessageCodec.encode(message),
        slab.slab.first(message.length()),
        failure -> {
          slab.sends--;
          giveBackIfUnused(message.sequence(), slab);
          sent(failure);
        });
  }

  private void sent(@Nullable Exception failure) {
    if (failure != null && !machine.ended()) {
      apply(machine.peerLost("sending failed: " + failure.getMessage()));
    }
  }

  private void release(int sequence) {
    Held slab = requireHeld(sequence);
    slab.kept = false;
    giveBackIfUnused(sequence, slab);
  }

  private void end() {
    ended = true;
    away.clear();
    for (int sequence : List.copyOf(held.keySet())) {
      release(sequence);
    }
  }

  private void giveBackIfUnused(int sequence, Held slab) {
    if (!slab.packing && !slab.kept && slab.sends == 0 && held.remove(sequence, slab)) {
      desk.release(this, slab.slab);
    }
  }

  private Held requireHeld(int sequence) {
    Held slab = held.get(sequence);
    if (slab == null) {
      throw new IllegalStateException("slab %d is not held".formatted(sequence));
    }
    return slab;
  }
}

package dev.baton.worker.fakes;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabLedger;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.kvtransfer.wire.HandoffReason;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Hand-offs inside one process: exporters and importers of one {@link Network} reach each other,
 * and its one thread does all packing, unpacking and calling. Its switches inject what can go
 * wrong.
 */
public final class FakeTransfer implements KvTransfer {

  /** What connects transfers. */
  public static final class Network implements AutoCloseable {

    private final ExecutorService thread =
        Executors.newSingleThreadExecutor(
            Thread.ofPlatform().name("fake-transfer").daemon().factory());
    private final Map<Bits128, Incoming> incoming = new HashMap<>();
    private final SecureRandom random = new SecureRandom();
    private final List<Runnable> held = new ArrayList<>();
    private volatile boolean corrupt;
    private final List<Runnable> heldCompletions = new ArrayList<>();
    private boolean holding;
    private boolean holdingCompletions;

    /** From now on every slab arrives wrong, however often it is sent. */
    public void corrupt(boolean value) {
      corrupt = value;
    }

    /** Whatever would happen on the wire from now on waits for {@link #letGo}. */
    public void hold() {
      thread.execute(() -> holding = true);
    }

    public void letGo() {
      thread.execute(
          () -> {
            holding = false;
            List<Runnable> all = List.copyOf(held);
            held.clear();
            all.forEach(Runnable::run);
          });
    }

    /** Whether acknowledgements wait; packing goes on. */
    public void holdCompletions(boolean hold) {
      thread.execute(
          () -> {
            holdingCompletions = hold;
            if (!hold) {
              List<Runnable> all = List.copyOf(heldCompletions);
              heldCompletions.clear();
              all.forEach(Runnable::run);
            }
          });
    }

    private void complete(Runnable completion) {
      run(
          () -> {
            if (holdingCompletions) {
              heldCompletions.add(completion);
            } else {
              completion.run();
            }
          });
    }

    private void run(Runnable action) {
      try {
        thread.execute(
            () -> {
              if (holding) {
                held.add(action);
              } else {
                action.run();
              }
            });
      } catch (RejectedExecutionException e) {
        throw new IllegalStateException("network: closed (expected: open)", e);
      }
    }

    @Override
    public void close() {
      thread.shutdown();
    }
  }

  private final class Incoming {
    final Bits128 transfer;
    final ImportSpec spec;
    final KvSink sink;
    final ImportListener listener;
    Outgoing from;
    boolean ended;

    Incoming(Bits128 transfer, ImportSpec spec, KvSink sink, ImportListener listener) {
      this.transfer = transfer;
      this.spec = spec;
      this.sink = sink;
      this.listener = listener;
    }

    void leave() {
      ended = true;
      network.incoming.remove(transfer);
      openImports.decrementAndGet();
    }

    void fail(Kind kind, String why) {
      if (!ended) {
        leave();
        listener.onFailed(new HandoffException(kind, why));
        if (from != null) {
          from.fail(Kind.PEER_ABORTED, why);
        }
      }
    }
  }

  private final class Outgoing implements Export {
    final Ticket ticket;
    final KvGeometry geometry;
    final KvSource source;
    final ExportListener listener;
    Incoming to;
    int sent;
    int slabs;
    volatile long bytes;
    boolean ended;

    Outgoing(Ticket ticket, KvGeometry geometry, KvSource source, ExportListener listener) {
      this.ticket = ticket;
      this.geometry = geometry;
      this.source = source;
      this.listener = listener;
      this.sent = ticket.firstToken();
    }

    void connect() {
      Incoming peer = network.incoming.get(ticket.transfer());
      if (peer == null || !peer.spec.geometry().equals(geometry)) {
        fail(Kind.PEER_LOST, "no such import");
        return;
      }
      to = peer;
      peer.from = this;
    }

    @Override
    public void computed(int tokens) {
      network.run(() -> send(tokens));
    }

    private void send(int tokens) {
      if (ended || tokens <= sent) {
        return;
      }
      SlabRange range = new SlabRange(0, geometry.layers(), sent, tokens);
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment slab = arena.allocate(geometry.bytes(range));
        source.pack(range, slab);
        if (network.corrupt) {
          to.fail(Kind.CORRUPT, "slab: wrong after all resends");
          return;
        }
        to.sink.unpack(range, slab);
        slabs++;
        bytes += slab.byteSize();
      }
      sent = tokens;
    }

    @Override
    public void finish(Manifest manifest) {
      network.run(
          () -> {
            if (!ended) {
              listener.onPacked();
            }
          });
      network.complete(() -> complete(manifest));
    }

    private void complete(Manifest manifest) {
      if (ended) {
        return;
      }
      ended = true;
      to.leave();
      HandoffStats stats = new HandoffStats(bytes, slabs, 0, 1);
      openExports.decrementAndGet();
      exported.incrementAndGet();
      to.listener.onCompleted(manifest, stats);
      listener.onAcknowledged(stats);
    }

    @Override
    public void abort(String reason) {
      network.run(
          () -> {
            Incoming peer = to;
            fail(Kind.CANCELLED, reason);
            if (peer != null) {
              peer.fail(Kind.PEER_ABORTED, reason);
            }
          });
    }

    @Override
    public long acknowledgedBytes() {
      return bytes;
    }

    void fail(Kind kind, String why) {
      if (!ended) {
        ended = true;
        openExports.decrementAndGet();
        listener.onFailed(new HandoffException(kind, why));
      }
    }
  }

  private final Network network;
  private final AtomicInteger openImports = new AtomicInteger();
  private final AtomicInteger openExports = new AtomicInteger();
  private final AtomicInteger exports = new AtomicInteger();
  private final AtomicInteger exported = new AtomicInteger();
  private final List<Incoming> imports = new ArrayList<>();

  public FakeTransfer(Network network) {
    this.network = network;
  }

  /** Exports ever opened. */
  public int exports() {
    return exports.get();
  }

  public int open() {
    return openImports.get() + openExports.get();
  }

  /** The exporters' process is gone: all open imports of this side hear it. */
  public void losePeers() {
    network.run(() -> List.copyOf(imports).forEach(i -> i.fail(Kind.PEER_LOST, "peer: gone")));
  }

  @Override
  public String address() {
    return "127.0.0.1:1";
  }

  @Override
  public Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener) {
    Bits128 id = Bits128.random(network.random);
    Incoming incoming = new Incoming(id, spec, sink, listener);
    openImports.incrementAndGet();
    network.run(
        () -> {
          network.incoming.put(id, incoming);
          imports.add(incoming);
        });
    return new Ticket(
        id, Bits128.random(network.random), "127.0.0.1", 1, spec.firstToken(), 60_000);
  }

  @Override
  public void cancelImport(Bits128 transfer) {
    network.run(
        () -> {
          Incoming incoming = network.incoming.get(transfer);
          if (incoming != null) {
            incoming.fail(Kind.CANCELLED, "cancelled");
          }
        });
  }

  @Override
  public Export export(
      Ticket ticket,
      String session,
      int epoch,
      HandoffReason reason,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener) {
    Outgoing outgoing = new Outgoing(ticket, geometry, source, listener);
    openExports.incrementAndGet();
    exports.incrementAndGet();
    network.run(outgoing::connect);
    return outgoing;
  }

  private static final SlabLedger SLABS = new SlabLedger(0, 0, 8, 8, 1024);

  @Override
  public TransferTotals totals() {
    return new TransferTotals(
        exported.get(), 0, 0, 0, 0, 0, 0, 0, 0, openExports.get(), openImports.get(), SLABS, SLABS);
  }

  @Override
  public void close() {
    network.run(() -> List.copyOf(imports).forEach(i -> i.fail(Kind.CANCELLED, "closed")));
  }
}

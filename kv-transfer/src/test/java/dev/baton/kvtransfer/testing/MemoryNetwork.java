package dev.baton.kvtransfer.testing;

import dev.baton.kvtransfer.handoff.HandoffWorkers;
import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;

/**
 * Nodes, their threads and the wires between them, all run by one thread in a random order that the
 * seed decides: each node's transport thread, packing thread and unpacking thread and each
 * direction of a connection is a lane whose tasks run in order, and a step runs the first task of
 * any lane. Time passes with the steps.
 *
 * <p>A payload is copied in a step of its own, some time after its landing place was named, and
 * garbage is written there if the connection is lost by then: whoever reuses the place earlier is
 * found out. So is a sender that changes a payload before its send has completed.
 */
public final class MemoryNetwork {
  private static final long STEP_NANOS = 2_000;

  private final Random random;
  private final List<Deque<Runnable>> lanes = new ArrayList<>();
  private final Map<Integer, Node> nodes = new HashMap<>();
  private long now;

  public MemoryNetwork(Random random) {
    this.random = random;
  }

  public Node node() {
    Node node = new Node(nodes.size() + 1);
    nodes.put(node.port(), node);
    return node;
  }

  public long nanos() {
    return now;
  }

  /** Runs one task; false if there is none. */
  public boolean step() {
    List<Deque<Runnable>> busy = lanes.stream().filter(lane -> !lane.isEmpty()).toList();
    if (busy.isEmpty()) {
      return false;
    }
    now += random.nextLong(STEP_NANOS);
    busy.get(random.nextInt(busy.size())).removeFirst().run();
    return true;
  }

  /** Lets time pass and every node look at its deadlines. */
  public void pass(long nanos) {
    now += nanos;
    nodes.values().forEach(node -> node.ticks.forEach(Runnable::run));
  }

  public void runUntilIdle() {
    while (step()) {
      // steps are all there is to do
    }
  }

  private Deque<Runnable> lane() {
    Deque<Runnable> lane = new ArrayDeque<>();
    lanes.add(lane);
    return lane;
  }

  /** One process: a transport and the threads of its service. */
  public final class Node implements Transport, HandoffWorkers {
    private final int port;
    private final Deque<Runnable> loop = lane();
    private final Deque<Runnable> packer = lane();
    private final Deque<Runnable> unpacker = lane();
    private final List<Runnable> ticks = new ArrayList<>();
    private final Map<Integer, Wire> outgoing = new HashMap<>();
    private final List<Wire> wires = new ArrayList<>();
    private @Nullable TransportListener listener;
    private boolean closed;

    private Node(int port) {
      this.port = port;
    }

    @Override
    public void start(TransportListener taker) {
      listener = taker;
    }

    @Override
    public String host() {
      return "memory";
    }

    @Override
    public int port() {
      return port;
    }

    @Override
    public void execute(Runnable task) {
      loop.add(() -> run(task));
    }

    private void run(Runnable task) {
      if (!closed) {
        task.run();
      }
    }

    @Override
    public Connection connect(String host, int peer) {
      Wire open = outgoing.get(peer);
      if (open != null && open.open) {
        return open;
      }
      Wire here = new Wire(this);
      Node there = nodes.get(peer);
      outgoing.put(peer, here);
      if (there == null || there.closed) {
        here.lose("nobody listens");
      } else {
        Wire back = new Wire(there);
        here.other = back;
        back.other = here;
        there.execute(() -> there.accepted(back));
      }
      return here;
    }

    private void accepted(Wire wire) {
      if (wire.open && listener != null) {
        listener.onAccepted(wire);
      }
    }

    /** Loses all connections, as a killed process does. */
    public void cut() {
      List.copyOf(wires).forEach(Wire::close);
    }

    @Override
    public Executor packer() {
      return packer::add;
    }

    @Override
    public Executor unpacker() {
      return unpacker::add;
    }

    @Override
    public void everyTick(Runnable task) {
      ticks.add(task);
    }

    @Override
    public boolean await(CountDownLatch latch, Duration most) {
      runUntilIdle();
      return latch.getCount() == 0;
    }

    @Override
    public boolean close(CountDownLatch submitted, long seconds) {
      runUntilIdle();
      ticks.clear();
      return submitted.getCount() == 0;
    }

    @Override
    public void close() {
      cut();
      runUntilIdle();
      closed = true;
    }
  }

  private final class Wire implements Connection {
    private final Node at;
    private final Deque<Runnable> toPeer = lane();
    private @Nullable Wire other;
    private boolean open = true;

    Wire(Node at) {
      this.at = at;
      at.wires.add(this);
    }

    @Override
    public String peer() {
      return other == null ? "nobody" : "node " + other.at.port;
    }

    @Override
    public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
      Wire there = other;
      if (!open || there == null) {
        at.execute(() -> completion.done(new IOException("lost")));
        return;
      }
      byte[] copy = header.clone();
      byte[] sent = payload == null ? new byte[0] : payload.toArray(ValueLayout.JAVA_BYTE);
      toPeer.add(
          () -> {
            if (!open) {
              at.execute(() -> completion.done(new IOException("lost")));
            } else if (payload == null) {
              at.execute(() -> completion.done(null));
              there.deliver(copy, null);
            } else {
              there.deliver(copy, new Payload(there, payload, sent, completion));
            }
          });
    }

    private void deliver(byte[] header, @Nullable IncomingPayload payload) {
      at.execute(
          () -> {
            if (open && at.listener != null) {
              at.listener.onMessage(this, header, payload);
            } else if (payload != null) {
              payload.refuse();
            }
          });
    }

    @Override
    public void close() {
      Wire there = other;
      lose("closed");
      if (there != null) {
        there.lose("closed by the peer");
      }
    }

    private void lose(String cause) {
      if (open) {
        open = false;
        at.wires.remove(this);
        at.execute(
            () -> {
              if (at.listener != null) {
                at.listener.onLost(this, cause);
              }
            });
      }
    }
  }

  private final class Payload implements IncomingPayload {
    private final Wire at;
    private final MemorySegment content;
    private final byte[] sent;
    private final Completion sender;
    private boolean used;

    Payload(Wire at, MemorySegment content, byte[] sent, Completion sender) {
      this.at = at;
      this.content = content;
      this.sent = sent;
      this.sender = sender;
    }

    @Override
    public long length() {
      return content.byteSize();
    }

    @Override
    public void receive(MemorySegment landing, Completion completion) {
      use();
      at.toPeer.add(
          () -> {
            boolean lost = !at.open;
            if (lost) {
              landing.fill((byte) random.nextInt());
            } else {
              MemorySegment.copy(content, 0, landing, 0, content.byteSize());
            }
            Exception failure = lost ? new IOException("lost") : null;
            at.at.execute(() -> completion.done(failure));
            sent(failure);
          });
    }

    @Override
    public void refuse() {
      use();
      sent(null);
    }

    private void sent(@Nullable Exception failure) {
      if (content.mismatch(MemorySegment.ofArray(sent)) >= 0) {
        throw new AssertionError("a payload was changed before its send completed");
      }
      Wire from = at.other;
      if (from != null) {
        from.at.execute(() -> sender.done(failure));
      }
    }

    private void use() {
      if (used) {
        throw new IllegalStateException("a payload was used twice");
      }
      used = true;
    }
  }
}

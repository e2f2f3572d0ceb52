package dev.baton.simulation.network;

import dev.baton.kvtransfer.handoff.HandoffWorkers;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.simulation.clock.Lane;
import dev.baton.simulation.clock.Process;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import org.jspecify.annotations.Nullable;

/**
 * A process's end of the network of hand-offs, and the threads of its hand-off service. It ends
 * with its process; closing it does nothing more.
 */
public final class SlabTransport implements Transport, HandoffWorkers {

  private static final long TICK_NANOS = 100_000_000;

  private final Network network;
  private final Process process;
  private final int port;
  private final TransportFaults faults;
  private final Lane loop;
  private final Lane packer;
  private final Lane unpacker;
  private final Map<String, Wire> outgoing = new HashMap<>();
  private final List<Wire> wires = new ArrayList<>();
  private @Nullable TransportListener listener;

  /**
   * @param faults what may happen to what is sent here
   */
  public SlabTransport(Network network, Process process, int port, TransportFaults faults) {
    this.network = network;
    this.process = process;
    this.port = port;
    this.faults = faults;
    this.loop = new Lane(process);
    this.packer = new Lane(process);
    this.unpacker = new Lane(process);
  }

  Network network() {
    return network;
  }

  Process process() {
    return process;
  }

  TransportFaults faults() {
    return faults;
  }

  List<Wire> wires() {
    return wires;
  }

  /** Wires that are open now. */
  public int openWires() {
    return wires.size();
  }

  @Override
  public void start(TransportListener taker) {
    listener = taker;
    network.listen(this);
  }

  @Override
  public String host() {
    return process.name();
  }

  @Override
  public int port() {
    return port;
  }

  @Override
  public void execute(Runnable task) {
    loop.execute(task);
  }

  /** Tells the listener on the loop. */
  void tell(java.util.function.Consumer<TransportListener> event) {
    loop.execute(
        () -> {
          if (listener != null) {
            event.accept(listener);
          }
        });
  }

  @Override
  public Connection connect(String host, int peer) {
    String address = host + ":" + peer;
    Wire open = outgoing.get(address);
    if (open != null && open.open()) {
      return open;
    }
    Wire here = new Wire(this, address);
    outgoing.put(address, here);
    SlabTransport there = network.transport(host, peer);
    if (there == null) {
      here.lose("nobody listens");
    } else {
      here.join(new Wire(there, process.name() + ":" + port));
    }
    return here;
  }

  /** Breaks all wires, as the death of the process does. */
  void cut() {
    List.copyOf(wires).forEach(Wire::close);
  }

  /** Breaks the wires to a host. */
  void cut(String host) {
    for (Wire wire : List.copyOf(wires)) {
      if (wire.peerHost().equals(host)) {
        wire.close();
      }
    }
  }

  @Override
  public Executor packer() {
    return packer;
  }

  @Override
  public Executor unpacker() {
    return unpacker;
  }

  @Override
  public void everyTick(Runnable task) {
    process.after(
        TICK_NANOS,
        () -> {
          task.run();
          everyTick(task);
        });
  }

  @Override
  public boolean close(CountDownLatch submitted, long seconds) {
    return true;
  }

  @Override
  public void close() {
    cut();
  }
}

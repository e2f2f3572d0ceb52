package dev.baton.simulation.network;

import dev.baton.simulation.Trace;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.clock.VirtualTime;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.jspecify.annotations.Nullable;

/**
 * Who reaches whom, and how late. Two hosts may be parted for a while, each direction by itself;
 * what is under way then waits, as TCP sends it again and again, until the hosts meet again or one
 * side gives the connection up.
 */
public final class Network {

  private static final long LATENCY_NANOS = 150_000;

  /** The last pause of TCP between two tries is at most this long, here. */
  private static final long RETRY_NANOS = 200_000_000;

  private final VirtualTime time;
  private final SplittableRandom random;
  private final double lateness;
  private final Trace trace;
  private final Map<String, Long> parted = new HashMap<>();
  private final Map<String, GrpcServer> servers = new HashMap<>();
  private final Map<String, SlabTransport> transports = new HashMap<>();
  private final List<Connection> connections = new ArrayList<>();
  private final Map<Pipe, Boolean> stuck = new LinkedHashMap<>();
  private final List<String> broken = new ArrayList<>();

  /**
   * @param lateness probability that a message takes up to a hundred times as long as usual
   */
  public Network(VirtualTime time, SplittableRandom random, double lateness, Trace trace) {
    this.trace = trace;
    this.time = time;
    this.random = random;
    this.lateness = lateness;
  }

  VirtualTime time() {
    return time;
  }

  SplittableRandom random() {
    return random;
  }

  boolean traced() {
    return trace.on();
  }

  void note(Process process, String what) {
    trace.event(time.now(), process.name(), what);
  }

  /** A process has said what it must not. */
  void broke(String rule) {
    broken.add(rule);
  }

  /** What processes said that they must not. */
  public List<String> broken() {
    return List.copyOf(broken);
  }

  /** How long a message is under way, this time. */
  long latency() {
    long usual = LATENCY_NANOS / 4 + random.nextLong(LATENCY_NANOS);
    return random.nextDouble() < lateness ? random.nextLong(100 * LATENCY_NANOS) : usual;
  }

  long retryPause() {
    return random.nextLong(RETRY_NANOS);
  }

  /** Nothing passes from one host to the other any more. */
  public void part(String from, String to) {
    parted.putIfAbsent(from + ">" + to, time.now());
    for (Connection connection : List.copyOf(connections)) {
      if (connection.joins(from, to)) {
        connection.watchSilence();
      }
    }
  }

  public void join(String from, String to) {
    if (parted.remove(from + ">" + to) != null) {
      for (Pipe pipe : List.copyOf(stuck.keySet())) {
        if (pipe.joins(from, to)) {
          stuck.remove(pipe);
          pipe.resume();
        }
      }
    }
  }

  /** Undoes every parting. */
  public void joinAll() {
    for (String way : List.copyOf(parted.keySet())) {
      int at = way.indexOf('>');
      join(way.substring(0, at), way.substring(at + 1));
    }
  }

  boolean reaches(Process from, Process to) {
    return !parted.containsKey(from.name() + ">" + to.name());
  }

  /** Since when nothing has come from one to the other; {@link Long#MAX_VALUE} when it could. */
  long silentSince(Process from, Process to) {
    long there = parted.getOrDefault(from.name() + ">" + to.name(), Long.MAX_VALUE);
    long back = parted.getOrDefault(to.name() + ">" + from.name(), Long.MAX_VALUE);
    return Math.min(Math.min(there, back), from.silentSince());
  }

  void stuck(Pipe pipe) {
    stuck.put(pipe, true);
  }

  void listen(GrpcServer server) {
    servers.put(server.address(), server);
  }

  @Nullable GrpcServer server(String address) {
    GrpcServer server = servers.get(address);
    return server == null || server.process().dead() ? null : server;
  }

  void listen(SlabTransport transport) {
    transports.put(transport.host() + ":" + transport.port(), transport);
  }

  @Nullable SlabTransport transport(String host, int port) {
    SlabTransport transport = transports.get(host + ":" + port);
    return transport == null || transport.process().dead() ? null : transport;
  }

  void add(Connection connection) {
    connections.add(connection);
  }

  void remove(Connection connection) {
    connections.remove(connection);
  }

  /** The process stands still: its peers hear nothing of it and may give it up. */
  public void silenced(Process process) {
    for (Connection connection : List.copyOf(connections)) {
      if (connection.touches(process)) {
        connection.watchSilence();
      }
    }
  }

  /** The process is dead: its kernel tells all peers that it reaches. */
  public void died(Process process) {
    for (Connection connection : List.copyOf(connections)) {
      if (connection.touches(process)) {
        connection.died(process);
      }
    }
    for (SlabTransport transport : List.copyOf(transports.values())) {
      if (transport.process() == process) {
        transport.cut();
      }
    }
  }

  /** Breaks all connections between two hosts, as a reset does; new ones may be made at once. */
  public void cut(String one, String other) {
    for (Connection connection : List.copyOf(connections)) {
      if (connection.joins(one, other)) {
        connection.cut();
      }
    }
  }

  /** Breaks all connections that the client opened to the server, as only the client notices. */
  public void halfCut(String server, String client) {
    for (Connection connection : List.copyOf(connections)) {
      if (connection.leads(client, server)) {
        connection.halfCut();
      }
    }
  }

  /** Breaks the wires of hand-offs between two hosts. */
  public void cutWires(String one, String other) {
    for (SlabTransport transport : List.copyOf(transports.values())) {
      if (transport.process().name().equals(one)) {
        transport.cut(other);
      }
    }
  }
}

package dev.baton.simulation.network;

import dev.baton.simulation.clock.Process;
import io.grpc.Status;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * A gRPC connection: two pipes and the calls on them. Each side holds it for broken when it hears a
 * reset, or nothing for as long as its keep-alive allows; then its calls end there. The sides may
 * disagree for a while.
 */
final class Connection {

  private final Network network;
  private final Process client;
  private final GrpcServer server;
  private final long keepAliveNanos;
  private final Pipe toServer;
  private final Pipe toClient;
  private final Set<Call<?, ?>> calls = new LinkedHashSet<>();
  private boolean clientOpen = true;
  private boolean serverOpen = true;

  Connection(Network network, Process client, GrpcServer server, long keepAliveNanos) {
    this.network = network;
    this.client = client;
    this.server = server;
    this.keepAliveNanos = keepAliveNanos;
    this.toServer = new Pipe(network, client, server.process());
    this.toClient = new Pipe(network, server.process(), client);
    network.add(this);
    watchSilence();
  }

  GrpcServer server() {
    return server;
  }

  boolean openAtClient() {
    return clientOpen;
  }

  boolean touches(Process process) {
    return client == process || server.process() == process;
  }

  boolean joins(String one, String other) {
    String here = client.name();
    String there = server.process().name();
    return (here.equals(one) && there.equals(other)) || (here.equals(other) && there.equals(one));
  }

  boolean leads(String from, String to) {
    return client.name().equals(from) && server.process().name().equals(to);
  }

  void add(Call<?, ?> call) {
    calls.add(call);
  }

  void remove(Call<?, ?> call) {
    calls.remove(call);
  }

  /** From the client's process to the server's, in order. */
  void toServer(Runnable delivery) {
    toServer.send(
        () -> {
          if (serverOpen) {
            delivery.run();
          }
        });
  }

  /** From the server's process to the client's, in order. */
  void toClient(Runnable delivery) {
    toClient.send(
        () -> {
          if (clientOpen) {
            delivery.run();
          }
        });
  }

  /** Looks, once each side's patience is over, whether it has heard nothing all along. */
  void watchSilence() {
    long now = network.time().now();
    client.at(
        now + keepAliveNanos + 1,
        () -> {
          if (silent(server.process(), client, keepAliveNanos)) {
            breakAtClient("keepalive failed");
          }
        });
    server
        .process()
        .at(
            now + server.keepAliveNanos() + 1,
            () -> {
              if (silent(client, server.process(), server.keepAliveNanos())) {
                breakAtServer();
              }
            });
  }

  private boolean silent(Process peer, Process self, long patience) {
    long since = network.silentSince(peer, self);
    return since != Long.MAX_VALUE && network.time().now() - since >= patience;
  }

  /** One side is dead; its kernel resets the connection. */
  void died(Process process) {
    if (process == client) {
      clientOpen = false;
      toServer.send(this::breakAtServer);
    } else {
      serverOpen = false;
      toClient.send(() -> breakAtClient("connection reset"));
    }
    watchSilence();
    network.remove(this);
  }

  /** The way between breaks; both sides hear it. */
  void cut() {
    client.run(() -> breakAtClient("connection reset"));
    server.process().run(this::breakAtServer);
  }

  /** Something on the way drops the connection and tells the client alone. */
  void halfCut() {
    client.run(
        () -> {
          if (clientOpen) {
            clientOpen = false;
            loseCalls("connection reset");
          }
        });
    server.process().at(network.time().now() + server.keepAliveNanos(), this::breakAtServer);
  }

  private void loseCalls(String why) {
    for (Call<?, ?> call : List.copyOf(calls)) {
      call.lost(Status.UNAVAILABLE.withDescription(why));
    }
  }

  /** The client gives the connection up, with all its calls. */
  void breakAtClient(String why) {
    if (!clientOpen) {
      return;
    }
    clientOpen = false;
    loseCalls(why);
    if (serverOpen) {
      toServer.send(this::breakAtServer);
    } else {
      network.remove(this);
    }
  }

  private void breakAtServer() {
    if (!serverOpen) {
      return;
    }
    serverOpen = false;
    for (Call<?, ?> call : List.copyOf(calls)) {
      call.cancelledAtServer();
    }
    if (clientOpen) {
      toClient.send(() -> breakAtClient("connection reset"));
    } else {
      network.remove(this);
    }
  }
}

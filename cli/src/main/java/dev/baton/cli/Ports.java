package dev.baton.cli;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.UnknownHostException;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The two ports of a router, found free a moment ago.
 *
 * @param http 1 to 65535
 * @param grpc 1 to 65535, another one
 */
record Ports(int http, int grpc) {

  /**
   * Below the ports that the kernel gives to outgoing connections: one of those could be taken
   * again, even by a worker that tries to reach the router, before the router listens on it.
   */
  private static final int LOWEST_CHOSEN = 20_000;

  private static final int HIGHEST_CHOSEN = 32_000;

  private static final int ATTEMPTS = 100;

  /**
   * Both are bound at the same time for a moment, so that two zeros get two ports and a taken one
   * is told before any process is started.
   */
  static Ports choose(String host, int http, int grpc) {
    InetAddress address = resolve(host);
    try (ServerSocket first = bind("--port", address, http);
        ServerSocket second = bind("--grpc-port", address, grpc)) {
      return new Ports(first.getLocalPort(), second.getLocalPort());
    } catch (IOException e) {
      throw CommandFailure.failed("closing a probed port: " + e.getMessage());
    }
  }

  private static InetAddress resolve(String host) {
    try {
      return InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      throw CommandFailure.usage(
          "--host: %s (expected: an address of this machine)".formatted(host));
    }
  }

  private static ServerSocket bind(String option, InetAddress address, int port)
      throws IOException {
    for (int attempt = 0; port == 0 && attempt < ATTEMPTS; attempt++) {
      int candidate = ThreadLocalRandom.current().nextInt(LOWEST_CHOSEN, HIGHEST_CHOSEN + 1);
      try {
        return listen(address, candidate);
      } catch (IOException e) {
        // Taken; the next one is as good.
        continue;
      }
    }
    try {
      return listen(address, port);
    } catch (IOException e) {
      throw CommandFailure.failed(
          "%s: cannot listen on %s:%d: %s (another one running? choose with %s)"
              .formatted(option, address.getHostAddress(), port, e.getMessage(), option));
    }
  }

  private static ServerSocket listen(InetAddress address, int port) throws IOException {
    ServerSocket socket = new ServerSocket();
    try {
      socket.setReuseAddress(true);
      socket.bind(new InetSocketAddress(address, port));
      return socket;
    } catch (IOException e) {
      socket.close();
      throw e;
    }
  }
}

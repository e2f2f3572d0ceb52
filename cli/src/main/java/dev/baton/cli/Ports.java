package dev.baton.cli;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.UnknownHostException;

/**
 * The two ports of a router, found free a moment ago.
 *
 * @param http 1 to 65535
 * @param grpc 1 to 65535, another one
 */
record Ports(int http, int grpc) {

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
    ServerSocket socket = new ServerSocket();
    try {
      socket.setReuseAddress(true);
      socket.bind(new InetSocketAddress(address, port));
      return socket;
    } catch (IOException e) {
      socket.close();
      throw CommandFailure.failed(
          "%s: cannot listen on %s:%d: %s (another one running? choose with %s)"
              .formatted(option, address.getHostAddress(), port, e.getMessage(), option));
    }
  }
}

package dev.baton.cli.supervisor;

import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/**
 * One GET over a plain socket. (java.net.http would double the classes of the supervisor, and its
 * start.)
 *
 * @param address of the server
 * @param path such as {@code /health/ready}
 */
public record HttpProbe(InetSocketAddress address, String path) {

  private static final int TIMEOUT_MILLIS = 1000;

  /** The body of a 200 answer; empty for any other answer, or none. */
  public Optional<String> get() {
    try (Socket socket = new Socket()) {
      socket.connect(address, TIMEOUT_MILLIS);
      socket.setSoTimeout(TIMEOUT_MILLIS);
      String request =
          "GET %s HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n\r\n"
              .formatted(path, address.getHostString());
      socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
      return body(socket.getInputStream());
    } catch (IOException e) {
      return Optional.empty();
    }
  }

  private static Optional<String> body(InputStream in) throws IOException {
    String answer = new String(in.readAllBytes(), StandardCharsets.UTF_8);
    int head = answer.indexOf("\r\n\r\n");
    return answer.startsWith("HTTP/1.1 200 ") && head > 0
        ? Optional.of(answer.substring(head + 4))
        : Optional.empty();
  }
}

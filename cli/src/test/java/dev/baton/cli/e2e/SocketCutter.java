package dev.baton.cli.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Cuts the TCP connections of a process, those of its calls and those on which KV travels, as a
 * network does: both ends hear a reset, and the processes live. By {@code ss -K} of iproute2, which
 * wants a kernel with CONFIG_INET_DIAG_DESTROY and the right to administer the network.
 */
final class SocketCutter {

  private static final Pattern PORTS =
      Pattern.compile("^\\S+\\s+\\d+\\s+\\d+\\s+\\S+:(\\d+)\\s+\\S+:(\\d+)\\s");

  /**
   * One end of a connection. Its own port alone would not do: a client's connection to another port
   * may have the same one.
   */
  private record End(int local, int peer) {}

  private SocketCutter() {}

  /** Whether this machine lets us; tried on a connection of our own. */
  static boolean available() {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket client = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort());
        Socket accepted = server.accept()) {
      accepted.setSoTimeout(1000);
      kill(Set.of(new End(client.getLocalPort(), server.getLocalPort())));
      try {
        return accepted.getInputStream().read() < 0;
      } catch (SocketTimeoutException e) {
        return false;
      } catch (IOException e) {
        // Connection reset: it works.
        return true;
      }
    } catch (IOException e) {
      // No such program here.
      return false;
    }
  }

  /** Cuts every connection that the process has now. */
  static void cut(ProcessHandle process) {
    try {
      Set<End> ends = new LinkedHashSet<>();
      for (String line : run(List.of("ss", "-tnpH", "state", "connected")).lines().toList()) {
        Matcher ports = PORTS.matcher(line);
        if (line.contains("pid=" + process.pid() + ",") && ports.find()) {
          ends.add(new End(Integer.parseInt(ports.group(1)), Integer.parseInt(ports.group(2))));
        }
      }
      if (!ends.isEmpty()) {
        kill(ends);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void kill(Set<End> ends) throws IOException {
    List<String> command = new ArrayList<>(List.of("ss", "-K", "-tnH"));
    command.add(
        ends.stream()
            .map(end -> "( sport = :%d and dport = :%d )".formatted(end.local, end.peer))
            .collect(Collectors.joining(" or ")));
    run(command);
  }

  private static String run(List<String> command) throws IOException {
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      process.waitFor();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
    return output;
  }
}

package dev.baton.cli.e2e;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Cuts the TCP connections of a process, those of its calls and those on which KV travels, as a
 * network does: both ends hear a reset, and the processes live. By {@code ss -K} of iproute2, which
 * wants a kernel with CONFIG_INET_DIAG_DESTROY and the right to administer the network.
 */
final class SocketCutter {

  private static final Pattern LOCAL_PORT =
      Pattern.compile("^\\S+\\s+\\d+\\s+\\d+\\s+\\S+:(\\d+)\\s");

  private SocketCutter() {}

  /** Whether this machine lets us; tried on a connection of our own. */
  static boolean available() {
    try (ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        Socket client = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort());
        Socket accepted = server.accept()) {
      accepted.setSoTimeout(1000);
      kill(Set.of(client.getLocalPort()));
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
      Set<Integer> ports = new TreeSet<>();
      for (String line : run(List.of("ss", "-tnpH", "state", "connected")).lines().toList()) {
        Matcher local = LOCAL_PORT.matcher(line);
        if (line.contains("pid=" + process.pid() + ",") && local.find()) {
          ports.add(Integer.valueOf(local.group(1)));
        }
      }
      if (!ports.isEmpty()) {
        kill(ports);
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void kill(Set<Integer> localPorts) throws IOException {
    List<String> command = new ArrayList<>(List.of("ss", "-K", "-tnH"));
    for (int port : localPorts) {
      if (command.size() > 3) {
        command.add("or");
      }
      command.addAll(List.of("sport", "=", ":" + port));
    }
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

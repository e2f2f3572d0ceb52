package dev.baton.kvtransfer.ucx;

import java.net.InetAddress;
import java.net.NetworkInterface;
import java.net.SocketException;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * The environment that a worker process should be started with. UCX reads most of it when its
 * library is loaded, which is before Java code could change it; what the operator has set already
 * should win.
 */
public final class UcxEnvironment {

  /** Where packages put UCX's modules. */
  private static final List<String> MODULE_DIRECTORIES =
      List.of(
          "/usr/lib/ucx", "/usr/lib64/ucx", "/usr/lib/x86_64-linux-gnu/ucx", "/opt/ucx/lib/ucx");

  private UcxEnvironment() {}

  /**
   * Settings for hand-offs on the host's address: payloads read from the other process's memory
   * (CMA) on one machine, TCP on one interface for all else, and the loss of a peer noticed on
   * both.
   *
   * @throws IllegalArgumentException if no interface of this machine has the address
   */
  public static Map<String, String> defaults(String host) {
    Map<String, String> environment = new LinkedHashMap<>();
    // No queues in shared memory (posix, sysv): a process that is killed between taking a place in
    // a peer's queue and filling it would stop that queue for all who come after.
    environment.put("UCX_TLS", hasCudaModules() ? "cma,tcp,cuda" : "cma,tcp");
    // Without this, CMA is silently left out where peer failures are to be noticed.
    environment.put("UCX_CMA_MEMORY_INVALIDATE", "y");
    // UCX listens on every interface that it may use.
    environment.put("UCX_NET_DEVICES", interfaceOf(host));
    // No TCP rail beside CMA.
    environment.put("UCX_MAX_RNDV_RAILS", "1");
    environment.put("UCX_TCP_TX_SEG_SIZE", "64k");
    environment.put("UCX_KEEPALIVE_INTERVAL", "1s");
    // A worker that restarts on its port need not wait for old connections to expire.
    environment.put("UCX_CM_REUSEADDR", "y");
    // Its log goes to stdout; what matters is reported by our own log.
    environment.put("UCX_LOG_LEVEL", "fatal");
    return environment;
  }

  /** Named without them, CUDA would bring warnings. */
  private static boolean hasCudaModules() {
    String own = System.getenv("UCX_MODULE_DIR");
    return Stream.concat(Stream.ofNullable(own), MODULE_DIRECTORIES.stream())
        .anyMatch(directory -> Files.exists(Path.of(directory, "libuct_cuda.so.0")));
  }

  private static String interfaceOf(String host) {
    try {
      NetworkInterface found = NetworkInterface.getByInetAddress(InetAddress.getByName(host));
      if (found == null) {
        throw new IllegalArgumentException(
            "host: %s (expected: an address of this machine)".formatted(host));
      }
      return found.getName();
    } catch (UnknownHostException | SocketException e) {
      throw new IllegalArgumentException(
          "host: %s (expected: an address of this machine)".formatted(host), e);
    }
  }
}

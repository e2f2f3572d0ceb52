package dev.baton.cli;

import dev.baton.kvtransfer.ucx.UcxEnvironment;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.Map;

/** Where a worker listens, and what its process needs in its environment before it is started. */
final class WorkerEnvironment {

  private WorkerEnvironment() {}

  /** {@code auto} becomes the address of this machine's name, which in a container is its own. */
  static String resolve(String host) {
    if (!host.equals("auto")) {
      return host;
    }
    try {
      return InetAddress.getLocalHost().getHostAddress();
    } catch (UnknownHostException e) {
      throw CommandFailure.failed(
          "--host: auto: %s (expected: a machine whose own name resolves)"
              .formatted(e.getMessage()));
    }
  }

  /** UCX's settings for hand-offs on {@code host}; variables that are set already should win. */
  static Map<String, String> of(String host) {
    try {
      return UcxEnvironment.defaults(resolve(host));
    } catch (IllegalArgumentException e) {
      throw CommandFailure.usage("--" + e.getMessage());
    }
  }

  /** The same as lines that a shell can export. */
  static void print(String host) {
    of(host).forEach((name, value) -> System.out.println(name + "=" + value));
  }
}

package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletionException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link Transport} over UCX active messages. Payloads go by rendezvous: the receiver's UCX fetches
 * them into the memory that the receiver names. Its thread is {@code baton-ucx-progress}.
 */
public final class UcxTransport implements Transport {
  private static final Logger log = LoggerFactory.getLogger(UcxTransport.class);
  private static final String PREFIX = "UCX_";

  /** Settings that a context takes; those of single transports come by the environment only. */
  private static final Set<String> SETTABLE =
      Set.of(
          "UCX_TLS",
          "UCX_NET_DEVICES",
          "UCX_MAX_RNDV_RAILS",
          "UCX_KEEPALIVE_INTERVAL",
          "UCX_CM_REUSEADDR");

  private final UcxLoop loop;
  private final Thread thread;
  private final InetSocketAddress address;

  private UcxTransport(UcxLoop loop, Thread thread, InetSocketAddress address) {
    this.loop = loop;
    this.thread = thread;
    this.address = address;
  }

  /**
   * Listens.
   *
   * @param host an address of this machine, not the wildcard: UCX has no authentication of its own
   * @param port 0 = any free
   * @throws IllegalStateException if UCX is missing, or the address cannot be listened on
   */
  public static UcxTransport open(String host, int port) {
    InetAddress ip;
    try {
      ip = InetAddress.getByName(host);
    } catch (UnknownHostException e) {
      throw new IllegalStateException("host: %s (expected: a known name)".formatted(host), e);
    }
    if (ip.isAnyLocalAddress()) {
      throw new IllegalStateException(
          "host: %s (expected: the address of one interface)".formatted(host));
    }
    UcxLibrary.load();
    Map<String, String> defaults = UcxEnvironment.defaults(ip.getHostAddress());
    Map<String, String> settings = settings(defaults);
    UcxLoop loop = new UcxLoop(new InetSocketAddress(ip, port), contextSettings(settings));
    Thread thread = Thread.ofPlatform().name("baton-ucx-progress").daemon(true).unstarted(loop);
    thread.start();
    try {
      InetSocketAddress bound = loop.bound().join();
      log.info(
          "hand-offs over UCX on {}:{} with {}", ip.getHostAddress(), bound.getPort(), settings);
      warnOfMissing(defaults);
      return new UcxTransport(loop, thread, new InetSocketAddress(ip, bound.getPort()));
    } catch (CompletionException e) {
      throw new IllegalStateException(
          "UCX cannot listen on %s:%d: %s (settings: %s)"
              .formatted(ip.getHostAddress(), port, e.getCause(), settings),
          e.getCause());
    }
  }

  /** What is in effect: what the environment says, and our defaults as far as they still can be. */
  private static Map<String, String> settings(Map<String, String> defaults) {
    Map<String, String> settings = new TreeMap<>();
    defaults.forEach(
        (name, value) -> {
          if (SETTABLE.contains(name)) {
            settings.put(name, value);
          }
        });
    System.getenv()
        .forEach(
            (name, value) -> {
              if (name.startsWith(PREFIX)) {
                settings.put(name, value);
              }
            });
    return settings;
  }

  private static Map<String, String> contextSettings(Map<String, String> settings) {
    Map<String, String> missing = new TreeMap<>();
    settings.forEach(
        (name, value) -> {
          if (System.getenv(name) == null) {
            missing.put(name.substring(PREFIX.length()), value);
          }
        });
    return missing;
  }

  private static void warnOfMissing(Map<String, String> defaults) {
    Map<String, String> missing = new TreeMap<>(defaults);
    missing.keySet().removeAll(SETTABLE);
    missing.keySet().removeAll(System.getenv().keySet());
    if (!missing.isEmpty()) {
      log.warn(
          "the environment of this process lacks {}, which UCX reads as it is loaded: hand-offs are"
              + " slower without (./baton sets them)",
          missing);
    }
  }

  /** Whether payloads may lie in the memory of NVIDIA's GPUs: UCX has its modules for that. */
  public boolean knowsCuda() {
    return loop.knowsCuda();
  }

  /**
   * Payloads lie in the memory of one of NVIDIA's GPUs from now on. Before {@link #start}.
   *
   * @param bind makes the GPU the one of the thread that it is run on
   */
  public void payloadsOnCuda(Runnable bind) {
    if (!knowsCuda()) {
      throw new IllegalStateException("UCX: without CUDA (expected: built with its CUDA modules)");
    }
    loop.payloadsOnCuda(bind);
  }

  @Override
  public void start(TransportListener listener) {
    loop.deliverTo(listener);
  }

  @Override
  public String host() {
    return address.getAddress().getHostAddress();
  }

  @Override
  public int port() {
    return address.getPort();
  }

  @Override
  public void execute(Runnable task) {
    loop.execute(task);
  }

  @Override
  public Connection connect(String host, int port) {
    return loop.connect(new InetSocketAddress(host, port));
  }

  @Override
  public void close() {
    loop.stop();
    boolean interrupted = false;
    while (thread.isAlive()) {
      try {
        thread.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}

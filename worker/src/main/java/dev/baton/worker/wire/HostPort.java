package dev.baton.worker.wire;

/** A host and a port as "host:port"; an IPv6 address stands in brackets. */
public record HostPort(String host, int port) {

  public HostPort {
    if (host.isEmpty() || port < 0 || port > 65535) {
      throw new IllegalArgumentException(
          "address: '%s' port %d (expected: a host, port 0 to 65535)".formatted(host, port));
    }
  }

  /** Reads "host:port" or "[v6]:port"; throws IllegalArgumentException on anything else. */
  public static HostPort parse(String text) {
    int colon = text.lastIndexOf(':');
    if (colon <= 0) {
      throw new IllegalArgumentException("address: '%s' (expected: host:port)".formatted(text));
    }
    String host = text.substring(0, colon);
    if (host.startsWith("[") && host.endsWith("]")) {
      host = host.substring(1, host.length() - 1);
    } else if (host.indexOf(':') >= 0) {
      throw new IllegalArgumentException(
          "address: '%s' (expected: [IPv6 address]:port)".formatted(text));
    }
    try {
      return new HostPort(host, Integer.parseInt(text.substring(colon + 1)));
    } catch (NumberFormatException e) {
      throw new IllegalArgumentException(
          "address: '%s' (expected: host:port, the port a number)".formatted(text), e);
    }
  }

  @Override
  public String toString() {
    return (host.indexOf(':') >= 0 ? "[" + host + "]" : host) + ":" + port;
  }
}

package dev.baton.kvtransfer.transport;

import org.jspecify.annotations.Nullable;

/** Takes what arrives. Called on the transport's thread; must not block. */
public interface TransportListener {

  /** A peer has connected; comes before anything else of the connection. */
  default void onAccepted(Connection connection) {}

  /**
   * A message; nothing about it has been checked.
   *
   * @param from where answers go
   * @param payload to be received or refused
   */
  void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload);

  /** The connection is gone for good; comes once. */
  void onLost(Connection connection, String cause);
}

package dev.baton.kvtransfer.transport;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** A way to one peer process, in both directions. Transport thread only. Equal only to itself. */
public interface Connection {

  /** Names the peer in logs. */
  String peer();

  /**
   * Sends a message. Messages leave in the order of the calls but may arrive in another.
   *
   * @param header copied before the return
   * @param payload off-heap, left alone by the caller until {@code completion}
   * @param completion says only that header and payload may be reused, with a failure if they
   *     surely did not arrive; success does not mean that they did
   */
  void send(byte[] header, @Nullable MemorySegment payload, Completion completion);

  /** Gives the connection up at once; what is under way fails. Its loss is reported. Idempotent. */
  void close();
}

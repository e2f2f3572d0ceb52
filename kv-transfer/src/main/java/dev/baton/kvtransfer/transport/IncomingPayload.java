package dev.baton.kvtransfer.transport;

import java.lang.foreign.MemorySegment;

/**
 * The payload of a message that arrived: still at the sender, until a place is named. Exactly one
 * of the two methods is called, once, at any later time. Transport thread only.
 */
public interface IncomingPayload {

  long length();

  /**
   * Fetches it.
   *
   * @param landing off-heap, at least {@link #length} bytes; belongs to the transport until {@code
   *     completion}, whatever happens to the connection meanwhile
   */
  void receive(MemorySegment landing, Completion completion);

  /** Drops it; the sender does not notice. */
  void refuse();
}

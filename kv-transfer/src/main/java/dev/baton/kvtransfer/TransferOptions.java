package dev.baton.kvtransfer;

import java.time.Duration;

/**
 * Sizes and times of a worker's hand-offs.
 *
 * @param host address to listen on and to put into tickets
 * @param port 0 = any free
 * @param slabBytes bytes of a slab at most, 4 KiB to 16 MiB
 * @param exportSlabs slabs of the sending pool; packing waits when all are in use
 * @param importSlabs slabs of the landing pool; announced slabs wait when all are in use
 * @param connectTimeout for the importer's first answer
 * @param lease silence of the peer after which a hand-off is given up; both sides send heartbeats
 *     four times as often
 * @param maxResends times that one slab may be asked for again
 * @param ticketLife time from a ticket's issue until its exporter must have come
 */
public record TransferOptions(
    String host,
    int port,
    int slabBytes,
    int exportSlabs,
    int importSlabs,
    Duration connectTimeout,
    Duration lease,
    int maxResends,
    Duration ticketLife) {

  /** Smaller slabs cost more in messages than they save in memory; simulations use such. */
  public static final int LEAST_SLAB_BYTES = 4 << 10;

  /**
   * A few of them fit into the second-level cache of a processor, where both sides want them; half
   * of it is twice as many messages and wake-ups.
   */
  public static final int DEFAULT_SLAB_BYTES = 512 << 10;

  public TransferOptions {
    if (slabBytes < LEAST_SLAB_BYTES || slabBytes > 16 << 20) {
      throw new IllegalArgumentException(
          "slabBytes: %d (expected: 4096 to 16777216)".formatted(slabBytes));
    }
    if (exportSlabs < 1 || importSlabs < 1 || maxResends < 0) {
      throw new IllegalArgumentException(
          "exportSlabs: %d, importSlabs: %d, maxResends: %d (expected: >= 1, >= 1, >= 0)"
              .formatted(exportSlabs, importSlabs, maxResends));
    }
    if (!lease.isPositive() || !connectTimeout.isPositive() || !ticketLife.isPositive()) {
      throw new IllegalArgumentException(
          "connectTimeout: %s, lease: %s, ticketLife: %s (expected: positive)"
              .formatted(connectTimeout, lease, ticketLife));
    }
  }

  /** With tickets that live as long as a lease. */
  public TransferOptions(
      String host,
      int port,
      int slabBytes,
      int exportSlabs,
      int importSlabs,
      Duration connectTimeout,
      Duration lease,
      int maxResends) {
    this(host, port, slabBytes, exportSlabs, importSlabs, connectTimeout, lease, maxResends, lease);
  }

  /** An exporter may be in a long step when its ticket comes: tickets live longer than leases. */
  public static TransferOptions on(String host) {
    return new TransferOptions(
        host,
        0,
        DEFAULT_SLAB_BYTES,
        128,
        64,
        Duration.ofSeconds(2),
        Duration.ofSeconds(10),
        3,
        Duration.ofSeconds(60));
  }

  /**
   * Slabs of about another size, as many in all bytes as before.
   *
   * @param bytes of one; larger ones cost fewer calls each, smaller ones stay in caches
   */
  public TransferOptions withSlabBytes(int bytes) {
    return new TransferOptions(
        host,
        port,
        bytes,
        Math.max(2, (int) ((long) exportSlabs * slabBytes / bytes)),
        Math.max(2, (int) ((long) importSlabs * slabBytes / bytes)),
        connectTimeout,
        lease,
        maxResends,
        ticketLife);
  }

  /** Of both pools. */
  public long poolBytes() {
    return (long) (exportSlabs + importSlabs) * slabBytes;
  }

  public TransferOptions withHost(String value) {
    return new TransferOptions(
        value,
        port,
        slabBytes,
        exportSlabs,
        importSlabs,
        connectTimeout,
        lease,
        maxResends,
        ticketLife);
  }

  public TransferOptions withPort(int value) {
    return new TransferOptions(
        host,
        value,
        slabBytes,
        exportSlabs,
        importSlabs,
        connectTimeout,
        lease,
        maxResends,
        ticketLife);
  }
}

package dev.baton.kvtransfer;

/**
 * Counters since the start, and the slabs as they are now.
 *
 * @param sending slabs for what goes out
 * @param landing slabs for what arrives
 */
public record TransferTotals(
    long exported,
    long exportedBytes,
    long exportedSlabs,
    long imported,
    long importedBytes,
    long importedSlabs,
    long aborted,
    long corruptSlabs,
    long nanos,
    int openExports,
    int openImports,
    SlabLedger sending,
    SlabLedger landing) {

  /** Bytes of slabs that are not free. */
  public long slabBytesInUse() {
    return sending.bytesInUse() + landing.bytesInUse();
  }

  /** Part of those in use: slabs that are given up. */
  public long slabBytesQuarantined() {
    return sending.quarantined() * sending.slabBytes()
        + landing.quarantined() * landing.slabBytes();
  }

  /** Bytes of all slabs. */
  public long slabBytes() {
    return sending.capacity() * sending.slabBytes() + landing.capacity() * landing.slabBytes();
  }
}

package dev.baton.kvtransfer;

/**
 * Counters since the start, and slab memory in use now.
 *
 * @param slabBytesQuarantined part of those in use: slabs that a peer which stood still never gave
 *     back, and that are not used again
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
    long slabBytesInUse,
    long slabBytesQuarantined) {}

package dev.baton.kvtransfer;

/** Counters since the start, and slab memory in use now. */
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
    long slabBytesInUse) {}

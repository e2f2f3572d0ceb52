package dev.baton.kvtransfer;

/**
 * What a hand-off cost.
 *
 * @param bytes of slabs, each counted once
 * @param resent slabs sent again after a failed check
 * @param nanos from the first slab's packing (exporter) or announcement (importer) to the end
 */
public record HandoffStats(long bytes, int slabs, int resent, long nanos) {}

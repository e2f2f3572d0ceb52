package dev.baton.kvtransfer;

/**
 * The exporter's handle of one hand-off. Any thread; never blocks. Calls after the end have no
 * effect.
 */
public interface Export {

  /**
   * The KV of context tokens {@code [0, tokens)} can be packed. Rising; said again when KV that was
   * away ({@link KvAwayException}) is back.
   */
  void computed(int tokens);

  /** All KV is computed; no more will come. {@code manifest.tokens()} are computed by now. */
  void finish(Manifest manifest);

  /** Gives up; the importer is told. */
  void abort(String reason);

  /** Bytes of slabs that the importer has verified so far. */
  long acknowledgedBytes();
}

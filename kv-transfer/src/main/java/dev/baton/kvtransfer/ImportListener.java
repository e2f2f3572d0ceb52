package dev.baton.kvtransfer;

/** Hears how an import ends: exactly one call, on a thread of the transfer; must not block. */
public interface ImportListener {

  /** Everything arrived and was verified; the KV may be read. */
  void onCompleted(Manifest manifest, HandoffStats stats);

  /** The import ended without; the sink's content is worthless. Also after a cancel. */
  void onFailed(HandoffException cause);
}

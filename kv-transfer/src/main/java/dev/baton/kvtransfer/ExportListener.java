package dev.baton.kvtransfer;

/**
 * Hears how an export goes, on threads of the transfer; must not block. Exactly one of {@code
 * onAcknowledged} and {@code onFailed} comes, and it comes last.
 */
public interface ExportListener {

  /** All KV up to the manifest's end is packed; the source will not be called again. */
  void onPacked();

  /** The importer has verified everything. */
  void onAcknowledged(HandoffStats stats);

  /** The hand-off ended without; the source will not be called again. Also after an abort. */
  void onFailed(HandoffException cause);
}

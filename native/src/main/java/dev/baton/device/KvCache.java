package dev.baton.device;

/**
 * One rank's KV blocks, in whatever layout the device's kernels like best. Its content is written
 * by {@link Ops#ropeStore} and {@link Device#unpackKv}, read by {@link Ops#attention} and {@link
 * Device#packKv}. Who may touch which block, and when, is the engine's ledger's business; this only
 * bounds-checks. Lives until its device is closed.
 */
public interface KvCache {
  KvShape shape();
}

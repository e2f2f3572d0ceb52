package dev.baton.device;

import java.util.function.BooleanSupplier;

/**
 * One rank's KV blocks, in whatever layout the device's kernels like best. Its content is written
 * by {@link Ops#ropeStore} and {@link Device#unpackKv}, read by {@link Ops#attention} and {@link
 * Device#packKv}. Who may touch which block, and when, is the engine's ledger's business; this only
 * bounds-checks. Lives until its device is closed.
 */
public interface KvCache {
  KvShape shape();

  /**
   * Whether memory that nobody has used yet makes its first user wait for the system, unless it was
   * {@link #touch}ed.
   */
  default boolean comesWithUse() {
    return false;
  }

  /**
   * Has the system find the memory of blocks whose content stays, at the lowest priority. Any
   * thread, while others use the cache; not after the close of its device.
   *
   * @param stop asked now and then; true ends it early
   */
  default void touch(int fromBlock, int toBlock, BooleanSupplier stop) {}
}

package dev.baton.kvtransfer.transport;

import org.jspecify.annotations.Nullable;

/** Hears, exactly once and on the transport's thread, that the transport is done with memory. */
@FunctionalInterface
public interface Completion {

  /**
   * @param failure null if all went well
   */
  void done(@Nullable Exception failure);
}

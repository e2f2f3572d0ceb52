package dev.baton.device;

import java.lang.foreign.MemorySegment;

/**
 * A piece of a device's memory for slabs of KV: {@link Device#packKv} and {@link Device#unpackKv}
 * reach them without a detour over the host, and a network that can reads and writes them there.
 * Lives as long as the device.
 */
public interface DeviceSlabs {

  /** Whether the processor can reach them, as it can an emulated device's. */
  boolean onHost();

  /**
   * A part of the piece that nobody has yet, 256-byte aligned; it is never given back. Any thread.
   *
   * @throws OutOfDeviceMemoryException when less is left
   */
  MemorySegment take(long bytes);

  /** CRC32C of the first bytes of what was taken. Any thread; waits for the device. */
  int crc32c(MemorySegment slab);

  /** Makes the device the one of this thread, for libraries that work on the thread's own. */
  void bindThread();
}

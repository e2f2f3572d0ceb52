package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.host.CheckedRouting;
import java.lang.foreign.MemorySegment;

/** One rank's routing in its GPU's memory; the choice never comes to the host. */
final class CudaRouting extends CheckedRouting {

  /** Bytes of the struct in {@code layouts.h}. */
  static final int BYTES = 64;

  private final MemorySegment counts;
  private final MemorySegment choices;
  private final MemorySegment slots;
  private final MemorySegment weights;
  private final MemorySegment rowOfSlot;
  private final MemorySegment begins;

  CudaRouting(CudaGpu gpu, int maxRows, int experts, int chosen) {
    super(maxRows, experts, chosen);
    long pairs = Math.multiplyExact((long) maxRows, chosen);
    counts = gpu.allocate(2L * Integer.BYTES, "routing");
    choices = gpu.allocate(pairs * Integer.BYTES, "routing");
    slots = gpu.allocate(pairs * Integer.BYTES, "routing");
    weights = gpu.allocate(pairs * Float.BYTES, "routing");
    rowOfSlot = gpu.allocate(pairs * Integer.BYTES, "routing");
    begins = gpu.allocate((experts + 1L) * Integer.BYTES, "routing");
  }

  void routed(int rows) {
    setRows(rows);
  }

  /** Where the number of slots stands on the GPU. */
  long slotCount() {
    return counts.address() + Integer.BYTES;
  }

  long rowOfSlot() {
    return rowOfSlot.address();
  }

  void write(MemorySegment to) {
    to.setAtIndex(JAVA_LONG, 0, counts.address());
    to.setAtIndex(JAVA_LONG, 1, choices.address());
    to.setAtIndex(JAVA_LONG, 2, slots.address());
    to.setAtIndex(JAVA_LONG, 3, weights.address());
    to.setAtIndex(JAVA_LONG, 4, rowOfSlot.address());
    to.setAtIndex(JAVA_LONG, 5, begins.address());
    to.set(JAVA_INT, 48, experts());
    to.set(JAVA_INT, 52, chosen());
    to.set(JAVA_INT, 56, maxRows());
    to.set(JAVA_INT, 60, 0);
  }
}

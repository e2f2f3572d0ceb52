package dev.baton.device.cpu;

import dev.baton.device.LogitScan;
import java.lang.foreign.MemorySegment;

/** Checks the sizes of memory and hands it to the kernels, with a team of threads of its own. */
final class CpuLogitScan implements LogitScan {

  /** Roughly how many elements one thread does in a nanosecond: when read, when exponentiated. */
  private static final long READ = 6;

  private static final long EXPONENTIALS = 4;

  private final CpuKernels kernels;
  private final CpuTeam team;

  CpuLogitScan(CpuKernels kernels, CpuTeam team) {
    this.kernels = kernels;
    this.team = team;
  }

  @Override
  public void peaks(MemorySegment peaks, MemorySegment logits, int width, int rowFrom, int rows) {
    int blocks = LogitScan.blocks(width);
    long units = (long) rows * blocks;
    long rowBytes = (long) width * Float.BYTES;
    require("logits", logits, (rowFrom + (long) rows) * rowBytes);
    require("peaks", peaks, units * Float.BYTES);
    kernels.rowPeaks(
        team.address(),
        team.parts(units, units * BLOCK / READ),
        peaks.address(),
        logits.address() + rowFrom * rowBytes,
        width,
        rows);
  }

  @Override
  public void exponentials(
      MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count) {
    long units = (long) count * LogitScan.blocks(width);
    require("sums", sums, units * Float.BYTES);
    require("views", views, (long) count * VIEW_BYTES);
    kernels.rowExponentials(
        team.address(),
        team.parts(units, units * BLOCK / EXPONENTIALS),
        sums.address(),
        logits.address(),
        width,
        views.address(),
        count);
  }

  @Override
  public void weigh(
      MemorySegment sums, MemorySegment logits, int width, MemorySegment views, int count) {
    long units = (long) count * LogitScan.blocks(width);
    require("sums", sums, units * Long.BYTES);
    require("views", views, (long) count * VIEW_BYTES);
    kernels.rowWeights(
        team.address(),
        team.parts(units, units * BLOCK / EXPONENTIALS),
        sums.address(),
        logits.address(),
        width,
        views.address(),
        count);
  }

  @Override
  public void select(
      MemorySegment ids,
      MemorySegment weights,
      MemorySegment counts,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment view,
      int least,
      int blockFrom,
      int blockTo) {
    require("ids", ids, (long) blockTo * BLOCK * Integer.BYTES);
    require("weights", weights, (long) blockTo * BLOCK * Integer.BYTES);
    require("counts", counts, (long) blockTo * Integer.BYTES);
    require("peaks", peaks, (long) LogitScan.blocks(width) * Float.BYTES);
    require("view", view, VIEW_BYTES);
    long units = blockTo - blockFrom;
    kernels.rowSelect(
        team.address(),
        team.parts(units, units * BLOCK / EXPONENTIALS),
        ids.address(),
        weights.address(),
        counts.address(),
        logits.address(),
        peaks.address(),
        width,
        view.address(),
        least,
        blockFrom,
        blockTo);
  }

  private static void require(String name, MemorySegment memory, long bytes) {
    if (!memory.isNative() || memory.byteSize() < bytes) {
      throw new IllegalArgumentException(
          "%s: %d bytes %s the heap (expected: at least %d outside)"
              .formatted(name, memory.byteSize(), memory.isNative() ? "outside" : "on", bytes));
    }
  }
}

package dev.baton.device.cpu;

import dev.baton.device.LogitScan;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Checks the sizes of memory and hands it to the kernels, with a team of threads of its own. */
final class CpuLogitScan implements LogitScan {

  /** Roughly how many elements one thread does in a nanosecond: when read, when exponentiated. */
  private static final long READ = 6;

  private static final long EXPONENTIALS = 4;

  /** Roughly what a draw or a ranking takes beyond the passes over its row, in nanoseconds. */
  private static final long ROW_NANOS = 20_000;

  /** Bounds the scratch memory of these: three lists as long as a row for each part. */
  private static final int MOST_ROW_PARTS = 16;

  private static final int LISTS = 3;
  private static final int LANES = 16;

  private final CpuKernels kernels;
  private final CpuTeam team;
  private MemorySegment scratch = MemorySegment.NULL;

  CpuLogitScan(CpuKernels kernels, CpuTeam team) {
    this.kernels = kernels;
    this.team = team;
  }

  @Override
  public void peaks(
      MemorySegment best,
      MemorySegment peaks,
      MemorySegment logits,
      int width,
      int rowFrom,
      int rows) {
    int blocks = LogitScan.blocks(width);
    long units = (long) rows * blocks;
    long rowBytes = (long) width * Float.BYTES;
    require("logits", logits, (rowFrom + (long) rows) * rowBytes);
    require("peaks", peaks, units * Float.BYTES);
    require("best", best, (long) rows * BEST_BYTES);
    long from = logits.address() + rowFrom * rowBytes;
    kernels.rowPeaks(
        team.address(),
        team.parts(units, units * BLOCK / READ),
        peaks.address(),
        from,
        width,
        rows);
    kernels.rowBest(
        team.address(),
        team.parts(rows, units),
        best.address(),
        peaks.address(),
        from,
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
  public void draw(
      MemorySegment tokens,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment sums,
      MemorySegment draws,
      int count) {
    long units = (long) count * LogitScan.blocks(width);
    require("tokens", tokens, (long) count * Integer.BYTES);
    require("sums", sums, units * Long.BYTES);
    require("draws", draws, (long) count * DRAW_BYTES);
    int parts = scratchParts(width, count);
    kernels.rowWeights(
        team.address(),
        team.parts(units, units * BLOCK / EXPONENTIALS),
        sums.address(),
        logits.address(),
        width,
        draws.address(),
        count);
    kernels.rowDraw(
        team.address(),
        parts,
        tokens.address(),
        logits.address(),
        peaks.address(),
        width,
        sums.address(),
        draws.address(),
        count,
        scratch.address());
  }

  @Override
  public void rank(
      MemorySegment ids,
      MemorySegment reached,
      MemorySegment logits,
      MemorySegment peaks,
      int width,
      MemorySegment rankings,
      int count,
      int most) {
    require("ids", ids, (long) count * most * Integer.BYTES);
    require("reached", reached, (long) count * Integer.BYTES);
    require("rankings", rankings, (long) count * RANKING_BYTES);
    int parts = scratchParts(width, count);
    kernels.rowRanks(
        team.address(),
        parts,
        ids.address(),
        reached.address(),
        logits.address(),
        peaks.address(),
        width,
        rankings.address(),
        count,
        most,
        scratch.address());
  }

  /** Parts for so many rows that are followed into their elements; each has its scratch memory. */
  private int scratchParts(int width, int rows) {
    int parts = Math.min(team.parts(rows, rows * ROW_NANOS), MOST_ROW_PARTS);
    long need = (long) parts * LISTS * (width + LANES) * Integer.BYTES;
    if (scratch.byteSize() < need) {
      scratch = Arena.ofAuto().allocate(need, Long.BYTES);
    }
    return parts;
  }

  private static void require(String name, MemorySegment memory, long bytes) {
    if (!memory.isNative() || memory.byteSize() < bytes) {
      throw new IllegalArgumentException(
          "%s: %d bytes %s the heap (expected: at least %d outside)"
              .formatted(name, memory.byteSize(), memory.isNative() ? "outside" : "on", bytes));
    }
  }
}

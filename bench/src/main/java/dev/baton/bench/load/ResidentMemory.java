package dev.baton.bench.load;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * This process's memory as Linux counts it. Resident pages are of two kinds: anonymous ones, which
 * nobody else can have, and those of mapped files, which the kernel takes back when it needs them.
 * The kernel keeps the peak of both together; the peak of the anonymous ones is looked at every few
 * milliseconds while this is open.
 */
final class ResidentMemory implements AutoCloseable {

  private static final Path STATUS = Path.of("/proc/self/status");
  private static final Path CLEAR = Path.of("/proc/self/clear_refs");

  /** Written to {@link #CLEAR}: begin the peak anew; see proc(5). */
  private static final String RESET_PEAK = "5";

  private static final long LOOK_MILLIS = 5;

  private final AtomicLong anonymousPeak = new AtomicLong(-1);
  private final ScheduledExecutorService looks =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().daemon().name("baton-bench-memory").factory());

  /** Begins both peaks anew, where the kernel lets it. */
  ResidentMemory() {
    if (Files.isWritable(CLEAR)) {
      try {
        Files.writeString(CLEAR, RESET_PEAK);
      } catch (IOException e) {
        throw new IllegalStateException("%s: cannot be written: %s".formatted(CLEAR, e), e);
      }
    }
    look();
    looks.scheduleAtFixedRate(this::look, LOOK_MILLIS, LOOK_MILLIS, TimeUnit.MILLISECONDS);
  }

  private void look() {
    anonymousPeak.accumulateAndGet(anonymous(), Math::max);
  }

  /** Bytes of anonymous pages now; negative = unknown. */
  static long anonymous() {
    return bytes("RssAnon:");
  }

  /** Most bytes of anonymous pages that were seen; negative = unknown. */
  long anonymousPeak() {
    look();
    return anonymousPeak.get();
  }

  /** Most bytes of all pages; negative = unknown. */
  static long peak() {
    return bytes("VmHWM:");
  }

  private static long bytes(String field) {
    if (!Files.isReadable(STATUS)) {
      return -1;
    }
    try {
      return Files.readAllLines(STATUS).stream()
          .filter(line -> line.startsWith(field))
          .mapToLong(line -> Long.parseLong(line.replaceAll("\\D+", "")) << 10)
          .findFirst()
          .orElse(-1);
    } catch (IOException e) {
      throw new IllegalStateException("%s: cannot be read: %s".formatted(STATUS, e), e);
    }
  }

  @Override
  public void close() {
    looks.shutdownNow();
  }
}

package dev.baton.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.stream.Stream;

/** Whether this machine can hold a system, asked before any process of it is started. */
final class Preflight {

  /** Of a worker's JVM besides weights and KV: heap in use, metaspace, code, slabs. */
  private static final long PROCESS_BYTES = 256L << 20;

  private Preflight() {}

  /** Refuses what can not fit; what might fit is left to the engine, which knows better. */
  static void checkMemory(Path model, EngineFlags engine, int workers) {
    long available = availableBytes();
    long weights = weightBytes(model);
    if (weights == 0) {
      throw CommandFailure.usage(
          "--model: %s has no *.safetensors (expected: a Hugging Face model directory)"
              .formatted(model));
    }
    long kv = engine.kvCache == null ? 0 : engine.kvCache.bytes();
    double needed = (double) workers * ((double) weights + kv + PROCESS_BYTES);
    if (needed > available) {
      throw CommandFailure.failed(
          "memory: %s available (expected: %s for %d workers with %s of weights each)"
              .formatted(
                  ByteSize.format(available),
                  ByteSize.format((long) Math.min(needed, 1L << 62)),
                  workers,
                  ByteSize.format(weights)));
    }
  }

  private static long weightBytes(Path model) {
    try (Stream<Path> files = Files.list(model)) {
      long bytes = 0;
      for (Path file : files.filter(f -> f.toString().endsWith(".safetensors")).toList()) {
        bytes += Files.size(file);
      }
      return bytes;
    } catch (IOException e) {
      throw CommandFailure.failed("--model: cannot read %s: %s".formatted(model, e.getMessage()));
    }
  }

  /**
   * Linux's estimate of what can be used without swapping; unknown elsewhere, and then no limit.
   */
  private static long availableBytes() {
    Path meminfo = Path.of("/proc/meminfo");
    try (Stream<String> lines = Files.lines(meminfo)) {
      return lines
          .filter(line -> line.startsWith("MemAvailable:"))
          .map(line -> line.toLowerCase(Locale.ROOT).replaceAll("[^0-9]", ""))
          .mapToLong(kibibytes -> Long.parseLong(kibibytes) << 10)
          .findFirst()
          .orElse(Long.MAX_VALUE);
    } catch (IOException e) {
      return Long.MAX_VALUE;
    }
  }
}

package dev.baton.device.cpu;

import dev.baton.device.Device;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The tiers that this machine runs, as arguments of tests, each with one, two and three threads.
 */
final class Tiers {

  private Tiers() {}

  /** As {@code avx2*3}: tier and threads. */
  static Stream<String> running() {
    return CpuDevice.runningTiers().stream()
        .flatMap(tier -> IntStream.rangeClosed(1, 3).mapToObj(threads -> tier + "*" + threads));
  }

  static Stream<String> runningAndReference() {
    return Stream.concat(Stream.of("reference"), running());
  }

  /**
   * Opens one of {@link #running}, or {@code reference}; cuts work into as many parts as it can be
   * cut, however small it is.
   */
  static Device open(String tier) {
    String[] parts = tier.split("\\*");
    return CpuDevice.open(parts[0], parts.length == 1 ? "" : parts[1], 1);
  }
}

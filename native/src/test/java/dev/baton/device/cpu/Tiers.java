package dev.baton.device.cpu;

import java.util.stream.Stream;

/** The tiers that this machine runs, as arguments of tests. */
final class Tiers {

  private Tiers() {}

  static Stream<String> running() {
    return CpuDevice.runningTiers().stream();
  }
}

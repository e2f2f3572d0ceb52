package dev.baton.cli;

import dev.baton.device.Device;
import dev.baton.device.cpu.CpuDevice;

/** What this machine brings: the instruction tier of its CPU and its UCX. */
final class Platform {

  private Platform() {}

  /** The kernels that workers would run here, and why those. */
  static String cpuTier() {
    try (Device device = CpuDevice.open()) {
      return device.description();
    } catch (IllegalArgumentException e) {
      return String.valueOf(e.getMessage());
    }
  }

  /** UCX's version as the system's packages tell; {@code ./baton} asks them. */
  static String ucxVersion() {
    return System.getenv().getOrDefault("BATON_UCX_VERSION", "unknown");
  }
}

package dev.baton.cli;

/** What this machine brings: the instruction tier of its CPU and its UCX. */
final class Platform {

  private Platform() {}

  /** The tier that the kernels would use here, such as {@code avx512}. */
  static String cpuTier() {
    return "unknown";
  }

  /** UCX's version as the system's packages tell; {@code ./baton} asks them. */
  static String ucxVersion() {
    return System.getenv().getOrDefault("BATON_UCX_VERSION", "unknown");
  }
}

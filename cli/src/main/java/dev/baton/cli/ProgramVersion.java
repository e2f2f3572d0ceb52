package dev.baton.cli;

import java.util.Objects;

/** The version that the build wrote into the jar. */
final class ProgramVersion {

  private ProgramVersion() {}

  /** Such as {@code 0.1.0}; {@code development} when it runs from class files. */
  static String text() {
    return Objects.requireNonNullElse(
        ProgramVersion.class.getPackage().getImplementationVersion(), "development");
  }
}

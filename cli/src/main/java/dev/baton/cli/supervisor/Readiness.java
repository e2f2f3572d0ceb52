package dev.baton.cli.supervisor;

/** Whether the system serves requests yet; asked again and again until it says yes. */
@FunctionalInterface
public interface Readiness {

  /** Returns within about a second, from any thread; false while anything is missing. */
  boolean ready();
}

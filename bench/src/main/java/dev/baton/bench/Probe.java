package dev.baton.bench;

import java.util.Set;

/** Measures what the device of a bench does at best. */
interface Probe extends AutoCloseable {

  /** The ceilings of memory and of these products, measured now. */
  Ceilings measure(Set<Arithmetic> needed);

  /** One line about what was measured. */
  String description();

  @Override
  void close();
}

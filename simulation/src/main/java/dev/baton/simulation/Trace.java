package dev.baton.simulation;

/** Hears every event of a run, when anybody wants to. */
public interface Trace {

  /** Nobody does. */
  Trace OFF =
      new Trace() {
        @Override
        public boolean on() {
          return false;
        }

        @Override
        public void event(long nanos, String node, String what) {
          throw new IllegalStateException("the trace is off");
        }
      };

  /** Whether events are to be told; asked before they are put into words. */
  boolean on();

  /**
   * @param nanos of virtual time
   * @param node where it happens
   */
  void event(long nanos, String node, String what);
}

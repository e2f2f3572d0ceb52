package dev.baton.kvtransfer.ucx;

/**
 * How long the progress thread looks for work before it sleeps. To sleep and be woken takes more of
 * both sides than a slab's messages do: on virtual machines the waker asks the host to run the
 * sleeper's processor. So the thread looks on while the last wait was short, as it is between a
 * hand-off's slabs, and does not look at all after a long one. This is what Linux does before it
 * halts a processor that a guest has nothing for (KVM's halt polling), with one step up and down.
 *
 * <p>It never yields meanwhile: Linux 6.18 takes a whole time slice from who yields, and a thread
 * that has yielded a few times waits for milliseconds once another one needs its processor.
 *
 * <p>Not thread-safe.
 */
final class Patience {
  private final long most;
  private boolean patient;

  /**
   * @param most nanoseconds to look for work, at most
   */
  Patience(long most) {
    this.most = most;
  }

  /** Whether to look on after {@code nanos} without work. */
  boolean lasts(long nanos) {
    return patient && nanos < most;
  }

  /** There was no work for {@code nanos}, of which the last were slept. */
  void waited(long nanos) {
    patient = nanos < most;
  }
}

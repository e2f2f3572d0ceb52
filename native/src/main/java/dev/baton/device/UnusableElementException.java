package dev.baton.device;

/** A weight that was being converted or packed has an element that is infinite or no number. */
public final class UnusableElementException extends RuntimeException {

  private final long place;

  /**
   * @param place {@code row * columns + column} of the slice, of the first such element
   */
  public UnusableElementException(long place) {
    super("element %d: infinite or no number (expected: finite)".formatted(place));
    this.place = place;
  }

  public long place() {
    return place;
  }
}

package dev.baton.device;

/**
 * A weight that was being converted or packed has an element of 2^127 or more, which rounding to
 * bfloat16 could make infinite, or one that is no number.
 */
public final class UnusableElementException extends RuntimeException {

  private final long place;

  /**
   * @param place {@code row * columns + column} of the slice, of the first such element
   */
  public UnusableElementException(long place) {
    super("element %d: 2^127 or more, or no number (expected: smaller)".formatted(place));
    this.place = place;
  }

  public long place() {
    return place;
  }
}

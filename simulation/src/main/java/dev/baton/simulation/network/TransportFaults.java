package dev.baton.simulation.network;

/**
 * Probabilities of what may happen to one message of a hand-off.
 *
 * @param drop it never arrives, and the sender does not notice
 * @param duplicate it arrives twice
 * @param delay it comes much later than those sent after it
 * @param corruptPayload a bit of its payload is flipped on the way
 * @param corruptHeader a bit of its header is flipped on the way
 * @param loss its wire breaks
 */
public record TransportFaults(
    double drop,
    double duplicate,
    double delay,
    double corruptPayload,
    double corruptHeader,
    double loss) {

  public static final TransportFaults NONE = new TransportFaults(0, 0, 0, 0, 0, 0);

  public boolean none() {
    return equals(NONE);
  }
}

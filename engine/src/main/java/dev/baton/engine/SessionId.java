package dev.baton.engine;

/**
 * Names one attempt of a request.
 *
 * @param id the request's key in logs and on the wire
 * @param epoch the attempt, from 1
 */
public record SessionId(String id, int epoch) {

  public SessionId {
    if (id.isEmpty() || epoch < 1) {
      throw new IllegalArgumentException(
          "session: '%s' epoch %d (expected: a name, epoch >= 1)".formatted(id, epoch));
    }
  }

  @Override
  public String toString() {
    return id + "/" + epoch;
  }
}

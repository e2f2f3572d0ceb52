package dev.baton.router.generation;

import dev.baton.proto.worker.v1.SampledToken;
import java.util.List;

/**
 * A step of a continuation. Text may lag behind the tokens: it is held back while it may yet become
 * a character or a stop string.
 *
 * @param text final text, maybe empty
 * @param tokens the tokens that came with this step
 */
public record Piece(String text, List<SampledToken> tokens) {

  public Piece {
    tokens = List.copyOf(tokens);
  }
}

package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.Usage;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Piece;
import dev.baton.router.generation.PreparedRequest;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One continuation of a reply, as far as it has come. A stream keeps no text, only what the next
 * chunk needs. Touched by the request's event loop alone.
 */
final class Choice {

  final int index;
  final PreparedRequest prepared;
  final StringBuilder text = new StringBuilder();
  final List<SampledToken> tokens = new ArrayList<>();
  @Nullable FinishReason finishReason;
  @Nullable Usage usage;

  /** The first chunk of the stream went out. */
  boolean opened;

  /** A choice object was written already. */
  boolean begun;

  /** Where the next token's text begins in the choice's text, for log probabilities. */
  int textOffset;

  Choice(int index, PreparedRequest prepared) {
    this.index = index;
    this.prepared = prepared;
  }

  void keep(Piece piece) {
    text.append(piece.text());
    tokens.addAll(piece.tokens());
  }
}

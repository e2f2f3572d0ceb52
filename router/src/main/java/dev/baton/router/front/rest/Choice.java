package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.PromptLogprobs;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Ending;
import dev.baton.router.generation.Piece;
import dev.baton.router.generation.PreparedRequest;
import dev.baton.router.text.TextStream;
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
  @Nullable Ending ending;
  @Nullable PromptLogprobs promptLogprobs;

  /** The first chunk of the stream went out. */
  boolean opened;

  /** A choice object was written already. */
  boolean begun;

  private @Nullable TextStream offsets;
  private int nextOffset;

  Choice(int index, PreparedRequest prepared) {
    this.index = index;
    this.prepared = prepared;
  }

  /**
   * Where the next token's text begins in the choice's text, in Unicode characters; to be called
   * for each token in order. The tokens of one character begin where it begins.
   */
  int offset(int tokenId) {
    if (offsets == null) {
      offsets =
          prepared.model().text().stream(
              prepared.promptTokens(), List.of(), prepared.request().skipSpecialTokens());
    }
    int offset = nextOffset;
    String added = offsets.append(tokenId);
    nextOffset += added.codePointCount(0, added.length());
    return offset;
  }

  /** The text of the continuation begins so many Unicode characters after that of the choice. */
  void beginAt(int offset) {
    nextOffset = offset;
  }

  /** What the first token tells of the prompt. */
  void hear(Piece piece) {
    for (SampledToken token : piece.tokens()) {
      if (token.hasPromptLogprobs()) {
        promptLogprobs = token.getPromptLogprobs();
      }
    }
  }

  void keep(Piece piece) {
    text.append(piece.text());
    tokens.addAll(piece.tokens());
  }
}

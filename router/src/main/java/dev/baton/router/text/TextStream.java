package dev.baton.router.text;

import org.jspecify.annotations.Nullable;

/**
 * Turns the tokens of one continuation into text piece by piece. Never gives half a character, nor
 * anything of a stop string or beyond it; holds back text that may yet become either. The pieces,
 * joined, equal the decode of all tokens, cut at the first stop string. Not thread-safe.
 */
public interface TextStream {

  /**
   * Takes the next token.
   *
   * @return text that is final now; often empty
   */
  String append(int tokenId);

  /**
   * As {@link #append}, but the token's text is neither cut by a stop string nor the beginning of
   * one. Not to be called after {@link #append}.
   */
  String appendUnwatched(int tokenId);

  /** The stop string that was found, after which no token may be appended; null before. */
  @Nullable String stopString();

  /**
   * The continuation has ended: gives the text still held back; an unfinished character becomes
   * U+FFFD.
   */
  String finish();
}

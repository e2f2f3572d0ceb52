package dev.baton.router.generation;

import dev.baton.router.text.TextModel;

/** What to continue. */
public sealed interface Prompt {

  /**
   * @param addSpecialTokens let the tokenizer add its special tokens (BOS)
   */
  record Text(String text, boolean addSpecialTokens) implements Prompt {}

  /** Token ids, taken as they are. */
  record Tokens(int[] ids) implements Prompt {}

  record Chat(TextModel.ChatInput input) implements Prompt {}
}

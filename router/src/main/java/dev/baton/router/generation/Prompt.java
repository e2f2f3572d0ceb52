package dev.baton.router.generation;

import dev.baton.router.text.TextModel;
import java.util.Set;

/** What to continue. */
public sealed interface Prompt {

  /**
   * @param addSpecialTokens let the tokenizer add its special tokens (BOS)
   */
  record Text(String text, boolean addSpecialTokens) implements Prompt {}

  /** Token ids, taken as they are. */
  record Tokens(int[] ids) implements Prompt {}

  /**
   * Messages for the model's chat template.
   *
   * @param continueFinal the last message is begun only; the continuation goes on with its text
   */
  record Chat(TextModel.ChatInput input, boolean continueFinal) implements Prompt {

    /** The roles that a message may have. */
    public static final Set<String> ROLES =
        Set.of("system", "developer", "user", "assistant", "tool");
  }
}

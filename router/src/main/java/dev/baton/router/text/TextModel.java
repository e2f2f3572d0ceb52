package dev.baton.router.text;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The text side of one model directory: tokenizer.json, tokenizer_config.json, the chat template,
 * generation_config.json. Thread-safe. Loading fails with a {@link TextModelException} that names
 * the file, and the line of a template, at fault.
 */
public interface TextModel extends AutoCloseable {

  /**
   * Token ids of a text, never truncated; special tokens (BOS) added by the tokenizer's
   * post-processor when asked.
   */
  int[] encode(String text, boolean addSpecialTokens);

  /** Text of whole token ids. */
  String decode(int[] tokenIds, boolean skipSpecialTokens);

  /**
   * The token's own text and raw bytes, for log probabilities. Bytes are those that the token adds
   * to the output.
   */
  TokenText token(int tokenId);

  int vocabularySize();

  /**
   * Renders the model's chat template; throws TextModelException when the model has none or the
   * template refuses the messages. The text is to be encoded without adding special tokens: the
   * template writes them.
   */
  String renderChat(ChatInput input);

  boolean hasChatTemplate();

  /**
   * A new detokenizer for one continuation. Its text is the decode of the continuation's tokens
   * alone, but for one thing: after a prompt that has text of its own, the first token keeps its
   * leading space, so that prompt and continuation joined read right. A prompt that is empty or has
   * special tokens only (just BOS) is no text; chats pass an empty prompt, since the answer begins
   * a text of its own.
   *
   * @param promptTokens what is continued; only read during this call
   * @param stopStrings each not empty and well-formed, else IllegalArgumentException
   */
  TextStream stream(int[] promptTokens, List<String> stopStrings, boolean skipSpecialTokens);

  /**
   * Defaults of generation_config.json: temperature, top_k, top_p, min_p, repetition_penalty where
   * present.
   */
  Map<String, Double> generationDefaults();

  @Override
  void close();

  /** A token's printable text and the bytes it stands for. */
  record TokenText(String text, byte[] bytes) {}

  /**
   * What a chat template sees.
   *
   * @param messages each a map as in the OpenAI request (role, content, tool_calls, ...); values
   *     are String, Number, Boolean, List, Map or null
   * @param tools likewise; null when none
   * @param extra more template variables, such as enable_thinking
   */
  record ChatInput(
      List<Map<String, @Nullable Object>> messages,
      @Nullable List<Map<String, @Nullable Object>> tools,
      boolean addGenerationPrompt,
      Map<String, @Nullable Object> extra) {}
}

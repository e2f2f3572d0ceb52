package dev.baton.engine;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A token just chosen.
 *
 * @param index position among the session's generated tokens, from 0
 * @param logprobs set when asked for
 * @param promptLogprobs set on the token of index 0 when asked for
 * @param finish set when this token ends the session
 * @param joules drawn here for the session so far; negative = not known
 */
public record SampledToken(
    int id,
    int index,
    @Nullable Logprobs logprobs,
    @Nullable PromptLogprobs promptLogprobs,
    @Nullable FinishReason finish,
    double joules) {

  /** A token that brings nothing of the prompt. */
  public SampledToken(
      int id, int index, @Nullable Logprobs logprobs, @Nullable FinishReason finish) {
    this(id, index, logprobs, null, finish, -1);
  }

  /** Why a session ended. */
  public enum FinishReason {
    /** An end-of-sequence or stop token. */
    STOP,
    /** maxTokens or the end of the context. */
    LENGTH
  }

  /**
   * Natural logarithms of probabilities before temperature and filters.
   *
   * @param chosen of the chosen token
   * @param top the likeliest tokens, best first; equal ones by rising id
   */
  public record Logprobs(float chosen, List<Entry> top) {

    /** One of the likeliest tokens. */
    public record Entry(int id, float logprob) {}

    public Logprobs {
      top = List.copyOf(top);
    }
  }
}

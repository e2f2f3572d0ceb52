package dev.baton.engine;

/**
 * How likely each prompt token was after those before it; entry {@code i} is of prompt token {@code
 * i + 1}, the first has none. Natural logarithms of probabilities before temperature and filters.
 * The arrays belong to the record; whoever makes it fills them before anybody else sees it.
 *
 * @param tops likeliest tokens listed of each position
 * @param chosen {@code [positions]} of the prompt's own token
 * @param ranks {@code [positions]}: how many tokens are at least as likely as the prompt's own
 * @param topIds {@code [positions * tops]}, best first; equal ones by rising id
 * @param topLogprobs {@code [positions * tops]}
 */
public record PromptLogprobs(
    int tops, float[] chosen, int[] ranks, int[] topIds, float[] topLogprobs) {

  /** Empty ones, to be filled. */
  public static PromptLogprobs of(int positions, int tops) {
    return new PromptLogprobs(
        tops,
        new float[positions],
        new int[positions],
        new int[positions * tops],
        new float[positions * tops]);
  }

  public int positions() {
    return chosen.length;
  }
}

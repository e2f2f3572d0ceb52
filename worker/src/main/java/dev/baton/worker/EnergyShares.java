package dev.baton.worker;

import dev.baton.engine.EngineStatus;
import org.jspecify.annotations.Nullable;

/**
 * Shares out what a worker's chips draw over the tokens that it computes: between two looks every
 * token, of a prompt or generated, has the same share; what is drawn while nothing is computed is
 * idle. A single request's share is the engine's to tell. Chips that several workers use are
 * counted by each. The power watch alone calls {@link #look}.
 */
final class EnergyShares {

  /**
   * Joules so far; nothing where no chip tells.
   *
   * @param prompts of tokens of prompts
   * @param generated of tokens that were sampled
   * @param idle while no token was computed
   */
  record Joules(double prompts, double generated, double idle) {

    static final Joules NONE = new Joules(0, 0, 0);

    private Joules plus(double drawn, long promptTokens, long generatedTokens) {
      long tokens = promptTokens + generatedTokens;
      if (tokens == 0) {
        return new Joules(prompts, generated, idle + drawn);
      }
      return new Joules(
          prompts + drawn * promptTokens / tokens,
          generated + drawn * generatedTokens / tokens,
          idle);
    }
  }

  private double drawn = -1;
  private @Nullable EngineStatus status;
  private volatile Joules shared = Joules.NONE;

  /**
   * The chips and the engine as they are now; the first look only begins to count.
   *
   * @param total joules that the chips have drawn since some moment; negative = not known
   */
  void look(double total, EngineStatus now) {
    EngineStatus before = status;
    if (before != null && drawn >= 0 && total >= drawn) {
      shared =
          shared.plus(
              total - drawn,
              now.promptTokens() - before.promptTokens(),
              now.generatedTokens() - before.generatedTokens());
    }
    drawn = total;
    status = now;
  }

  /** What has been shared out. Any thread. */
  Joules shared() {
    return shared;
  }
}

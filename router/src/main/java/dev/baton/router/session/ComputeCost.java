package dev.baton.router.session;

/**
 * What it costs to have a context computed by one worker or by another: the prompt tokens that are
 * computed before its own, and those of its own, in tokens that a worker computes one after
 * another. A prefix that the worker holds costs nothing, one that it fetches what fetching takes in
 * terms of computing. So the holder of a prefix is preferred as long as its queue is not longer
 * than what the prefix saves. Pure.
 *
 * <p>One speed stands for all workers of a pool: what was measured of each depends on how warm it
 * was, and one that once looked slow would never be asked again.
 */
final class ComputeCost {

  private ComputeCost() {}

  /**
   * Tokens' worth of time until the context is computed.
   *
   * @param queued prompt tokens before it
   * @param held leading tokens of it that are there
   * @param fetchSaves tokens' worth of time that fetching more of it saves
   */
  static double tokens(long queued, int contextTokens, int held, double fetchSaves) {
    // The last token is computed in any case: its logits are wanted.
    int own = contextTokens - Math.clamp(held, 0, Math.max(0, contextTokens - 1));
    return queued + Math.max(1, own - Math.max(0, fetchSaves));
  }
}

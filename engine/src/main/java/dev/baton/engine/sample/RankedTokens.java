package dev.baton.engine.sample;

import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;

/** The few tokens that are reported, likeliest first; equal ones by rising id. One thread. */
final class RankedTokens {

  private final int[] ids = new int[Sampling.MAX_LOGPROBS];
  private final float[] logits = new float[Sampling.MAX_LOGPROBS];

  /** Takes all candidates, at most {@link Sampling#MAX_LOGPROBS}, in order. */
  void sort(Candidates candidates, MemorySegment rows, long rowBytes) {
    for (int i = 0; i < candidates.count(); i++) {
      float logit = candidates.logit(i, rows, rowBytes);
      int at = i;
      // They come by rising id, so an equal one stays behind.
      while (at > 0 && logits[at - 1] < logit) {
        ids[at] = ids[at - 1];
        logits[at] = logits[at - 1];
        at--;
      }
      ids[at] = candidates.id(i);
      logits[at] = logit;
    }
  }

  int id(int place) {
    return ids[place];
  }

  float logit(int place) {
    return logits[place];
  }
}

package dev.baton.simulation.model;

import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.Sampling;
import dev.baton.engine.sample.Adjustments;
import dev.baton.engine.sample.Sampler;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * What the model generates where nothing happens: one token after the other, without cache, blocks,
 * batches or workers. One thread.
 */
public final class PlainRun {

  private final Sampler sampler = new Sampler(new ReferenceLogitScan(), HashModel.VOCABULARY, 1);
  private final float[] logits = new float[HashModel.VOCABULARY];
  private final MemorySegment memory = MemorySegment.ofArray(logits);

  /** The tokens that follow the prompt, to the end of the session. */
  public int[] tokens(int[] prompt, Sampling sampling) {
    int most = Math.min(HashModel.CONTEXT_LENGTH, prompt.length + sampling.maxTokens());
    int[] tokens = Arrays.copyOf(prompt, most);
    Adjustments adjustments = Adjustments.of(sampling, prompt.length, List.of(HashModel.EOS));
    long hash = TokenHash.EMPTY;
    for (int token : prompt) {
      hash = TokenHash.mix(hash, token);
    }
    int length = prompt.length;
    while (length < most) {
      TokenHash.logits(hash, logits, 0, HashModel.VOCABULARY);
      sampler.begin();
      sampler.draw(sampling, adjustments, tokens, length, length - prompt.length);
      sampler.run(memory);
      int next = sampler.token(0);
      tokens[length++] = next;
      hash = TokenHash.mix(hash, next);
      if ((next == HashModel.EOS && !sampling.ignoreEos())
          || sampling.stopTokenIds().contains(next)) {
        break;
      }
    }
    return Arrays.copyOfRange(tokens, prompt.length, length);
  }
}

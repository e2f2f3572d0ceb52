package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.baton.device.TokenChoice;
import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What one session changes in its logits before a token is chosen: logit bias, penalties, and stop
 * tokens that may not come yet. Only the tokens concerned are touched, never the whole vocabulary.
 * Step thread only.
 */
public final class Adjustments {

  /*
   * Order and formulas, as vLLM has them: bias is added; then each token of prompt or output is
   * divided by the repetition penalty when positive and multiplied by it when not (Keskar et al.,
   * "CTRL", 2019); then each token of the output loses frequency * count and presence; then, below
   * minTokens, end-of-sequence and stop tokens become minus infinity.
   *
   * The counts are a function of the session's tokens alone: they are brought up to date from the
   * token log whenever a token is chosen, so a session that was preempted, handed over or begun
   * anew with the tokens of an earlier attempt has the same. A hash table of the distinct tokens
   * grows by doubling; besides that nothing is allocated.
   */

  private static final int ROOM = 64;
  private static final int NOT_SEEN = -1;

  private final Sampling sampling;
  private final int promptLength;

  /** Distinct tokens concerned, in order of their first appearance, and what is to be done. */
  private int[] ids = new int[ROOM];

  private float[] biases = new float[ROOM];
  private int[] generated = new int[ROOM];
  private int[] flags = new int[ROOM];
  private int distinct;

  /** Places in {@link #ids} by hash of the token, open addressing. */
  private int[] places = new int[4 * ROOM];

  /** Tokens of the log that are counted. */
  private int counted;

  private Adjustments(Sampling sampling, int promptLength, List<Integer> eosTokenIds) {
    this.sampling = sampling;
    this.promptLength = promptLength;
    Arrays.fill(places, NOT_SEEN);
    sampling
        .logitBias()
        .forEach(
            (id, bias) -> {
              int place = place(id);
              flags[place] |= TokenChoice.BIASED;
              biases[place] = bias;
            });
    if (sampling.minTokens() > 0) {
      eosTokenIds.forEach(this::mask);
      sampling.stopTokenIds().forEach(this::mask);
    }
  }

  /**
   * The adjustments that a session asks for; null when it asks for none.
   *
   * @param promptLength tokens of the log that are the prompt's
   * @param eosTokenIds of the model
   */
  public static @Nullable Adjustments of(
      Sampling sampling, int promptLength, List<Integer> eosTokenIds) {
    Adjustments adjustments = new Adjustments(sampling, promptLength, eosTokenIds);
    return adjustments.distinct == 0 && !adjustments.counts() ? null : adjustments;
  }

  /**
   * Writes the changes of the next row.
   *
   * @param from where they begin
   * @param tokens the session's log, of which the first {@code length} hold
   * @return how many there are
   */
  int write(TokenChoice choice, int from, int[] tokens, int length) {
    if (counts()) {
      count(tokens, length);
    }
    int wanted = TokenChoice.BIASED | TokenChoice.SEEN;
    if (length - promptLength < sampling.minTokens()) {
      wanted |= TokenChoice.MASKED;
    }
    MemorySegment changes = choice.changes(from + distinct);
    long at = (long) from * TokenChoice.CHANGE_BYTES;
    int written = 0;
    for (int place = 0; place < distinct; place++) {
      if ((flags[place] & wanted) != 0) {
        changes.set(JAVA_INT_UNALIGNED, at, ids[place]);
        changes.set(JAVA_FLOAT_UNALIGNED, at + 4, biases[place]);
        changes.set(JAVA_INT_UNALIGNED, at + 8, generated[place]);
        changes.set(JAVA_INT_UNALIGNED, at + 12, flags[place] & wanted);
        at += TokenChoice.CHANGE_BYTES;
        written++;
      }
    }
    return written;
  }

  private void mask(int token) {
    // Before the flags are looked at: the table may grow, and then they are others.
    int place = place(token);
    flags[place] |= TokenChoice.MASKED;
  }

  private boolean counts() {
    return sampling.repetitionPenalty() != 1f
        || sampling.frequencyPenalty() != 0f
        || sampling.presencePenalty() != 0f;
  }

  private void count(int[] tokens, int length) {
    for (; counted < length; counted++) {
      int place = place(tokens[counted]);
      flags[place] |= TokenChoice.SEEN;
      if (counted >= promptLength) {
        generated[place]++;
      }
    }
  }

  /** Where the token stands in {@link #ids}; a new one is appended. */
  private int place(int token) {
    int mask = places.length - 1;
    int at = hash(token) & mask;
    while (places[at] != NOT_SEEN) {
      if (ids[places[at]] == token) {
        return places[at];
      }
      at = at + 1 & mask;
    }
    if (distinct == ids.length) {
      grow();
      return place(token);
    }
    places[at] = distinct;
    ids[distinct] = token;
    return distinct++;
  }

  private void grow() {
    ids = Arrays.copyOf(ids, 2 * ids.length);
    biases = Arrays.copyOf(biases, ids.length);
    generated = Arrays.copyOf(generated, ids.length);
    flags = Arrays.copyOf(flags, ids.length);
    places = new int[4 * ids.length];
    Arrays.fill(places, NOT_SEEN);
    int mask = places.length - 1;
    for (int place = 0; place < distinct; place++) {
      int at = hash(ids[place]) & mask;
      while (places[at] != NOT_SEEN) {
        at = at + 1 & mask;
      }
      places[at] = place;
    }
  }

  private static int hash(int token) {
    int mixed = token * 0x9E3779B9;
    return mixed ^ mixed >>> 15;
  }
}

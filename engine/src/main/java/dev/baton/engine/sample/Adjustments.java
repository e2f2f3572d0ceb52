package dev.baton.engine.sample;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
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
  private final int[] biased;
  private final float[] biases;
  private final int[] masked;

  /** Distinct tokens in order of their first appearance, and how often each was generated. */
  private int[] seen = new int[ROOM];

  private int[] generated = new int[ROOM];
  private int distinct;

  /** Places in {@link #seen} by hash of the token, open addressing. */
  private int[] places = new int[4 * ROOM];

  /** Tokens of the log that are counted. */
  private int counted;

  /** What {@link #apply} has overwritten, in order. */
  private int[] changedIds = new int[ROOM];

  private float[] changedFrom = new float[ROOM];
  private int changes;

  private Adjustments(Sampling sampling, int promptLength, List<Integer> eosTokenIds) {
    this.sampling = sampling;
    this.promptLength = promptLength;
    Map<Integer, Float> bias = sampling.logitBias();
    this.biased = bias.keySet().stream().mapToInt(Integer::intValue).sorted().toArray();
    this.biases = new float[biased.length];
    for (int i = 0; i < biased.length; i++) {
      biases[i] = bias.getOrDefault(biased[i], 0f);
    }
    this.masked =
        sampling.minTokens() == 0
            ? new int[0]
            : java.util.stream.Stream.concat(eosTokenIds.stream(), sampling.stopTokenIds().stream())
                .mapToInt(Integer::intValue)
                .distinct()
                .toArray();
    Arrays.fill(places, NOT_SEEN);
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
    return adjustments.biased.length == 0 && !adjustments.counts() && adjustments.masked.length == 0
        ? null
        : adjustments;
  }

  /**
   * Changes a row of logits.
   *
   * @param rowBytes where the row begins
   * @param tokens the session's log, of which the first {@code length} hold
   * @return whether anything was changed
   */
  boolean apply(MemorySegment logits, long rowBytes, int[] tokens, int length) {
    changes = 0;
    for (int i = 0; i < biased.length; i++) {
      set(logits, rowBytes, biased[i], get(logits, rowBytes, biased[i]) + biases[i]);
    }
    if (counts()) {
      count(tokens, length);
      penalize(logits, rowBytes);
    }
    if (length - promptLength < sampling.minTokens()) {
      for (int id : masked) {
        set(logits, rowBytes, id, Float.NEGATIVE_INFINITY);
      }
    }
    return changes > 0;
  }

  /** Undoes {@link #apply}. */
  void restore(MemorySegment logits, long rowBytes) {
    while (changes > 0) {
      changes--;
      logits.set(
          JAVA_FLOAT_UNALIGNED,
          rowBytes + (long) changedIds[changes] * Float.BYTES,
          changedFrom[changes]);
    }
  }

  private boolean counts() {
    return sampling.repetitionPenalty() != 1f
        || sampling.frequencyPenalty() != 0f
        || sampling.presencePenalty() != 0f;
  }

  private void penalize(MemorySegment logits, long rowBytes) {
    float repetition = sampling.repetitionPenalty();
    for (int place = 0; place < distinct; place++) {
      float logit = get(logits, rowBytes, seen[place]);
      logit = logit > 0 ? logit / repetition : logit * repetition;
      if (generated[place] > 0) {
        logit -= sampling.frequencyPenalty() * generated[place];
        logit -= sampling.presencePenalty();
      }
      set(logits, rowBytes, seen[place], logit);
    }
  }

  private void count(int[] tokens, int length) {
    for (; counted < length; counted++) {
      int place = place(tokens[counted]);
      if (counted >= promptLength) {
        generated[place]++;
      }
    }
  }

  /** Where the token stands in {@link #seen}; a new one is appended. */
  private int place(int token) {
    int mask = places.length - 1;
    int at = hash(token) & mask;
    while (places[at] != NOT_SEEN) {
      if (seen[places[at]] == token) {
        return places[at];
      }
      at = at + 1 & mask;
    }
    if (distinct == seen.length) {
      grow();
      return place(token);
    }
    places[at] = distinct;
    seen[distinct] = token;
    return distinct++;
  }

  private void grow() {
    seen = Arrays.copyOf(seen, 2 * seen.length);
    generated = Arrays.copyOf(generated, seen.length);
    places = new int[4 * seen.length];
    Arrays.fill(places, NOT_SEEN);
    int mask = places.length - 1;
    for (int place = 0; place < distinct; place++) {
      int at = hash(seen[place]) & mask;
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

  private static float get(MemorySegment logits, long rowBytes, int id) {
    return logits.get(JAVA_FLOAT_UNALIGNED, rowBytes + (long) id * Float.BYTES);
  }

  private void set(MemorySegment logits, long rowBytes, int id, float value) {
    if (changes == changedIds.length) {
      changedIds = Arrays.copyOf(changedIds, 2 * changes);
      changedFrom = Arrays.copyOf(changedFrom, 2 * changes);
    }
    changedIds[changes] = id;
    changedFrom[changes++] = get(logits, rowBytes, id);
    logits.set(JAVA_FLOAT_UNALIGNED, rowBytes + (long) id * Float.BYTES, value);
  }
}

package dev.baton.engine.sample;

import dev.baton.engine.EngineException;
import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.engine.Sampling;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;

/**
 * Chooses the next token of a row of logits. {@link #load} a row, then {@link #choose} and, if
 * wanted, {@link #logprobs}. A row with a NaN, or without a finite maximum, throws {@link
 * EngineException} INTERNAL and is never sampled from. Step thread only.
 */
public final class Sampler {

  /*
   * How a token is chosen
   *
   * Greedy (temperature 0): the largest logit; the smallest id wins a tie.
   *
   * Drawn: filters in vLLM's order - temperature, then top-k, then top-p - each over tokens ordered
   * by falling logit, equal ones by rising id. Weights are exp((logit - largest) / temperature), so
   * the largest is 1 and nothing overflows. top-k keeps the first k. top-p keeps the shortest
   * prefix of what is left whose weight reaches p of the sum of what top-k left; at least one. The
   * draw is the inverse of the cumulated weights at uniform(seed, index) of Philox.
   *
   * Exactness. The same logits, seed and index give the same token on every machine: weights are
   * doubles from StrictMath, sums run in one order (by id over the whole row, by rank over a
   * selection), and the order of tokens is total. Nothing is carried from one draw to the next.
   *
   * Cost. The row is copied once and read a few times; the vocabulary is never sorted. top-p alone
   * does not know how many tokens it will keep: it selects the first 64, and four times as many
   * each time that is too few. Only a nearly flat distribution gets far with that.
   *
   * Log probabilities are of the raw logits, before temperature and filters.
   */

  private static final int FIRST_NUCLEUS = 64;
  private static final int NUCLEUS_GROWTH = 4;

  private final int vocabulary;
  private final float[] logits;
  private final double[] weights;
  private final int[] counter = new int[4];
  private final TopTokens top = new TopTokens();
  private int best;

  public Sampler(int vocabulary) {
    this.vocabulary = vocabulary;
    this.logits = new float[vocabulary];
    this.weights = new double[vocabulary];
  }

  /**
   * Takes a row to choose from.
   *
   * @param rows float32 {@code [rows, vocabulary]}
   */
  public void load(MemorySegment rows, int row) {
    MemorySegment.copy(
        rows,
        ValueLayout.JAVA_FLOAT_UNALIGNED,
        (long) row * vocabulary * Float.BYTES,
        logits,
        0,
        vocabulary);
    best = 0;
    for (int id = 0; id < vocabulary; id++) {
      float logit = logits[id];
      if (Float.isNaN(logit)) {
        throw unusable("logit of token %d: NaN".formatted(id));
      }
      if (logit > logits[best]) {
        best = id;
      }
    }
    if (Float.isInfinite(logits[best])) {
      throw unusable("largest logit: " + logits[best]);
    }
  }

  /**
   * The next token of the loaded row.
   *
   * @param index of the token among the session's generated ones
   */
  public int choose(Sampling sampling, int index) {
    if (sampling.temperature() == 0f) {
      return best;
    }
    double uniform = Philox.uniform(sampling.seed(), index, counter);
    double temperature = sampling.temperature();
    if (sampling.topK() > 0 && sampling.topK() < vocabulary) {
      top.select(logits, vocabulary, sampling.topK());
      double total = weighTop(temperature);
      return drawTop(nucleus(sampling.topP() * total), uniform);
    }
    double total = 0;
    for (int id = 0; id < vocabulary; id++) {
      weights[id] = weight(id, temperature);
      total += weights[id];
    }
    if (sampling.topP() == 1f) {
      return drawAll(uniform * total);
    }
    double wanted = sampling.topP() * total;
    int size = FIRST_NUCLEUS;
    top.select(logits, vocabulary, size);
    while (weighTop(temperature) < wanted && top.count() < vocabulary) {
      size = Math.min(vocabulary, size * NUCLEUS_GROWTH);
      top.select(logits, vocabulary, size);
    }
    return drawTop(nucleus(wanted), uniform);
  }

  /**
   * Log probabilities of the loaded row.
   *
   * @param tops how many of the likeliest tokens to list
   */
  public Logprobs logprobs(int chosen, int tops) {
    double sum = 0;
    for (int id = 0; id < vocabulary; id++) {
      sum += weight(id, 1);
    }
    double normalizer = logits[best] + StrictMath.log(sum);
    List<Logprobs.Entry> entries = new ArrayList<>(tops);
    if (tops > 0) {
      top.select(logits, vocabulary, tops);
      for (int rank = 0; rank < top.count(); rank++) {
        int id = top.id(rank);
        entries.add(new Logprobs.Entry(id, (float) (logits[id] - normalizer)));
      }
    }
    return new Logprobs((float) (logits[chosen] - normalizer), entries);
  }

  private double weight(int id, double temperature) {
    return StrictMath.exp(((double) logits[id] - logits[best]) / temperature);
  }

  /** Weights of the selected tokens by rank; returns their sum. */
  private double weighTop(double temperature) {
    double total = 0;
    for (int rank = 0; rank < top.count(); rank++) {
      weights[rank] = weight(top.id(rank), temperature);
      total += weights[rank];
    }
    return total;
  }

  /** Ranks kept by top-p: the fewest whose weights reach {@code wanted}. */
  private int nucleus(double wanted) {
    double sum = 0;
    for (int rank = 0; rank < top.count(); rank++) {
      sum += weights[rank];
      if (sum >= wanted) {
        return rank + 1;
      }
    }
    return top.count();
  }

  private int drawTop(int kept, double uniform) {
    double total = 0;
    for (int rank = 0; rank < kept; rank++) {
      total += weights[rank];
    }
    double target = uniform * total;
    double sum = 0;
    for (int rank = 0; rank < kept; rank++) {
      sum += weights[rank];
      if (sum > target) {
        return top.id(rank);
      }
    }
    // uniform * total can round up to total; the likeliest always has weight.
    return best;
  }

  private int drawAll(double target) {
    double sum = 0;
    for (int id = 0; id < vocabulary; id++) {
      sum += weights[id];
      if (sum > target) {
        return id;
      }
    }
    return best;
  }

  private static EngineException unusable(String what) {
    return new EngineException(Kind.INTERNAL, what + " (expected: finite)");
  }
}

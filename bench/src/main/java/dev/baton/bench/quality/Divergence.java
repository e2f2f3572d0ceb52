package dev.baton.bench.quality;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * How far a model's predictions are from the reference's, position by position. Used by one thread.
 */
final class Divergence {

  /**
   * One position.
   *
   * @param nats Kullback-Leibler divergence of the model's distribution from the reference's
   * @param sameTop both find the same token the likeliest; ties to the lower id
   */
  record Position(double nats, boolean sameTop) {}

  private final List<Double> nats = new ArrayList<>();
  private long sameTop;
  private long predicted;
  private double referenceSurprise;
  private double surprise;

  /**
   * Compares two rows of logits over one vocabulary: {@code sum p (log p - log q)}, summed in
   * double precision, p being the reference's softmax.
   */
  static Position compare(float[] reference, float[] logits) {
    double referenceSum = logSum(reference);
    double sum = logSum(logits);
    double divergence = 0;
    for (int i = 0; i < reference.length; i++) {
      double logP = reference[i] - referenceSum;
      divergence += Math.exp(logP) * (logP - (logits[i] - sum));
    }
    // Rounding may leave a trace below zero where both are equal.
    return new Position(Math.max(0, divergence), top(reference) == top(logits));
  }

  /** Minus the log of the probability of a token, in nats. */
  static double surprise(float[] logits, int token) {
    return logSum(logits) - logits[token];
  }

  private static double logSum(float[] logits) {
    double most = logits[top(logits)];
    double sum = 0;
    for (float each : logits) {
      sum += Math.exp(each - most);
    }
    return most + Math.log(sum);
  }

  private static int top(float[] logits) {
    int top = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[top]) {
        top = i;
      }
    }
    return top;
  }

  void add(Position position) {
    nats.add(position.nats());
    sameTop += position.sameTop() ? 1 : 0;
  }

  /** Of a position whose next token is known, what each model thought of it. */
  void addSurprise(double ofReference, double ofModel) {
    predicted++;
    referenceSurprise += ofReference;
    surprise += ofModel;
  }

  int positions() {
    return nats.size();
  }

  double mean() {
    return nats.stream().mapToDouble(Double::doubleValue).average().orElse(0);
  }

  /** The divergence that 99 of 100 positions do not exceed. */
  double percentile99() {
    if (nats.isEmpty()) {
      return 0;
    }
    List<Double> sorted = new ArrayList<>(nats);
    Collections.sort(sorted);
    return sorted.get(Math.ceilDiv(sorted.size() * 99, 100) - 1);
  }

  double most() {
    return nats.stream().mapToDouble(Double::doubleValue).max().orElse(0);
  }

  /** Part of the positions at which both find the same token the likeliest. */
  double topAgreement() {
    return nats.isEmpty() ? 1 : (double) sameTop / nats.size();
  }

  double referencePerplexity() {
    return Math.exp(referenceSurprise / Math.max(1, predicted));
  }

  double perplexity() {
    return Math.exp(surprise / Math.max(1, predicted));
  }
}

package dev.baton.device.reference;

import static dev.baton.device.reference.Canonical.LANES;
import static dev.baton.device.reference.ReferenceKvCache.KEY;
import static dev.baton.device.reference.ReferenceKvCache.VALUE;

import dev.baton.device.DType;
import java.util.Arrays;
import java.util.function.IntUnaryOperator;

/**
 * What one query sees: positions [first, last] of one KV head of a sequence. Computes its attention
 * by the two rules of the package documentation.
 *
 * @param block the number of the sequence's n-th block
 */
record ReferenceAttention(
    ReferenceKvCache cache, int layer, int kvHead, IntUnaryOperator block, int first, int last) {

  /** Positions between two corrections, in the rule for narrow KV. */
  private static final int TILE = 64;

  /** Terms that the bfloat16 rule sums together. */
  private static final int DEPTH = 32;

  private static final float LOG2_E = 1.44269504f;

  /** The rule for float32 KV. */
  float[] wide(float[] query, float scale) {
    float max = Float.NEGATIVE_INFINITY;
    float[] sums = new float[LANES];
    float[] result = new float[query.length];
    float[] vector = new float[query.length];
    float[] scores = new float[LANES];
    for (int tile = first / LANES; tile <= last / LANES; tile++) {
      for (int j = 0; j < LANES; j++) {
        int position = tile * LANES + j;
        scores[j] = Float.NEGATIVE_INFINITY;
        if (sees(position)) {
          cache.read(offset(KEY, position), vector);
          float score = 0f;
          for (int d = 0; d < query.length; d++) {
            score = Math.fma(query[d], vector[d], score);
          }
          scores[j] = score * scale;
        }
      }
      float newMax = Canonical.max(Canonical.laneMax(scores), max);
      float correction = Canonical.exp(max - newMax);
      max = newMax;
      for (int d = 0; d < result.length; d++) {
        result[d] *= correction;
      }
      for (int j = 0; j < LANES; j++) {
        int position = tile * LANES + j;
        float weight = sees(position) ? Canonical.exp(scores[j] - max) : 0f;
        sums[j] = Math.fma(sums[j], correction, weight);
        if (sees(position)) {
          cache.read(offset(VALUE, position), vector);
          for (int d = 0; d < result.length; d++) {
            result[d] = Math.fma(weight, vector[d], result[d]);
          }
        }
      }
    }
    float inverse = 1f / Canonical.laneSum(sums);
    for (int d = 0; d < result.length; d++) {
      result[d] *= inverse;
    }
    return result;
  }

  /** The rule for bfloat16 and int8 KV. */
  float[] narrow(float[] query, float scale) {
    int dim = query.length;
    float[] rounded = new float[dim];
    for (int d = 0; d < dim; d++) {
      rounded[d] = Canonical.bf16(query[d]);
    }
    float base = Canonical.flushed(scale * LOG2_E);
    float max = -Float.MAX_VALUE;
    float[] sums = new float[LANES];
    float[] result = new float[dim];
    float[] key = new float[dim];
    float[] scores = new float[TILE];
    float[] weights = new float[TILE];
    for (int start = first / TILE * TILE; start <= last; start += TILE) {
      float largest = Float.NEGATIVE_INFINITY;
      for (int j = 0; j < TILE; j++) {
        scores[j] = Float.NEGATIVE_INFINITY;
        if (sees(start + j)) {
          readElements(KEY, start + j, key);
          scores[j] = Canonical.flushed(Canonical.bf16Dot(rounded, key) * scale(KEY, start + j));
          largest = Canonical.max(scores[j], largest);
        }
      }
      float newMax = Canonical.max(Canonical.flushed(largest * base), max);
      float correction = Canonical.power(Canonical.flushed(max - newMax));
      max = newMax;
      for (int d = 0; d < dim; d++) {
        result[d] = Canonical.flushed(result[d] * correction);
      }
      for (int j = 0; j < TILE; j++) {
        weights[j] =
            sees(start + j)
                ? Canonical.power(Canonical.flushed(Math.fma(scores[j], base, -max)))
                : 0f;
      }
      for (int lane = 0; lane < LANES; lane++) {
        float weight =
            Canonical.flushed(weights[lane] + weights[lane + 16])
                + Canonical.flushed(weights[lane + 32] + weights[lane + 48]);
        sums[lane] = Canonical.flushed(Math.fma(sums[lane], correction, weight));
      }
      addValues(start, weights, result);
    }
    float inverse = 1f / Canonical.laneSum(sums);
    for (int d = 0; d < dim; d++) {
      result[d] = Canonical.flushed(result[d] * inverse);
    }
    return result;
  }

  private void addValues(int start, float[] weights, float[] result) {
    float[][] values = new float[DEPTH][result.length];
    float[] column = new float[DEPTH];
    float[] rounded = new float[DEPTH];
    for (int half = 0; half < TILE; half += DEPTH) {
      for (int j = 0; j < DEPTH; j++) {
        Arrays.fill(values[j], 0f);
        rounded[j] = 0f;
        int position = start + half + j;
        if (sees(position)) {
          readElements(VALUE, position, values[j]);
          rounded[j] =
              Canonical.bf16(Canonical.flushed(weights[half + j] * scale(VALUE, position)));
        }
      }
      for (int d = 0; d < result.length; d++) {
        for (int j = 0; j < DEPTH; j++) {
          column[j] = values[j][d];
        }
        result[d] = Canonical.flushed(result[d] + Canonical.bf16Dot(rounded, column));
      }
    }
  }

  private boolean sees(int position) {
    return first <= position && position <= last;
  }

  private void readElements(int keyOrValue, int position, float[] into) {
    KvRow.readElements(cache.memory(), dtype(), offset(keyOrValue, position), into);
  }

  /** 1 where the dtype has none. */
  private float scale(int keyOrValue, int position) {
    return dtype() == DType.INT8
        ? KvRow.scale(cache.memory(), offset(keyOrValue, position), cache.shape().headDim())
        : 1f;
  }

  private DType dtype() {
    return cache.shape().dtype();
  }

  private long offset(int keyOrValue, int position) {
    int tokens = cache.shape().blockTokens();
    return cache.offset(
        layer, block.applyAsInt(position / tokens), kvHead, keyOrValue, position % tokens);
  }
}

package dev.baton.device.reference;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.Trial;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** The oracle itself against formulas in double precision, written as a textbook has them. */
class ReferenceDeviceTest {

  private final Device device = ReferenceDevice.open();
  private final Ops ops = device.openRanks(1).getFirst();

  @AfterEach
  void close() {
    device.close();
  }

  private static float[] values(Tensor tensor) {
    return tensor.segment().toArray(JAVA_FLOAT);
  }

  @Test
  void expIsAccurateToAFewUnitsInTheLastPlace() {
    assertThat(Canonical.exp(0f)).isEqualTo(1f);
    assertThat(Canonical.exp(-0f)).isEqualTo(1f);
    for (float x = -87f; x <= 88f; x += 0.0137f) {
      double exact = Math.exp(x);
      assertThat(Math.abs(Canonical.exp(x) - exact) / exact).as("exp(%s)", x).isLessThan(2.4e-7);
    }
    assertThat(Canonical.exp(-100f)).isZero();
    assertThat(Canonical.exp(Float.NEGATIVE_INFINITY)).isZero();
    assertThat(Canonical.exp(100f)).isInfinite();
    assertThat(Canonical.exp(Float.NaN)).isNaN();
  }

  @Test
  void linearIsTheMatrixProduct() {
    Trial trial = Trial.named("reference linear");
    int inputs = 172;
    float[] x = trial.normal(3 * inputs, 1);
    float[] w = trial.normal(10 * inputs, 1);
    float[] b = trial.normal(10, 1);
    Tensor out = device.allocate(DType.FLOAT32, 3, 10);
    ops.linear(
        out,
        Trial.tensor(device, 3, inputs, x),
        device.packLinear(
            WeightSlice.whole(MemorySegment.ofArray(w), DType.FLOAT32, 10, inputs),
            WeightFormat.FLOAT32,
            Parallelism.ROW),
        Trial.tensor(device, 1, 10, b),
        3);
    for (int row = 0; row < 3; row++) {
      for (int o = 0; o < 10; o++) {
        double sum = b[o];
        for (int k = 0; k < inputs; k++) {
          sum += (double) x[row * inputs + k] * w[o * inputs + k];
        }
        assertThat((double) values(out)[row * 10 + o]).isCloseTo(sum, within(1e-4));
      }
    }
  }

  @Test
  void rmsNormAndSiluAreTheirFormulas() {
    Trial trial = Trial.named("reference rows");
    float[] x = trial.normal(100, 3);
    float[] w = trial.normal(100, 1);
    Tensor norm = device.allocate(DType.FLOAT32, 1, 100);
    Tensor weight = Trial.tensor(device, 1, 100, w);
    ops.rmsNorm(norm, Trial.tensor(device, 1, 100, x), weight, 1e-5f, 1, 100);
    Tensor silu = Trial.tensor(device, 1, 100, x);
    ops.siluMultiply(silu, silu, weight, 1, 100);
    double squares = 0;
    for (float v : x) {
      squares += (double) v * v;
    }
    for (int i = 0; i < 100; i++) {
      assertThat((double) values(norm)[i])
          .isCloseTo(x[i] / Math.sqrt(squares / 100 + 1e-5) * w[i], within(1e-5));
      assertThat((double) values(silu)[i])
          .isCloseTo(x[i] / (1 + Math.exp(-x[i])) * w[i], within(1e-5));
    }
  }

  @Test
  void attentionIsTheSoftmaxOfRotatedQueriesAndKeys() {
    Trial trial = Trial.named("reference attention");
    int tokens = 40;
    int heads = 4;
    int kvHeads = 2;
    int dim = 8;
    int window = 25;
    float[] q = trial.normal(tokens * heads * dim, 1);
    float[] k = trial.normal(tokens * kvHeads * dim, 1);
    float[] v = trial.normal(tokens * kvHeads * dim, 1);
    float[] cos = new float[tokens * dim / 2];
    float[] sin = new float[cos.length];
    for (int i = 0; i < cos.length; i++) {
      double angle = i / (dim / 2) * Math.pow(100, -(i % (dim / 2)) / 4.0);
      cos[i] = (float) Math.cos(angle);
      sin[i] = (float) Math.sin(angle);
    }
    KvCache cache = device.allocateKvCache(new KvShape(1, 4, 32, 0, kvHeads, dim, DType.FLOAT32));
    StepBatch batch = device.allocateStepBatch(tokens, 1, 3);
    batch.begin();
    batch.addSequence(new int[] {3, 0, 2}, 3);
    for (int i = 0; i < tokens; i++) {
      batch.addToken(0, i, false);
    }
    batch.seal();
    Tensor queries = Trial.tensor(device, tokens, heads * dim, q);
    Tensor out = device.allocate(DType.FLOAT32, tokens, heads * dim);
    ops.ropeStore(
        queries,
        Trial.tensor(device, tokens, kvHeads * dim, k),
        Trial.tensor(device, tokens, kvHeads * dim, v),
        Trial.tensor(device, tokens, dim / 2, cos),
        Trial.tensor(device, tokens, dim / 2, sin),
        cache,
        0,
        batch);
    ops.attention(out, queries, cache, 0, batch, 0.35f, window);

    for (int t = 0; t < tokens; t++) {
      for (int h = 0; h < heads; h++) {
        double[] query = rotated(q, (t * heads + h) * dim, dim, t, cos, sin);
        double[] result = new double[dim];
        double sum = 0;
        for (int p = Math.max(0, t - window + 1); p <= t; p++) {
          int kv = (p * kvHeads + h / 2) * dim;
          double[] key = rotated(k, kv, dim, p, cos, sin);
          double score = 0;
          for (int d = 0; d < dim; d++) {
            score += query[d] * key[d];
          }
          double weight = Math.exp(score * 0.35);
          sum += weight;
          for (int d = 0; d < dim; d++) {
            result[d] += weight * v[kv + d];
          }
        }
        for (int d = 0; d < dim; d++) {
          assertThat((double) values(out)[(t * heads + h) * dim + d])
              .isCloseTo(result[d] / sum, within(1e-5));
        }
      }
    }
  }

  private static double[] rotated(
      float[] x, int from, int dim, int position, float[] cos, float[] sin) {
    double[] result = new double[dim];
    int half = dim / 2;
    for (int d = 0; d < half; d++) {
      double c = cos[position * half + d];
      double s = sin[position * half + d];
      result[d] = x[from + d] * c - x[from + half + d] * s;
      result[half + d] = x[from + half + d] * c + x[from + d] * s;
    }
    return result;
  }
}

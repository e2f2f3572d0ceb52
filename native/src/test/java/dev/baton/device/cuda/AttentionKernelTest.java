package dev.baton.device.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.baton.device.Trial;
import dev.baton.device.cuda.EmulatedGpu.Grid;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Rotation, store and attention over paged KV on the emulated GPU: values against sums in double
 * precision, and bits that know nothing of chunks, neighbours and blocks.
 */
final class AttentionKernelTest {

  private static final int SPLIT = 256;

  /** Heads of a rank and how its KV lies. */
  private record Shape(
      int heads, int kvHeads, int headDim, int blockTokens, int window, boolean inBytes) {
    int width() {
      return (headDim + 31) / 32 * 32;
    }

    int compiled() {
      return width() <= 32 ? 32 : width() <= 64 ? 64 : 128;
    }

    int group() {
      return heads / kvHeads;
    }

    String kernel(String name) {
      return name + (inBytes ? "_int8_" : "_") + compiled();
    }

    /** Of the key or value of a token and head. */
    int rowBytes() {
      return inBytes ? width() + 4 : 2 * width();
    }
  }

  /** One sequence: rotated inputs of all positions, float32 [positions][heads][headDim]. */
  private record Sequence(int length, float[] q, float[] k, float[] v) {}

  /** Positions [from, to) of a sequence in a step. */
  private record Chunk(int sequence, int from, int to) {}

  /** The KV of some sequences in blocks of a cache, and the tables. */
  private static final class Cache {
    final EmulatedGpu gpu;
    final Shape shape;
    final MemorySegment base;
    final MemorySegment tables;
    final int maxBlocks;

    Cache(EmulatedGpu gpu, Trial trial, Shape shape, List<Sequence> sequences) {
      this.gpu = gpu;
      this.shape = shape;
      int longest = sequences.stream().mapToInt(Sequence::length).max().orElseThrow();
      maxBlocks = (longest + shape.blockTokens() - 1) / shape.blockTokens() + 1;
      int blocks = maxBlocks * sequences.size();
      base = gpu.bytes(2L * blocks * shape.kvHeads() * shape.blockTokens() * shape.rowBytes());
      List<Integer> order = new ArrayList<>();
      for (int i = 0; i < blocks; i++) {
        order.add(i);
      }
      java.util.Collections.shuffle(order, trial.random);
      tables = gpu.ints(order.stream().mapToInt(Integer::intValue).toArray());
    }

    byte[] layer() {
      return EmulatedGpu.inner(
          gpu.struct(
              base.address(),
              shape.blockTokens(),
              shape.kvHeads(),
              shape.width(),
              shape.headDim(),
              shape.inBytes() ? 1 : 0,
              0));
    }
  }

  private static Sequence sequence(Trial trial, Shape shape, int length) {
    return new Sequence(
        length,
        trial.normal((long) length * shape.heads() * shape.headDim(), 1),
        trial.normal((long) length * shape.kvHeads() * shape.headDim(), 1),
        trial.normal((long) length * shape.kvHeads() * shape.headDim(), 1));
  }

  private static float[] rows(float[] of, int pitch, List<Integer> positions) {
    float[] result = new float[positions.size() * pitch];
    for (int i = 0; i < positions.size(); i++) {
      System.arraycopy(of, positions.get(i) * pitch, result, i * pitch, pitch);
    }
    return result;
  }

  /**
   * Runs rope_store (with angles of zero) and attention for a step of chunks. The result of each
   * token: float32 [heads * headDim].
   *
   * @param runs whether chunks go to attention_runs or token by token to attention_singles
   */
  private static float[] step(
      Cache cache, List<Sequence> sequences, List<Chunk> chunks, boolean runs) {
    EmulatedGpu gpu = cache.gpu;
    Shape shape = cache.shape;
    int qPitch = shape.heads() * shape.headDim();
    int kPitch = shape.kvHeads() * shape.headDim();
    List<Integer> positions = new ArrayList<>();
    List<Integer> sequenceOf = new ArrayList<>();
    List<Integer> cut = new ArrayList<>();
    List<float[]> q = new ArrayList<>();
    List<float[]> k = new ArrayList<>();
    List<float[]> v = new ArrayList<>();
    for (Chunk chunk : chunks) {
      for (int at = chunk.from(); at < chunk.to(); at += 64) {
        cut.add(positions.size() + at - chunk.from());
        cut.add(Math.min(64, chunk.to() - at));
      }
      List<Integer> own = new ArrayList<>();
      for (int at = chunk.from(); at < chunk.to(); at++) {
        own.add(at);
        sequenceOf.add(chunk.sequence());
      }
      positions.addAll(own);
      Sequence sequence = sequences.get(chunk.sequence());
      q.add(rows(sequence.q(), qPitch, own));
      k.add(rows(sequence.k(), kPitch, own));
      v.add(rows(sequence.v(), kPitch, own));
    }
    int tokens = positions.size();
    int[] singles = new int[tokens];
    Arrays.setAll(singles, i -> i);
    int count = cut.size() / 2;
    byte[] batch =
        EmulatedGpu.inner(
            gpu.struct(
                gpu.ints(tokens, sequences.size(), 0, runs ? count : 0, runs ? 0 : tokens)
                    .address(),
                0L,
                gpu.ints(ints(positions)).address(),
                gpu.ints(ints(sequenceOf)).address(),
                0L,
                cache.tables.address(),
                gpu.ints(ints(cut)).address(),
                gpu.ints(singles).address(),
                cache.maxBlocks,
                0));
    int longest = positions.stream().mapToInt(Integer::intValue).max().orElseThrow() + 1;
    int half = shape.headDim() / 2;
    float[] cos = new float[longest * half];
    Arrays.fill(cos, 1f);
    MemorySegment queries = gpu.floats(joined(q));
    gpu.launch(
        "rope_store",
        new Grid(tokens + 1, 1, 1),
        128,
        0,
        queries,
        qPitch,
        gpu.floats(joined(k)),
        kPitch,
        gpu.floats(joined(v)),
        kPitch,
        gpu.floats(cos),
        gpu.floats(new float[longest * half]),
        shape.heads(),
        cache.layer(),
        batch);
    Packings packing = Packings.of(qPitch, 8, 0, 8);
    MemorySegment out = gpu.bytes(4L * tokens * (qPitch + 1));
    MemorySegment rounded = gpu.bytes(2L * tokens * packing.pitch());
    float scale = (float) (1 / Math.sqrt(shape.headDim()));
    if (runs) {
      gpu.launch(
          shape.kernel("attention_runs"),
          new Grid(count + 1, shape.kvHeads(), (64 * shape.group() + 127) / 128),
          256,
          CudaOps.runsShared(shape.compiled()),
          out,
          qPitch + 1,
          rounded,
          packing.struct(gpu),
          queries,
          qPitch,
          shape.heads(),
          cache.layer(),
          batch,
          scale,
          shape.window());
    } else {
      int splits = (longest + SPLIT - 1) / SPLIT + 1;
      MemorySegment partials = gpu.bytes(4L * tokens * shape.heads() * splits * shape.width());
      MemorySegment stats = gpu.bytes(8L * tokens * shape.heads() * splits);
      gpu.launch(
          shape.kernel("attention_singles"),
          new Grid(tokens + 1, shape.kvHeads() * ((shape.group() + 15) / 16), splits),
          128,
          512 * shape.compiled() + 5376,
          partials,
          stats,
          splits,
          queries,
          qPitch,
          shape.heads(),
          cache.layer(),
          batch,
          scale,
          shape.window());
      gpu.launch(
          "attention_join",
          new Grid(tokens + 1, shape.heads(), 1),
          32,
          0,
          out,
          qPitch + 1,
          rounded,
          packing.struct(gpu),
          partials,
          stats,
          splits,
          shape.heads(),
          cache.layer(),
          batch,
          shape.window());
    }
    float[] dense = new float[tokens * qPitch];
    float[] all = EmulatedGpu.floatsOf(out);
    for (int i = 0; i < tokens; i++) {
      System.arraycopy(all, i * (qPitch + 1), dense, i * qPitch, qPitch);
      assertEquals(-1, EmulatedGpu.bitsOf(out)[i * (qPitch + 1) + qPitch], "beyond the heads");
    }
    Trial.assertSameBits(
        bits(EmulatedGpu.widened(rounded)),
        bits(packing.pack(EmulatedGpu.rounded(dense))),
        "rounded");
    return dense;
  }

  private static int[] bits(float[] values) {
    int[] bits = new int[values.length];
    for (int i = 0; i < bits.length; i++) {
      bits[i] = Float.floatToRawIntBits(values[i]);
    }
    return bits;
  }

  private static float[] joined(List<float[]> parts) {
    float[] all = new float[parts.stream().mapToInt(part -> part.length).sum()];
    int at = 0;
    for (float[] part : parts) {
      System.arraycopy(part, 0, all, at, part.length);
      at += part.length;
    }
    return all;
  }

  private static int[] ints(List<Integer> values) {
    return values.stream().mapToInt(Integer::intValue).toArray();
  }

  private static double[] exact(Shape shape, Sequence s, int position, int head) {
    int dim = shape.headDim();
    int kv = head / shape.group();
    int first = shape.window() == 0 ? 0 : Math.max(0, position - shape.window() + 1);
    double[] result = new double[dim];
    double[] scores = new double[position + 1];
    double most = Double.NEGATIVE_INFINITY;
    for (int p = first; p <= position; p++) {
      double score = 0;
      float[] key = stored(shape, s.k(), p, kv);
      for (int d = 0; d < dim; d++) {
        score += (double) bf16(s.q()[(position * shape.heads() + head) * dim + d]) * key[d];
      }
      scores[p] = score / Math.sqrt(dim);
      most = Math.max(most, scores[p]);
    }
    double sum = 0;
    for (int p = first; p <= position; p++) {
      double weight = Math.exp(scores[p] - most);
      sum += weight;
      float[] values = stored(shape, s.v(), p, kv);
      for (int d = 0; d < dim; d++) {
        result[d] += weight * values[d];
      }
    }
    for (int d = 0; d < dim; d++) {
      result[d] /= sum;
    }
    return result;
  }

  /** A row as the cache gives it back. */
  private static float[] stored(Shape shape, float[] of, int position, int kvHead) {
    int from = (position * shape.kvHeads() + kvHead) * shape.headDim();
    float[] row = Arrays.copyOfRange(of, from, from + shape.headDim());
    if (shape.inBytes()) {
      return EightBits.of(row).widened();
    }
    for (int d = 0; d < row.length; d++) {
      row[d] = bf16(row[d]);
    }
    return row;
  }

  private static float bf16(float value) {
    return Bf16.toFloat(Bf16.fromFloat(value));
  }

  /** All positions of all sequences in a single step. */
  private static List<Chunk> whole(List<Sequence> sequences) {
    List<Chunk> chunks = new ArrayList<>();
    for (int i = 0; i < sequences.size(); i++) {
      chunks.add(new Chunk(i, 0, sequences.get(i).length()));
    }
    return chunks;
  }

  private static Shape random(Trial trial, int mostDim, boolean inBytes) {
    int kvHeads = trial.between(1, 2);
    int group = trial.oneOf(1, 3, 4, 18);
    return new Shape(
        kvHeads * group,
        kvHeads,
        2 * trial.between(4, mostDim / 2),
        trial.oneOf(32, 64, 96),
        trial.oneOf(0, trial.between(1, 100)),
        inBytes);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void attentionIsWithinRoundingOfTheSumInDoublePrecision(boolean inBytes) {
    Trial trial = Trial.named("attention");
    for (int mostDim : new int[] {32, 64, 128}) {
      Shape shape = random(trial, mostDim, inBytes);
      List<Sequence> sequences =
          List.of(
              sequence(trial, shape, trial.between(60, 150)),
              sequence(trial, shape, trial.between(1, 3)));
      try (EmulatedGpu gpu = new EmulatedGpu()) {
        float[] actual =
            step(new Cache(gpu, trial, shape, sequences), sequences, whole(sequences), true);
        int row = 0;
        for (Sequence each : sequences) {
          for (int position = 0; position < each.length(); position++, row++) {
            for (int head = 0; head < shape.heads(); head++) {
              double[] right = exact(shape, each, position, head);
              for (int d = 0; d < right.length; d++) {
                int at = (row * shape.heads() + head) * shape.headDim() + d;
                assertEquals(right[d], actual[at], 0.02, shape + " position " + position);
              }
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void chunksNeighboursAndBlocksDoNotShowInTheBits(boolean inBytes) {
    Trial trial = Trial.named("invariance");
    Shape shape = random(trial, trial.oneOf(32, 64), inBytes);
    int length = SPLIT + trial.between(5, 60); // the last three are a chunk behind the border's
    List<Sequence> sequences = List.of(sequence(trial, shape, 5), sequence(trial, shape, length));
    int border = trial.between(SPLIT - 10, SPLIT + 1);
    int pitch = shape.heads() * shape.headDim();
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      float[] all =
          step(new Cache(gpu, trial, shape, sequences), sequences, whole(sequences), true);
      float[] own = Arrays.copyOfRange(all, 5 * pitch, all.length);

      int otherBlocks = shape.blockTokens() == 32 ? 64 : 32;
      Shape other =
          new Shape(
              shape.heads(),
              shape.kvHeads(),
              shape.headDim(),
              otherBlocks,
              shape.window(),
              inBytes);
      Cache cache = new Cache(gpu, trial, other, sequences);
      float[] first = step(cache, sequences, List.of(new Chunk(1, 0, border)), true);
      Trial.assertSameBits(
          bits(first), bits(Arrays.copyOf(own, border * pitch)), shape + " first chunk");
      float[] tail =
          step(
              cache,
              sequences,
              List.of(new Chunk(1, border, length - 3), new Chunk(0, 0, 5)),
              true);
      Trial.assertSameBits(
          bits(Arrays.copyOf(tail, (length - 3 - border) * pitch)),
          bits(Arrays.copyOfRange(own, border * pitch, (length - 3) * pitch)),
          shape + " second chunk");
      float[] last =
          step(
              cache,
              sequences,
              List.of(new Chunk(0, 4, 5), new Chunk(1, length - 3, length)),
              false);
      Trial.assertSameBits(
          bits(last),
          bits(
              joined(
                  List.of(
                      Arrays.copyOfRange(all, 4 * pitch, 5 * pitch),
                      Arrays.copyOfRange(own, (length - 3) * pitch, length * pitch)))),
          shape + " token by token");
    }
  }

  @Test
  void storedRowsAreFilledUpWithZeros() {
    Trial trial = Trial.named("store");
    Shape shape = new Shape(2, 1, 14, 32, 0, false);
    List<Sequence> sequences = List.of(sequence(trial, shape, 3));
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      Cache cache = new Cache(gpu, trial, shape, sequences);
      step(cache, sequences, whole(sequences), true);
      int block = cache.tables.get(ValueLayout.JAVA_INT, 0);
      for (int value = 0; value < 2; value++) {
        float[] source = value == 0 ? sequences.get(0).k() : sequences.get(0).v();
        for (int d = 0; d < 32; d++) {
          long at = ((block * 2L + value) * 32 + 2) * 32 + d;
          float stored = Bf16.toFloat(cache.base.getAtIndex(ValueLayout.JAVA_SHORT, at));
          assertEquals(d < 14 ? bf16(source[2 * 14 + d]) : 0f, stored, "element " + d);
        }
      }
    }
  }

  @Test
  void storedRowsInEightBitsHaveTheBitsOfAllDevices() {
    Trial trial = Trial.named("store in eight bits");
    int dim = 2 * trial.between(2, 64);
    Shape shape = new Shape(2, 2, dim, 32, 0, true);
    int width = shape.width();
    List<Sequence> sequences = List.of(sequence(trial, shape, 3));
    float[] k = sequences.get(0).k();
    float[] v = sequences.get(0).v();
    Arrays.fill(v, 2 * 2 * dim, (2 * 2 + 1) * dim, 1e-38f * trial.oneOf(0, 1));
    try (EmulatedGpu gpu = new EmulatedGpu()) {
      Cache cache = new Cache(gpu, trial, shape, sequences);
      step(cache, sequences, List.of(new Chunk(0, 0, 3)), true);
      int block = cache.tables.get(ValueLayout.JAVA_INT, 0);
      for (int token = 0; token < 3; token++) {
        for (int row = 0; row < 4; row++) {
          int value = row / 2;
          int head = row % 2;
          int from = (token * 2 + head) * dim;
          EightBits expected =
              EightBits.of(Arrays.copyOfRange(value == 0 ? k : v, from, from + dim));
          long part = ((block * 2L + value) * 2 + head) * 32 * (width + 4);
          for (int d = 0; d < width; d++) {
            assertEquals(
                d < dim ? expected.elements()[d] : 0,
                cache.base.get(ValueLayout.JAVA_BYTE, part + (long) token * width + d),
                "token " + token + ", row " + row + ", element " + d);
          }
          assertEquals(
              Float.floatToIntBits(expected.scale()),
              Float.floatToIntBits(
                  cache.base.get(ValueLayout.JAVA_FLOAT, part + 32L * width + 4L * token)));
        }
      }
    }
  }
}

package dev.baton.engine.model;

import dev.baton.device.Device;
import dev.baton.device.SlabRegion;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.Precision;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;

/** A runner with blocks dealt out in a mixed order: what the tests of the forward pass drive. */
final class Loaded implements AutoCloseable {

  static final Path GOLDEN = Path.of("src/test/resources/golden");
  static final Path STORIES = Path.of("../models/stories260K");

  final ModelRunner runner;
  private final List<Integer> freeBlocks = new ArrayList<>();

  /** On the CPU's fastest kernels. */
  Loaded(EngineOptions options) {
    this(options, CpuDevice.open());
  }

  Loaded(EngineOptions options, Device device) {
    runner = ModelLoader.load(options, line -> {}, device);
    for (int block = 0; block < runner.blocks(); block++) {
      freeBlocks.add(block);
    }
    Collections.shuffle(freeBlocks, new Random(1));
  }

  static EngineOptions options(Path model, Precision precision, int tensorParallel) {
    return EngineOptions.of(model)
        .withPrecision(precision)
        .withTensorParallel(tensorParallel)
        .withBlockTokens(32)
        .withContextLength(256)
        .withMaxSessions(20)
        .withStepTokens(256);
  }

  /** One sequence and its blocks. */
  final class Sequence {
    final int[] blockTable;
    int computed;

    Sequence(int tokens) {
      blockTable = new int[Math.ceilDiv(tokens, runner.blockTokens())];
      for (int i = 0; i < blockTable.length; i++) {
        blockTable[i] = freeBlocks.removeLast();
      }
    }

    /** Adds the next tokens to the batch; the last of them gets logits. */
    void add(int... tokens) {
      runner.batch().addSequence(blockTable, blockTable.length);
      for (int i = 0; i < tokens.length; i++) {
        runner.batch().addToken(tokens[i], computed++, i == tokens.length - 1);
      }
    }

    /** A step of its own. */
    float[] feed(int... tokens) {
      runner.batch().begin();
      add(tokens);
      return step().getFirst();
    }

    /** Steps of at most {@code chunk} tokens; logits of the last token. */
    float[] prefill(int[] tokens, int chunk) {
      float[] logits = {};
      for (int from = 0; from < tokens.length; from += chunk) {
        logits = feed(Arrays.copyOfRange(tokens, from, Math.min(tokens.length, from + chunk)));
      }
      return logits;
    }

    /** The canonical KV of everything computed, as bytes. */
    byte[] kv() {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment slab = arena.allocate(region().bytes());
        runner.packKv(blockTable, region(), slab);
        return slab.toArray(ValueLayout.JAVA_BYTE);
      }
    }

    SlabRegion region() {
      ModelInfo model = runner.model();
      return new SlabRegion(
          0, model.layers(), 0, model.kvHeads(), 0, computed, model.headDim(), model.kvDtype());
    }

    /** Takes KV packed from another sequence of the same length. */
    void receive(byte[] kv, int tokens) {
      computed = tokens;
      runner.unpackKv(blockTable, region(), nativeCopy(kv));
    }
  }

  private static MemorySegment nativeCopy(byte[] bytes) {
    return Arena.ofAuto().allocate(bytes.length).copyFrom(MemorySegment.ofArray(bytes));
  }

  /** Seals and runs the batch: one array of logits for each row that needs them. */
  List<float[]> step() {
    runner.batch().seal();
    float[] all = runner.run().toArray(ValueLayout.JAVA_FLOAT);
    int vocabulary = runner.model().vocabularySize();
    List<float[]> rows = new ArrayList<>();
    for (int from = 0; from < all.length; from += vocabulary) {
      rows.add(Arrays.copyOfRange(all, from, from + vocabulary));
    }
    return rows;
  }

  static int argmax(float[] logits) {
    int best = 0;
    for (int i = 1; i < logits.length; i++) {
      if (logits[i] > logits[best]) {
        best = i;
      }
    }
    return best;
  }

  static double[] logSoftmax(float[] logits) {
    double most = logits[argmax(logits)];
    double sum = 0;
    for (float each : logits) {
      sum += Math.exp(each - most);
    }
    double shift = most + Math.log(sum);
    double[] result = new double[logits.length];
    for (int i = 0; i < logits.length; i++) {
      result[i] = logits[i] - shift;
    }
    return result;
  }

  @Override
  public void close() {
    runner.close();
  }
}

package dev.baton.worker.fakes;

import dev.baton.device.SlabRegion;
import dev.baton.engine.Generation;
import dev.baton.engine.KvView;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SessionListener;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.List;

/**
 * A session of the fake engine, and its model, a hash: the KV of a position depends on all tokens
 * up to it, and the next token on all KV before it. So a session that decodes from wrong or missing
 * KV says wrong tokens, as with a real model.
 */
final class FakeSession implements KvView {

  enum Phase {
    PREFILL,
    HELD,
    RESERVED,
    DECODE
  }

  private static final int INTS_PER_TOKEN =
      FakeEngine.LAYERS * 2 * FakeEngine.HEADS * FakeEngine.DIM;
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  final Generation generation;
  final SessionListener listener;
  final boolean prefillOnly;
  final int[] tokens;
  final long since = System.nanoTime();
  int computed;
  int count;
  int blocks;
  Phase phase = Phase.PREFILL;
  volatile boolean released;

  private final ModelInfo model;
  private final List<String> breaches;
  private final int[] kv;

  FakeSession(
      ModelInfo model,
      List<String> breaches,
      Generation generation,
      SessionListener listener,
      boolean prefillOnly) {
    this.model = model;
    this.breaches = breaches;
    this.generation = generation;
    this.listener = listener;
    this.prefillOnly = prefillOnly;
    int most = generation.prompt().length + generation.sampling().maxTokens();
    this.tokens = new int[most];
    int[] context = generation.context();
    System.arraycopy(context, 0, tokens, 0, context.length);
    this.count = context.length;
    this.kv = new int[most * INTS_PER_TOKEN];
  }

  int blocksNeeded() {
    return (tokens.length + FakeEngine.BLOCK_TOKENS - 1) / FakeEngine.BLOCK_TOKENS;
  }

  void compute(int position) {
    int before = position == 0 ? 1 : kv[(position - 1) * INTS_PER_TOKEN];
    int base = mix(before, tokens[position]);
    for (int i = 0; i < INTS_PER_TOKEN; i++) {
      kv[position * INTS_PER_TOKEN + i] = mix(base, i);
    }
    computed = position + 1;
  }

  int next() {
    int hash = (int) generation.sampling().seed();
    for (int i = 0; i < count * INTS_PER_TOKEN; i++) {
      hash = mix(hash, kv[i]);
    }
    return Math.floorMod(hash, model.vocabularySize());
  }

  private static int mix(int a, int b) {
    int h = a * 0x9E3779B1 + b;
    h ^= h >>> 15;
    h *= 0x85EBCA6B;
    return h ^ (h >>> 13);
  }

  @Override
  public int tokens() {
    return tokens.length;
  }

  @Override
  public int computed() {
    return computed;
  }

  @Override
  public void pack(SlabRegion region, MemorySegment slab) {
    requireHeld("pack");
    if (region.tokenTo() > computed) {
      breaches.add("pack of tokens not computed: " + region);
    }
    copy(region, (at, index) -> slab.set(INT, at, kv[index]));
  }

  @Override
  public void unpack(SlabRegion region, MemorySegment slab) {
    requireHeld("unpack");
    copy(region, (at, index) -> kv[index] = slab.get(INT, at));
  }

  private void requireHeld(String what) {
    if (released) {
      breaches.add(what + " after the release of " + generation.session());
    }
  }

  private interface Copy {
    void one(long at, int index);
  }

  private static void copy(SlabRegion region, Copy copy) {
    long at = 0;
    for (int layer = region.layerFrom(); layer < region.layerTo(); layer++) {
      for (int part = 0; part < 2; part++) {
        for (int head = region.headFrom(); head < region.headTo(); head++) {
          int row = ((layer * 2 + part) * FakeEngine.HEADS + head) * FakeEngine.DIM;
          for (int token = region.tokenFrom(); token < region.tokenTo(); token++) {
            for (int dim = 0; dim < FakeEngine.DIM; dim++, at += 4) {
              copy.one(at, token * INTS_PER_TOKEN + row + dim);
            }
          }
        }
      }
    }
  }
}

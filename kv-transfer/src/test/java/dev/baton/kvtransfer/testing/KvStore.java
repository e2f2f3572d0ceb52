package dev.baton.kvtransfer.testing;

import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.SlabRange;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * KV of one session in memory, {@code [layer][k|v][head][token][dim]}: a source and a sink. Fails
 * on any call outside of its bounds, on one for tokens not yet computed, and after it was sealed.
 */
public final class KvStore implements KvSource, KvSink {
  private final KvGeometry geometry;
  private final int tokens;
  private final MemorySegment content;
  private int firstToken;
  private volatile int computed;
  private volatile boolean sealed;
  private volatile int touchedAfterSeal;

  public KvStore(KvGeometry geometry, int tokens) {
    this.geometry = geometry;
    this.tokens = tokens;
    this.computed = tokens;
    this.content =
        MemorySegment.ofArray(
            new byte
                [Math.toIntExact(geometry.bytes(new SlabRange(0, geometry.layers(), 0, tokens)))]);
  }

  public static KvStore random(KvGeometry geometry, int tokens, long seed) {
    KvStore store = new KvStore(geometry, tokens);
    long state = seed;
    MemorySegment content = store.content;
    for (long at = 0; at < content.byteSize(); at += Long.BYTES) {
      state = (state + 1) * 0x9E3779B97F4A7C15L;
      content.set(ValueLayout.JAVA_LONG_UNALIGNED, at, state ^ (state >>> 29));
    }
    return store;
  }

  /** Packing before this is a fault. */
  public void startsAt(int token) {
    firstToken = token;
  }

  @Override
  public int firstToken() {
    return firstToken;
  }

  /** Packing beyond this is a fault. */
  public void computed(int count) {
    computed = count;
  }

  /** The listener has had its last call. */
  public void seal() {
    sealed = true;
  }

  public int touchedAfterSeal() {
    return touchedAfterSeal;
  }

  /** Whether the tokens from {@code first} on are the same. */
  public boolean sameFrom(int first, KvStore other) {
    long row = rowBytes();
    for (long run = 0; run < runs(); run++) {
      long from = (run * tokens + first) * row;
      long to = (run + 1) * tokens * row;
      if (MemorySegment.mismatch(content, from, to, other.content, from, to) >= 0) {
        return false;
      }
    }
    return true;
  }

  @Override
  public void pack(SlabRange range, MemorySegment slab) {
    check(range, slab);
    if (range.tokenTo() > computed || range.tokenFrom() < firstToken) {
      throw new AssertionError("packed before computed, or what is gone: " + range);
    }
    copy(range, slab, true);
  }

  @Override
  public void unpack(SlabRange range, MemorySegment slab) {
    check(range, slab);
    copy(range, slab, false);
  }

  private void check(SlabRange range, MemorySegment slab) {
    if (sealed) {
      touchedAfterSeal++;
    }
    if (slab.byteSize() != geometry.bytes(range) || slab.address() % 64 != 0) {
      throw new AssertionError("slab of " + slab + " for " + range);
    }
  }

  private void copy(SlabRange range, MemorySegment slab, boolean out) {
    long row = rowBytes();
    long run = (range.tokenTo() - range.tokenFrom()) * row;
    long at = 0;
    int perLayer = 2 * geometry.kvHeads();
    for (int i = range.layerFrom() * perLayer; i < range.layerTo() * perLayer; i++) {
      long here = ((long) i * tokens + range.tokenFrom()) * row;
      if (out) {
        MemorySegment.copy(
            content, ValueLayout.JAVA_BYTE, here, slab, ValueLayout.JAVA_BYTE, at, run);
      } else {
        MemorySegment.copy(
            slab, ValueLayout.JAVA_BYTE, at, content, ValueLayout.JAVA_BYTE, here, run);
      }
      at += run;
    }
  }

  private long runs() {
    return 2L * geometry.layers() * geometry.kvHeads();
  }

  private long rowBytes() {
    return geometry.rowBytes();
  }
}

package dev.baton.router.session;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Which worker has computed or received which beginning of a context, as far as this router saw: a
 * hint, for a worker evicts what it likes. Keyed by a hash of the beginning at every {@link
 * #CHUNK}th token; bounded, the least recently used go first. Thread-safe.
 */
final class PrefixIndex {

  /** Tokens between two beginnings that are known. */
  static final int CHUNK = 64;

  /** Of one beginning; a system prompt that all have is worth no more. */
  private static final int HOLDERS = 4;

  private final Map<Long, List<String>> holders;

  /**
   * @param capacity beginnings known at most, about 200 bytes each
   */
  PrefixIndex(int capacity) {
    this.holders =
        new LinkedHashMap<>(16, 0.75f, true) {
          @Override
          protected boolean removeEldestEntry(Map.Entry<Long, List<String>> eldest) {
            return size() > capacity;
          }
        };
  }

  /** The worker has the KV of the tokens. */
  synchronized void add(String worker, String salt, int[] tokens) {
    long hash = root(salt);
    for (int end = CHUNK; end <= tokens.length; end += CHUNK) {
      hash = next(hash, tokens, end - CHUNK);
      List<String> known = holders.computeIfAbsent(hash, _ -> new ArrayList<>(1));
      known.remove(worker);
      known.addFirst(worker);
      if (known.size() > HOLDERS) {
        known.removeLast();
      }
    }
  }

  /** The worker has no more than the first {@code left} of the tokens. */
  synchronized void cut(String worker, String salt, int[] tokens, int left) {
    long hash = root(salt);
    for (int end = CHUNK; end <= tokens.length; end += CHUNK) {
      hash = next(hash, tokens, end - CHUNK);
      List<String> known = end > left ? holders.get(hash) : null;
      if (known != null) {
        known.remove(worker);
      }
    }
  }

  /** Leading tokens that each worker may have, of those that have any. */
  synchronized Map<String, Integer> find(String salt, int[] tokens) {
    Map<String, Integer> found = new HashMap<>();
    long hash = root(salt);
    for (int end = CHUNK; end <= tokens.length; end += CHUNK) {
      hash = next(hash, tokens, end - CHUNK);
      List<String> known = holders.get(hash);
      if (known == null) {
        break;
      }
      for (String worker : known) {
        found.put(worker, end);
      }
    }
    return found;
  }

  private static long root(String salt) {
    return mix(salt.hashCode());
  }

  private static long next(long hash, int[] tokens, int from) {
    long mixed = hash;
    for (int i = from; i < from + CHUNK; i++) {
      mixed = mix(mixed ^ tokens[i]);
    }
    return mixed;
  }

  /** The finalizer of Steele, Lea and Flood, "Fast splittable pseudorandom number generators". */
  private static long mix(long value) {
    long z = value + 0x9e3779b97f4a7c15L;
    z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
    z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
    return z ^ (z >>> 31);
  }
}

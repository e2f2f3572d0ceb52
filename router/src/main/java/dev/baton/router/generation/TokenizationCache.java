package dev.baton.router.generation;

import com.github.benmanes.caffeine.cache.Cache;
import com.github.benmanes.caffeine.cache.Caffeine;
import org.jspecify.annotations.Nullable;

/**
 * Remembers the token ids of long texts: the same long prompts come again and again (several
 * questions on one document, retries, n requests instead of n choices), and tokenizing 100,000
 * characters takes about as long as a prefill chunk. Short texts are tokenized faster than they are
 * worth the room. Thread-safe; the same text may be tokenized twice when it comes twice at once.
 */
final class TokenizationCache {

  /** Characters below which a text is not kept. */
  static final int SHORTEST = 256;

  private static final long MOST_BYTES = 64 << 20;
  private static final int ENTRY_BYTES = 128;

  /**
   * @param fingerprint of the model, which covers its tokenizer
   */
  record Key(String fingerprint, String text, boolean addSpecialTokens) {}

  private final GenerationObserver observer;
  private final Cache<Key, int[]> cache =
      Caffeine.newBuilder()
          .maximumWeight(MOST_BYTES)
          .weigher(TokenizationCache::bytes)
          .executor(Runnable::run)
          .build();

  TokenizationCache(GenerationObserver observer) {
    this.observer = observer;
  }

  /** The token ids, not to be changed; null when not known. */
  int @Nullable [] get(Key key) {
    if (key.text().length() < SHORTEST) {
      return null;
    }
    int[] ids = cache.getIfPresent(key);
    observer.tokenization(ids != null);
    return ids;
  }

  /** Keeps the ids, which nobody may change any more. */
  void put(Key key, int[] ids) {
    if (key.text().length() >= SHORTEST) {
      cache.put(key, ids);
    }
  }

  /** Strings are Latin-1 or UTF-16; the larger is assumed. */
  private static int bytes(Key key, int[] ids) {
    return ENTRY_BYTES + 2 * key.text().length() + 4 * ids.length;
  }
}

package dev.baton.router.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * Text to token ids by the Rust tokenizer, with truncation and padding off whatever tokenizer.json
 * says. Only the ids cross into Java: offsets, masks and token strings of a long prompt cost more
 * than tokenizing it. Thread-safe; owns native memory until {@link #close()}.
 */
final class TextEncoder implements AutoCloseable {

  private final TokenizersLibrary library;

  /** Calls hold the read lock, so that closing cannot free what a call still uses. */
  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();

  private long tokenizer;

  private TextEncoder(TokenizersLibrary library, long tokenizer) {
    this.library = library;
    this.tokenizer = tokenizer;
  }

  /**
   * @param tokenizerJson content of tokenizer.json
   */
  static TextEncoder of(String tokenizerJson) {
    TokenizersLibrary library = TokenizerLibrary.load();
    long tokenizer;
    try {
      tokenizer = library.createTokenizerFromString(tokenizerJson);
    } catch (RuntimeException e) {
      throw new TextModelException("tokenizer.json: " + e.getMessage(), e);
    }
    library.disableTruncation(tokenizer);
    library.disablePadding(tokenizer);
    return new TextEncoder(library, tokenizer);
  }

  int[] encode(String text, boolean addSpecialTokens) {
    Lock reading = lock.readLock();
    reading.lock();
    try {
      if (tokenizer == 0) {
        throw new IllegalStateException("text model: closed");
      }
      long encoding = library.encode(tokenizer, Surrogates.repair(text), addSpecialTokens);
      try {
        long[] ids = library.getTokenIds(encoding);
        int[] narrow = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
          narrow[i] = Math.toIntExact(ids[i]);
        }
        return narrow;
      } finally {
        library.deleteEncoding(encoding);
      }
    } finally {
      reading.unlock();
    }
  }

  @Override
  public void close() {
    Lock writing = lock.writeLock();
    writing.lock();
    try {
      if (tokenizer != 0) {
        library.deleteTokenizer(tokenizer);
        tokenizer = 0;
      }
    } finally {
      writing.unlock();
    }
  }
}

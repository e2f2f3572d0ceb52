package dev.baton.router.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.util.concurrent.locks.Lock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.json.JsonMapper;

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
  static TextEncoder of(JsonMapper mapper, String tokenizerJson) {
    TokenizersLibrary library = TokenizerLibrary.load();
    long tokenizer;
    try {
      tokenizer = library.createTokenizerFromString(withoutDecoder(mapper, tokenizerJson));
    } catch (JacksonException e) {
      throw new TextModelException("tokenizer.json: " + ModelDirectory.reason(e), e);
    } catch (RuntimeException e) {
      throw new TextModelException("tokenizer.json: " + e.getMessage(), e);
    }
    library.disableTruncation(tokenizer);
    library.disablePadding(tokenizer);
    return new TextEncoder(library, tokenizer);
  }

  /**
   * The Rust library aborts the process where the description of the decoder is malformed. It is
   * not needed for encoding, and {@link TokenDecoder} reads it, so the library never sees it.
   */
  private static String withoutDecoder(JsonMapper mapper, String tokenizerJson) {
    StringBuilder text = new StringBuilder(tokenizerJson.length());
    int copied = 0;
    try (JsonParser parser = mapper.createParser(tokenizerJson)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new TextModelException("tokenizer.json: not an object");
      }
      while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
        boolean decoder = parser.currentName().equals("decoder");
        parser.nextToken();
        int begin = (int) parser.currentTokenLocation().getCharOffset();
        parser.skipChildren();
        if (decoder) {
          // A number's end is not known before it is read.
          parser.finishToken();
          text.append(tokenizerJson, copied, begin).append("null");
          copied = (int) parser.currentLocation().getCharOffset();
        }
      }
      if (parser.nextToken() != null) {
        throw new TextModelException("tokenizer.json: more than one JSON object");
      }
    }
    return text.append(tokenizerJson, copied, tokenizerJson.length()).toString();
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

package dev.baton.router.generation;

import dev.baton.proto.inference.v1.Usage;

/** Watches all continuations and tokenizations, for metrics. Any thread; must not block. */
public interface GenerationObserver {

  /** The first token came. */
  void begun(String model, int promptTokens, int cachedTokens);

  /** A continuation ended in order, after at most {@code maxTokens}. */
  void finished(String model, Usage usage, int maxTokens);

  /** A long text was to be tokenized; known: its token ids were remembered. */
  void tokenization(boolean known);
}

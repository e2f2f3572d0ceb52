package dev.baton.bench.verify;

import dev.baton.engine.SampledToken;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What one session gave: its tokens with their log probabilities, and its context's KV. */
final class Answer {

  final List<SampledToken> tokens = new ArrayList<>();

  /** Null where a run does not look at KV. */
  @Nullable KvDigest kv;

  /** Why the session did not come to its end; null when it did. */
  @Nullable String failure;

  /** Values that were compared and the first difference; null when there is none. */
  @Nullable String difference(Answer expected) {
    if (failure != null || expected.failure != null) {
      return failure != null ? failure : expected.failure;
    }
    if (kv != null && expected.kv != null) {
      String where = kv.difference(expected.kv);
      if (where != null) {
        return where;
      }
    }
    for (int i = 0; i < Math.min(tokens.size(), expected.tokens.size()); i++) {
      SampledToken a = tokens.get(i);
      SampledToken b = expected.tokens.get(i);
      if (a.id() != b.id() || a.index() != b.index()) {
        return "token %d: %d (expected: %d)".formatted(i, a.id(), b.id());
      }
      if (a.logprobs() != null && !a.logprobs().equals(b.logprobs())) {
        return "log probabilities of token %d: %s (expected: %s)"
            .formatted(i, a.logprobs(), b.logprobs());
      }
    }
    return tokens.size() == expected.tokens.size()
        ? null
        : "%d tokens (expected: %d)".formatted(tokens.size(), expected.tokens.size());
  }
}

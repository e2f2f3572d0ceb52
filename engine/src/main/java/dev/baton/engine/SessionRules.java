package dev.baton.engine;

import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.schedule.Session;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** What a session must look like to be admitted, and which token ends it. */
final class SessionRules {

  private final ModelInfo model;
  private final int contextLength;
  private final int[] endOfSequence;

  /**
   * @param contextLength most tokens of a session
   */
  SessionRules(ModelInfo model, int contextLength) {
    this.model = model;
    this.contextLength = contextLength;
    this.endOfSequence = model.eosTokenIds().stream().mapToInt(Integer::intValue).toArray();
  }

  /** Throws EngineException when the model can never run this. */
  void check(Generation generation) {
    checkTokens("prompt", generation.prompt());
    checkTokens("generated", generation.generated());
    checkSampling(generation.sampling());
    if ((long) generation.prompt().length + generation.generated().length >= contextLength) {
      throw new EngineException(
          Kind.TOO_LONG,
          "context: %d tokens (expected: fewer than the context length, %d)"
              .formatted(generation.contextTokens(), contextLength));
    }
  }

  private void checkSampling(Sampling sampling) {
    sampling.logitBias().keySet().forEach(id -> checkToken("logitBias", id));
    sampling.stopTokenIds().forEach(id -> checkToken("stopTokenIds", id));
    if (sampling.promptLogprobs() > model.vocabularySize()
        || sampling.logprobs() > model.vocabularySize()) {
      throw new EngineException(
          Kind.INVALID,
          "logprobs: %d and %d of the prompt (expected: <= %d, the vocabulary)"
              .formatted(sampling.logprobs(), sampling.promptLogprobs(), model.vocabularySize()));
    }
  }

  void checkToken(String name, int token) {
    if (token < 0 || token >= model.vocabularySize()) {
      throw new EngineException(
          Kind.INVALID,
          "%s: %d (expected: 0 to %d)".formatted(name, token, model.vocabularySize() - 1));
    }
  }

  /** Most tokens the session may come to, prompt and generated together. */
  int tokenLimit(Generation generation) {
    long asked = (long) generation.prompt().length + generation.sampling().maxTokens();
    return (int) Math.min(asked, contextLength);
  }

  /** Why the session's latest token ends it, if it does. */
  @Nullable FinishReason finish(Session session) {
    Sampling sampling = session.generation().sampling();
    int token = session.token(session.length() - 1);
    if ((!sampling.ignoreEos() && endsSequence(token)) || stops(sampling.stopTokenIds(), token)) {
      return FinishReason.STOP;
    }
    return session.length() >= session.tokenLimit() ? FinishReason.LENGTH : null;
  }

  private boolean endsSequence(int token) {
    for (int id : endOfSequence) {
      if (id == token) {
        return true;
      }
    }
    return false;
  }

  /** As contains, without an object for the token. */
  private static boolean stops(List<Integer> ids, int token) {
    for (int i = 0; i < ids.size(); i++) {
      if (ids.get(i) == token) {
        return true;
      }
    }
    return false;
  }

  private void checkTokens(String name, int[] tokens) {
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] < 0 || tokens[i] >= model.vocabularySize()) {
        checkToken("%s[%d]".formatted(name, i), tokens[i]);
      }
    }
  }
}

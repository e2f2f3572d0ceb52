package dev.baton.worker.wire;

import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.SessionSpec;
import java.util.List;
import java.util.Locale;

/**
 * Sessions of the protocol as the engine's generations. The router has checked the client's wishes
 * already; a worker checks again what could hurt it, because it cannot know who calls.
 */
public final class SessionSpecs {

  private SessionSpecs() {}

  /**
   * Reads a session.
   *
   * @throws RefusedException naming the field at fault
   */
  public static Generation generation(SessionSpec spec, ModelInfo model) {
    int[] prompt = tokens("prompt", spec.getPromptList(), model);
    int[] generated = tokens("generated", spec.getGeneratedList(), model);
    if (spec.getDeadlineMillis() < 0) {
      throw RefusedException.invalid(
          "", "deadline_millis: %d (expected: >= 0)".formatted(spec.getDeadlineMillis()));
    }
    try {
      return new Generation(
          new SessionId(spec.getSessionId(), spec.getEpoch()),
          prompt,
          generated,
          sampling(spec.getSampling()),
          spec.getCacheSalt(),
          spec.getPriority());
    } catch (IllegalArgumentException e) {
      String message = String.valueOf(e.getMessage());
      throw RefusedException.invalid(publicName(message), message);
    }
  }

  private static Sampling sampling(SamplingParameters wire) {
    if (!wire.hasMaxTokens()) {
      throw RefusedException.invalid("max_tokens", "max_tokens: unset (expected: >= 1)");
    }
    if (!wire.hasSeed()) {
      throw RefusedException.invalid("seed", "seed: unset (expected: drawn by the router)");
    }
    return Sampling.greedy(Math.max(1, wire.getMaxTokens()))
        .with(
            draft -> {
              draft.maxTokens = wire.getMaxTokens();
              draft.temperature = wire.hasTemperature() ? wire.getTemperature() : 1f;
              draft.topK = wire.getTopK();
              draft.topP = wire.hasTopP() ? wire.getTopP() : 1f;
              draft.minP = wire.getMinP();
              draft.repetitionPenalty =
                  wire.hasRepetitionPenalty() ? wire.getRepetitionPenalty() : 1f;
              draft.frequencyPenalty = wire.getFrequencyPenalty();
              draft.presencePenalty = wire.getPresencePenalty();
              draft.logitBias = wire.getLogitBiasMap();
              draft.minTokens = wire.getMinTokens();
              draft.seed = wire.getSeed();
              draft.logprobs = wire.hasLogprobs() ? wire.getLogprobs() : -1;
              draft.promptLogprobs = wire.hasPromptLogprobs() ? wire.getPromptLogprobs() : -1;
              draft.ignoreEos = wire.getIgnoreEos();
              draft.stopTokenIds = wire.getStopTokenIdsList();
            });
  }

  private static int[] tokens(String field, List<Integer> wire, ModelInfo model) {
    int[] tokens = new int[wire.size()];
    for (int i = 0; i < tokens.length; i++) {
      int token = wire.get(i);
      if (token < 0 || token >= model.vocabularySize()) {
        throw RefusedException.invalid(
            field,
            "%s: token id %d at position %d (expected: 0 to %d)"
                .formatted(field, token, i, model.vocabularySize() - 1));
      }
      tokens[i] = token;
    }
    return tokens;
  }

  /** "maxTokens: 0 (expected: >= 1)" speaks of the field "max_tokens". */
  private static String publicName(String message) {
    int colon = message.indexOf(':');
    return colon < 0
        ? ""
        : message.substring(0, colon).replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }
}

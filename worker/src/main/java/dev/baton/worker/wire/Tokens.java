package dev.baton.worker.wire;

import dev.baton.engine.PromptLogprobs;
import dev.baton.engine.SampledToken.Logprobs;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.TokenLogprobs;
import dev.baton.proto.worker.v1.SampledToken;

/** The engine's tokens as the protocol's. */
public final class Tokens {

  private Tokens() {}

  /**
   * @param cachedTokens prompt tokens that came from the prefix cache; kept on index 0 only
   */
  public static SampledToken write(dev.baton.engine.SampledToken token, int cachedTokens) {
    SampledToken.Builder wire =
        SampledToken.newBuilder().setTokenId(token.id()).setIndex(token.index());
    Logprobs logprobs = token.logprobs();
    if (logprobs != null) {
      TokenLogprobs.Builder all = TokenLogprobs.newBuilder().setLogprob(logprobs.chosen());
      for (Logprobs.Entry entry : logprobs.top()) {
        all.addTop(TokenLogprob.newBuilder().setTokenId(entry.id()).setLogprob(entry.logprob()));
      }
      wire.setLogprobs(all);
    }
    PromptLogprobs prompt = token.promptLogprobs();
    if (prompt != null) {
      wire.setPromptLogprobs(write(prompt));
    }
    dev.baton.engine.SampledToken.FinishReason finish = token.finish();
    if (finish != null) {
      wire.setFinishReason(reason(finish));
    }
    if (token.index() == 0) {
      wire.setCachedTokens(cachedTokens);
    }
    if (token.joules() >= 0) {
      wire.setJoules((float) token.joules());
    }
    return wire.build();
  }

  private static dev.baton.proto.inference.v1.PromptLogprobs write(PromptLogprobs prompt) {
    dev.baton.proto.inference.v1.PromptLogprobs.Builder wire =
        dev.baton.proto.inference.v1.PromptLogprobs.newBuilder().setTops(prompt.tops());
    for (int i = 0; i < prompt.positions(); i++) {
      wire.addLogprobs(prompt.chosen()[i]).addRanks(prompt.ranks()[i]);
    }
    for (int i = 0; i < prompt.topIds().length; i++) {
      wire.addTopTokenIds(prompt.topIds()[i]).addTopLogprobs(prompt.topLogprobs()[i]);
    }
    return wire.build();
  }

  public static FinishReason reason(dev.baton.engine.SampledToken.FinishReason finish) {
    return switch (finish) {
      case STOP -> FinishReason.STOP;
      case LENGTH -> FinishReason.LENGTH;
    };
  }
}

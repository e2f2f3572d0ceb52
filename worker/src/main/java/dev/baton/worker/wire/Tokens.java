package dev.baton.worker.wire;

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
    dev.baton.engine.SampledToken.FinishReason finish = token.finish();
    if (finish != null) {
      wire.setFinishReason(reason(finish));
    }
    if (token.index() == 0) {
      wire.setCachedTokens(cachedTokens);
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

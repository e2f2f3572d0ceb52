package dev.baton.cli;

import dev.baton.proto.inference.v1.SamplingParameters;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/**
 * How {@code generate} has tokens chosen: the fields of the public API, which the server checks.
 */
final class SamplingFlags {

  @Option(names = "--max-tokens", paramLabel = "N", description = "Default: to the context's end.")
  @Nullable Integer maxTokens;

  @Option(
      names = "--min-tokens",
      paramLabel = "N",
      description = "No end of the text before so many tokens.")
  @Nullable Integer minTokens;

  @Option(names = "--temperature", paramLabel = "T", description = "0 = greedy.")
  @Nullable Float temperature;

  @Option(names = "--top-k", paramLabel = "K", description = "0 = all tokens.")
  @Nullable Integer topK;

  @Option(names = "--top-p", paramLabel = "P", description = "Above 0, at most 1.")
  @Nullable Float topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "No token less likely than this share of the likeliest one's probability.")
  @Nullable Float minP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "R",
      description = "Above 1 makes tokens of prompt and text less likely; 0.01 to 100.")
  @Nullable Float repetitionPenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "F",
      description = "Taken from a token's logit each time that it came; -2 to 2.")
  @Nullable Float frequencyPenalty;

  @Option(
      names = "--presence-penalty",
      paramLabel = "F",
      description = "Taken once from the logit of a token that came; -2 to 2.")
  @Nullable Float presencePenalty;

  @Option(
      names = "--logit-bias",
      paramLabel = "ID=BIAS",
      split = ",",
      description = "Added to the logits of token ids, such as 403=-100,407=2.5.")
  @Nullable Map<Integer, Float> logitBias;

  @Option(
      names = "--stop-token",
      paramLabel = "ID",
      split = ",",
      description = "Token ids that end the text besides the model's own.")
  @Nullable List<Integer> stopTokens;

  @Option(names = "--seed", paramLabel = "N", description = "Same seed, same tokens.")
  @Nullable Long seed;

  @Option(
      names = "--logprobs",
      paramLabel = "N",
      description =
          "Print each token's id and log probability on a line, and those of the N likeliest; 0 to"
              + " 20.")
  @Nullable Integer logprobs;

  @Option(names = "--ignore-eos", description = "Go on after the end of the text.")
  boolean ignoreEos;

  SamplingParameters parameters() {
    SamplingParameters.Builder sampling = SamplingParameters.newBuilder().setIgnoreEos(ignoreEos);
    given(maxTokens, sampling::setMaxTokens);
    given(minTokens, sampling::setMinTokens);
    given(temperature, sampling::setTemperature);
    given(topK, sampling::setTopK);
    given(topP, sampling::setTopP);
    given(minP, sampling::setMinP);
    given(repetitionPenalty, sampling::setRepetitionPenalty);
    given(frequencyPenalty, sampling::setFrequencyPenalty);
    given(presencePenalty, sampling::setPresencePenalty);
    given(logitBias, sampling::putAllLogitBias);
    given(stopTokens, sampling::addAllStopTokenIds);
    given(seed, sampling::setSeed);
    given(logprobs, sampling::setLogprobs);
    return sampling.build();
  }

  private static <T> void given(@Nullable T value, Consumer<T> set) {
    if (value != null) {
      set.accept(value);
    }
  }
}

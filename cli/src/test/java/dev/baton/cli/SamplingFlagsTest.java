package dev.baton.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.inference.v1.SamplingParameters;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** The command line of {@code generate}, as the fields of the public API. */
class SamplingFlagsTest {

  @Test
  void everyFieldOfTheApiIsWithinReach() {
    SamplingParameters parameters =
        parse(
            "--max-tokens=9 --min-tokens=2 --temperature=0.5 --top-k=40 --top-p=0.9 --min-p=0.05"
                + " --repetition-penalty=1.1 --frequency-penalty=0.2 --presence-penalty=-0.3"
                + " --logit-bias=403=-100,407=2.5 --stop-token=5,6 --seed=-1 --logprobs=3"
                + " --ignore-eos");
    assertThat(parameters)
        .isEqualTo(
            SamplingParameters.newBuilder()
                .setMaxTokens(9)
                .setMinTokens(2)
                .setTemperature(0.5f)
                .setTopK(40)
                .setTopP(0.9f)
                .setMinP(0.05f)
                .setRepetitionPenalty(1.1f)
                .setFrequencyPenalty(0.2f)
                .setPresencePenalty(-0.3f)
                .putLogitBias(403, -100f)
                .putLogitBias(407, 2.5f)
                .addStopTokenIds(5)
                .addStopTokenIds(6)
                .setSeed(-1)
                .setLogprobs(3)
                .setIgnoreEos(true)
                .build());
  }

  @Test
  void whatIsNotAskedForIsLeftToTheServer() {
    assertThat(new SamplingFlags().parameters()).isEqualTo(SamplingParameters.getDefaultInstance());
  }

  private static SamplingParameters parse(String line) {
    return CommandLine.populateCommand(new SamplingFlags(), line.split(" ")).parameters();
  }
}

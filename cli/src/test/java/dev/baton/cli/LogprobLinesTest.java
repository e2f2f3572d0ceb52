package dev.baton.cli;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.TokenLogprobs;
import org.junit.jupiter.api.Test;

/** Log probabilities as {@code generate} prints them. */
class LogprobLinesTest {

  @Test
  void everyTokenHasALineAndTheTextStandsBehindTheLast() {
    GenerateResponse response =
        GenerateResponse.newBuilder()
            .setText(" \"a\"\n")
            .addTokenIds(403)
            .addTokenIds(9)
            .addLogprobs(
                TokenLogprobs.newBuilder()
                    .setLogprob(-0.5f)
                    .addTop(top(7, -0.25f))
                    .addTop(top(403, -0.5f)))
            .addLogprobs(TokenLogprobs.newBuilder().setLogprob(-1.25f))
            .build();
    assertThat(LogprobLines.of(response).lines())
        .containsExactly(
            "    403 -0.5000  (7 -0.2500, 403 -0.5000)", "      9 -1.2500  \" \\\"a\\\"\\n\"");
  }

  @Test
  void textThatComesWithoutATokenHasALineOfItsOwn() {
    assertThat(LogprobLines.of(GenerateResponse.newBuilder().setText("end").build()).strip())
        .isEqualTo("\"end\"");
    assertThat(LogprobLines.of(GenerateResponse.getDefaultInstance())).isEmpty();
  }

  private static TokenLogprob top(int id, float logprob) {
    return TokenLogprob.newBuilder().setTokenId(id).setLogprob(logprob).build();
  }
}

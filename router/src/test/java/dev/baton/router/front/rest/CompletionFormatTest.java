package dev.baton.router.front.rest;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.TokenLogprobs;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.PreparedRequest;
import dev.baton.router.generation.Prompt;
import dev.baton.router.registry.ServedModel;
import dev.baton.router.text.HuggingFaceTextModel;
import dev.baton.router.text.TextModel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/** Log probabilities of tokens that are less than a character, on a real vocabulary. */
final class CompletionFormatTest {

  /** The id of byte 0; the others follow. */
  private static final int BYTE_0 = 3;

  @Test
  void tokensOfOneCharacterAreNamedByTheirBytesAndBeginWhereItBegins() {
    try (TextModel text =
        HuggingFaceTextModel.load(Path.of("src/test/resources/text/sentencepiece"))) {
      List<SampledToken> tokens = new ArrayList<>();
      // A prompt of BOS alone is no text: the first word loses its space.
      tokens.add(token(text.encode("Once", false)[0]));
      for (byte b : "\uD83D\uDE42".getBytes(StandardCharsets.UTF_8)) {
        tokens.add(token(BYTE_0 + (b & 0xFF)));
      }
      tokens.add(token(BYTE_0 + '!'));
      JsonNode logprobs = logprobs(text, tokens);
      assertThat(strings(logprobs.get("tokens")))
          .containsExactly(
              " Once", "bytes:\\xf0", "bytes:\\x9f", "bytes:\\x99", "bytes:\\x82", "!");
      assertThat(logprobs.get("text_offset").valueStream().map(JsonNode::intValue))
          .containsExactly(0, 4, 4, 4, 4, 5);
    }
  }

  @Test
  void ofTwoTokensWithOneTextTheLikelierIsShown() {
    try (TextModel text =
        HuggingFaceTextModel.load(Path.of("src/test/resources/text/sentencepiece"))) {
      int comma = text.encode("a,", false)[1];
      SampledToken token =
          SampledToken.newBuilder()
              .setTokenId(comma)
              .setLogprobs(
                  TokenLogprobs.newBuilder()
                      .setLogprob(-1)
                      .addTop(TokenLogprob.newBuilder().setTokenId(comma).setLogprob(-1))
                      .addTop(TokenLogprob.newBuilder().setTokenId(BYTE_0 + ',').setLogprob(-2))
                      .addTop(TokenLogprob.newBuilder().setTokenId(BYTE_0 + 0xE2).setLogprob(-3))
                      .addTop(TokenLogprob.newBuilder().setTokenId(BYTE_0 + 0xE3).setLogprob(-4)))
              .build();
      JsonNode top = logprobs(text, List.of(token)).at("/top_logprobs/0");
      assertThat(top.get(",").doubleValue()).isEqualTo(-1);
      assertThat(top.propertyNames()).containsExactly(",", "bytes:\\xe2", "bytes:\\xe3");
    }
  }

  private static JsonNode logprobs(TextModel text, List<SampledToken> tokens) {
    Prompt prompt = new Prompt.Tokens(new int[] {1});
    SamplingParameters sampling = SamplingParameters.newBuilder().setLogprobs(1).build();
    GenerationRequest request =
        new GenerationRequest(
            "r", "m", prompt, sampling, "max_tokens", 16, List.of(), true, 0, "", 0);
    ServedModel model = new ServedModel(ModelIdentity.getDefaultInstance(), text, 0);
    RestRequest rest = new RestRequest(List.of(request), 1, false, false, false, false, false, -1);
    return new CompletionFormat(rest, "r", "m", "fp", 0)
        .choiceNode(
            new Choice(0, new PreparedRequest(model, new int[] {1}, request)),
            "",
            tokens,
            null,
            false)
        .get("logprobs");
  }

  private static SampledToken token(int id) {
    return SampledToken.newBuilder()
        .setTokenId(id)
        .setLogprobs(TokenLogprobs.newBuilder().setLogprob(-1))
        .build();
  }

  private static List<String> strings(JsonNode list) {
    return list.valueStream().map(JsonNode::stringValue).toList();
  }
}

package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.Answer;
import dev.baton.cli.e2e.OpenAiClient.EventStream;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.inference.v1.TokenIds;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** The greedy 200 tokens of the small model, by every way in. */
@ParameterizedClass
@ValueSource(strings = {"split", "aggregated"})
@DisplayName("A system tells exactly the right story")
class FirstLightTest {

  @Parameter String shape;

  private static BatonSystem system;
  private static OpenAiClient client;

  @BeforeParameterizedClassInvocation
  static void start(String shape) {
    system =
        shape.equals("split")
            ? BatonSystem.up("--dtype", "float32")
            : BatonSystem.up("--dtype", "float32", "--aggregated");
    client = system.openAi();
  }

  @AfterParameterizedClassInvocation
  static void stop() {
    system.close();
  }

  @Test
  void fromTheBeginningTokenByHttp() {
    Answer answer = client.post("/v1/completions", Expected.request(Expected.BOS, false));

    assertThat(answer.status()).isEqualTo(200);
    assertThat(text(answer.body())).isEqualTo(Expected.text());
    assertThat(answer.body().at("/choices/0/finish_reason").asString()).isEqualTo("length");
    assertThat(answer.body().at("/usage/prompt_tokens").asInt()).isEqualTo(1);
    assertThat(answer.body().at("/usage/completion_tokens").asInt()).isEqualTo(Expected.TOKENS);
  }

  @Test
  void fromAnEmptyPromptByHttp() {
    Answer answer = client.post("/v1/completions", Expected.request("", false));

    assertThat(text(answer.body())).isEqualTo(Expected.text());
  }

  @Test
  void asAStreamByHttp() throws IOException {
    try (EventStream stream =
        client.stream("/v1/completions", Expected.request(Expected.BOS, true))) {
      List<JsonNode> events = stream.rest();

      assertThat(events).hasSizeGreaterThan(Expected.TOKENS / 2);
      assertThat(events.stream().map(FirstLightTest::text).collect(Collectors.joining()))
          .isEqualTo(Expected.text());
      assertThat(stream.done()).isTrue();
    }
  }

  @Test
  void byGrpc() {
    GenerateRequest request =
        GenerateRequest.newBuilder()
            .setTokenIds(TokenIds.newBuilder().addAllIds(Expected.BOS))
            .setSampling(
                SamplingParameters.newBuilder().setMaxTokens(Expected.TOKENS).setTemperature(0))
            .build();
    ManagedChannel channel =
        Grpc.newChannelBuilder(
                "127.0.0.1:" + system.grpcPort(), InsecureChannelCredentials.create())
            .build();
    try {
      List<GenerateResponse> responses = new ArrayList<>();
      InferenceGrpc.newBlockingStub(channel).generate(request).forEachRemaining(responses::add);

      assertThat(responses.stream().map(GenerateResponse::getText).collect(Collectors.joining()))
          .isEqualTo(Expected.text());
      assertThat(responses.stream().mapToInt(GenerateResponse::getTokenIdsCount).sum())
          .isEqualTo(Expected.TOKENS);
      assertThat(responses.getLast().getFinishReason()).isEqualTo(FinishReason.LENGTH);
      assertThat(responses.getLast().getUsage().getCompletionTokens()).isEqualTo(Expected.TOKENS);
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void byTheGenerateCommand() {
    BatonProcess.Outcome outcome =
        BatonProcess.run(
            "generate",
            "--server",
            "127.0.0.1:" + system.grpcPort(),
            "--tokens",
            "1",
            "--max-tokens",
            Integer.toString(Expected.TOKENS),
            "--temperature",
            "0");

    assertThat(outcome.errors()).isEmpty();
    assertThat(outcome.code()).isZero();
    assertThat(outcome.output()).isEqualTo(Expected.text() + "\n");
  }

  @Test
  void byTheOfficialClient() {
    OpenAiPackage.check(system, Expected.text());
  }

  private static String text(JsonNode completion) {
    return completion.at("/choices/0/text").asString("");
  }
}

package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.SamplingParameters;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;

/** The fields that say how tokens are chosen, from a client to the worker and back. */
final class SamplingFieldsTest {

  private RunningRouter router;

  @BeforeEach
  void start() throws IOException {
    router = new RunningRouter(new FakeTextModel());
  }

  @AfterEach
  void stop() {
    router.close();
  }

  @Test
  void everyFieldReachesTheWorkerFromBothEndpoints() {
    String fields =
        "'max_tokens':5,'temperature':0.5,'top_k':7,'top_p':0.9,'min_p':0.25,"
            + "'repetition_penalty':1.5,'frequency_penalty':-0.5,'presence_penalty':1.25,"
            + "'logit_bias':{'65':-100,'66':2.5},'min_tokens':2,'seed':11,"
            + "'stop_token_ids':[3,4],'ignore_eos':true,'prompt_logprobs':1";
    router.ok("/v1/completions", "{'prompt':'x','logprobs':2," + fields + "}");
    router.ok(
        "/v1/chat/completions",
        "{'messages':[{'role':'user','content':'x'}],'logprobs':true,'top_logprobs':2,"
            + fields
            + "}");
    assertThat(router.worker.sessions).hasSize(2);
    router.worker.sessions.forEach(
        session ->
            assertThat(session.getSampling())
                .isEqualTo(
                    SamplingParameters.newBuilder()
                        .setMaxTokens(5)
                        .setTemperature(0.5f)
                        .setTopK(7)
                        .setTopP(0.9f)
                        .setMinP(0.25f)
                        .setRepetitionPenalty(1.5f)
                        .setFrequencyPenalty(-0.5f)
                        .setPresencePenalty(1.25f)
                        .putAllLogitBias(Map.of(65, -100f, 66, 2.5f))
                        .setMinTokens(2)
                        .setSeed(11)
                        .addAllStopTokenIds(List.of(3, 4))
                        .setIgnoreEos(true)
                        .setLogprobs(2)
                        .setPromptLogprobs(1)
                        .build()));
  }

  @Test
  void whatIsUnsetIsNeutral() {
    router.ok("/v1/completions", "{'prompt':'x','max_tokens':1,'logit_bias':{}}");
    SamplingParameters sampling = router.worker.sessions.getFirst().getSampling();
    assertThat(sampling.getMinP()).isZero();
    assertThat(sampling.getRepetitionPenalty()).isOne();
    assertThat(sampling.getFrequencyPenalty()).isZero();
    assertThat(sampling.getPresencePenalty()).isZero();
    assertThat(sampling.getMinTokens()).isZero();
    assertThat(sampling.hasPromptLogprobs()).isFalse();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "'min_p':1.5 | min_p | 1.5 (expected: 0 to 1)",
        "'min_p':-0.1 | min_p | -0.1 (expected: 0 to 1)",
        "'repetition_penalty':0 | repetition_penalty | 0.0 (expected: 0.01 to 100)",
        "'repetition_penalty':'x' | repetition_penalty | (expected: a number)",
        "'frequency_penalty':2.1 | frequency_penalty | 2.1 (expected: -2 to 2)",
        "'presence_penalty':-3 | presence_penalty | -3.0 (expected: -2 to 2)",
        "'logit_bias':{'256':1} | logit_bias | token id 256 (expected: 0 to 255)",
        "'logit_bias':{'a':1} | logit_bias | ~a~ (expected: token ids as names)",
        "'logit_bias':{'-1':1} | logit_bias | ~-1~ (expected: token ids as names)",
        "'logit_bias':{'1':101} | logit_bias | 101.0 for 1 (expected: -100 to 100)",
        "'logit_bias':{'1':'x'} | logit_bias.1 | (expected: a number)",
        "'logit_bias':[1] | logit_bias | (expected: an object)",
        "'min_tokens':6 | min_tokens | 6 (expected: 0 to 5, max_tokens)",
        "'min_tokens':-1 | min_tokens | -1 (expected: 0 to 2147483647)",
        "'logprobs':21 | logprobs | 21 (expected: 0 to 20)",
        "'prompt_logprobs':-1 | prompt_logprobs | -1 (expected: 0 to 20)",
        "'n':0 | n | 0 (expected: 1 to 64)",
        "'prompt_logprobs':1,'stream':true | prompt_logprobs | only with stream: false",
        "'stop_token_ids':[256] | stop_token_ids | 256 (expected: 0 to 255)",
        "'top_k':-2 | top_k | -2 (expected: -1 to 2147483647)",
        "'length_penalty':2 | length_penalty | 2.0 (expected: 1",
        "'typical_p':0.5 | typical_p | 0.5 (expected: 1",
        "'no_repeat_ngram_size':3 | no_repeat_ngram_size | 3.0 (expected: 0",
        "'xtc_probability':'x' | xtc_probability | ~x~ (expected: a number)",
        "'structural_tag':'x' | structural_tag | (expected: absent)",
        "'logit_bias':{'1':1,'01':2} | logit_bias | ~01~ (expected: token ids as names)",
      })
  void badValuesAreNamedWithWhatWasExpected(String fields, String field, String message) {
    HttpResponse<String> response =
        router.post("/v1/completions", "{'prompt':'x','max_tokens':5," + fields + "}");
    assertThat(response.statusCode()).isEqualTo(400);
    JsonNode error = RunningRouter.JSON.readTree(response.body()).get("error");
    assertThat(error.get("param").stringValue()).isEqualTo(field);
    assertThat(error.get("message").stringValue()).contains(message.replace('~', '"'));
    assertThat(router.worker.sessions).isEmpty();
  }

  @Test
  void allTokensAreKeptByEitherFrontsTopK() {
    router.ok("/v1/completions", "{'prompt':'x','max_tokens':1,'top_k':-1,'typical_p':1}");
    InferenceGrpc.newBlockingStub(router.channel())
        .generate(sampled(SamplingParameters.newBuilder().setMaxTokens(1).setTopK(-1)))
        .forEachRemaining(response -> {});
    assertThat(router.worker.sessions)
        .hasSize(2)
        .allMatch(session -> session.getSampling().getTopK() == 0);
  }

  @Test
  void stopStringsWithinTheFirstTokensAreText() {
    // The worker says a, b, c, ...
    String stop = "'prompt':'x','max_tokens':6,'seed':0,'stop':['b','e']";
    assertThat(text(router.ok("/v1/completions", "{" + stop + "}"))).isEqualTo("a");
    assertThat(text(router.ok("/v1/completions", "{" + stop + ",'min_tokens':2}")))
        .isEqualTo("abcd");
  }

  @Test
  void anEchoComesWithTheLogProbabilitiesOfThePrompt() {
    JsonNode choice =
        router
            .ok(
                "/v1/completions",
                "{'prompt':'xyz','max_tokens':2,'seed':0,'echo':true,'logprobs':1}")
            .at("/choices/0");
    assertThat(choice.get("text").stringValue()).isEqualTo("xyzab");
    JsonNode logprobs = choice.get("logprobs");
    assertThat(logprobs.at("/tokens").valueStream().skip(1).map(JsonNode::stringValue))
        .containsExactly("x", "y", "z", "a", "b");
    assertThat(logprobs.at("/token_logprobs/0").isNull()).isTrue();
    assertThat(logprobs.at("/top_logprobs/0").isNull()).isTrue();
    assertThat(logprobs.at("/token_logprobs").valueStream().skip(1).map(JsonNode::doubleValue))
        .containsExactly(-1.0, -2.0, -3.0, -0.5, -0.5);
    assertThat(logprobs.at("/top_logprobs/2/x").doubleValue()).isZero();
    assertThat(logprobs.at("/text_offset").valueStream().map(JsonNode::intValue))
        .hasSize(6)
        .endsWith(3, 4);
    assertThat(router.worker.sessions.getFirst().getSampling().getPromptLogprobs()).isEqualTo(1);
  }

  @Test
  void aStreamBeginsWithThePromptAndItsLogProbabilities() {
    List<JsonNode> chunks =
        router.streamed(
            "/v1/completions",
            "{'prompt':'xy','max_tokens':1,'seed':0,'echo':true,'logprobs':0,'stream':true}");
    assertThat(chunks.getFirst().get("text").stringValue()).isEqualTo("xy");
    assertThat(chunks.getFirst().at("/logprobs/token_logprobs").size()).isEqualTo(3);
    assertThat(chunks.getLast().get("text").stringValue()).isEqualTo("a");
    assertThat(chunks.getLast().at("/logprobs/text_offset/0").intValue()).isEqualTo(2);
  }

  @Test
  void anEchoOfNoMoreTokensIsThePromptAlone() {
    // Whatever token came: it was not asked for.
    router.worker.lastReason = FinishReason.STOP;
    JsonNode reply =
        router.ok(
            "/v1/completions",
            "{'prompt':'xyz','max_tokens':0,'echo':true,'logprobs':1,'return_token_ids':true}");
    assertThat(text(reply)).isEqualTo("xyz");
    assertThat(reply.at("/choices/0/logprobs/tokens").size()).isEqualTo(4);
    assertThat(reply.at("/choices/0/token_ids").isEmpty()).isTrue();
    assertThat(reply.at("/choices/0/finish_reason").stringValue()).isEqualTo("length");
    assertThat(reply.at("/usage/completion_tokens").intValue()).isZero();
    assertThat(router.post("/v1/completions", "{'prompt':'x','max_tokens':0}").statusCode())
        .isEqualTo(400);
  }

  @Test
  void promptLogProbabilitiesAreListedAsVllmDoes() {
    JsonNode list =
        router
            .ok("/v1/completions", "{'prompt':'xy','max_tokens':1,'prompt_logprobs':1}")
            .at("/choices/0/prompt_logprobs");
    assertThat(list.size()).isEqualTo(3);
    assertThat(list.get(0).isNull()).isTrue();
    assertThat(list.get(2).propertyNames()).containsExactly("120", "121");
    assertThat(list.at("/2/120/rank").intValue()).isEqualTo(1);
    assertThat(list.at("/2/121/rank").intValue()).isEqualTo(3);
    assertThat(list.at("/2/121/logprob").doubleValue()).isEqualTo(-2);
    assertThat(list.at("/2/121/decoded_token").stringValue()).isEqualTo("y");
    JsonNode chat =
        router.ok(
            "/v1/chat/completions",
            "{'messages':[{'role':'user','content':'x'}],'max_tokens':1,'prompt_logprobs':0}");
    assertThat(chat.get("prompt_logprobs").size()).isEqualTo(3);
  }

  @Test
  void grpcTellsThePromptsLogProbabilitiesOnceAndKeepsContinuationsApart() {
    var stub = InferenceGrpc.newBlockingStub(router.channel());
    List<GenerateResponse> responses = new ArrayList<>();
    stub.generate(
            GenerateRequest.newBuilder()
                .setText("xy")
                .setN(3)
                .setSampling(
                    SamplingParameters.newBuilder().setMaxTokens(2).setSeed(0).setPromptLogprobs(0))
                .build())
        .forEachRemaining(responses::add);
    for (int index = 0; index < 3; index++) {
      int wanted = index;
      List<GenerateResponse> own =
          responses.stream().filter(response -> response.getIndex() == wanted).toList();
      assertThat(String.join("", own.stream().map(GenerateResponse::getText).toList()))
          .isEqualTo(List.of("ab", "bc", "cd").get(index));
      assertThat(own.getFirst().getPromptLogprobs().getLogprobsList()).containsExactly(-1f, -2f);
      assertThat(own.getFirst().getPromptTokenIdsCount()).isEqualTo(3);
      assertThat(own.getLast().getUsage().getCompletionTokens()).isEqualTo(2);
      assertThat(own.stream().skip(1)).noneMatch(GenerateResponse::hasPromptLogprobs);
    }
  }

  @Test
  void grpcNamesTheStopStringOrTokenThatEndedIt() {
    SamplingParameters.Builder sampling =
        SamplingParameters.newBuilder().setMaxTokens(3).setSeed(0).addStopTokenIds('c');
    assertThat(last(sampled(sampling).toBuilder().addStop("b").build()).getStopString())
        .isEqualTo("b");
    assertThat(last(sampled(sampling)).getStopReasonCase())
        .isEqualTo(GenerateResponse.StopReasonCase.STOPREASON_NOT_SET);
    router.worker.lastReason = FinishReason.STOP;
    assertThat(last(sampled(sampling)).getStopTokenId()).isEqualTo('c');
  }

  private GenerateResponse last(GenerateRequest request) {
    List<GenerateResponse> responses = new ArrayList<>();
    InferenceGrpc.newBlockingStub(router.channel())
        .generate(request)
        .forEachRemaining(responses::add);
    return responses.getLast();
  }

  @Test
  void grpcRefusesWhatRestRefuses() {
    var stub = InferenceGrpc.newBlockingStub(router.channel());
    for (GenerateRequest request :
        List.of(
            GenerateRequest.newBuilder().setText("x").setN(-1).build(),
            GenerateRequest.newBuilder().setText("x").setN(1000).build(),
            sampled(SamplingParameters.newBuilder().setMinP(2)),
            sampled(SamplingParameters.newBuilder().setPresencePenalty(Float.NaN)),
            sampled(SamplingParameters.newBuilder().putLogitBias(-1, 1)),
            sampled(SamplingParameters.newBuilder().setMinTokens(-1)),
            sampled(SamplingParameters.newBuilder().setPromptLogprobs(21)))) {
      assertThatThrownBy(() -> stub.generate(request).hasNext())
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> assertThat(e.getStatus().getCode()).isEqualTo(Status.Code.INVALID_ARGUMENT));
    }
  }

  private static GenerateRequest sampled(SamplingParameters.Builder sampling) {
    return GenerateRequest.newBuilder().setText("x").setSampling(sampling).build();
  }

  private static String text(JsonNode reply) {
    return reply.at("/choices/0/text").stringValue();
  }
}

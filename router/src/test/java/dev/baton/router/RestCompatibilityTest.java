package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.inference.v1.FinishReason;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** What clients of OpenAI and vLLM expect beyond plain completions. */
final class RestCompatibilityTest {

  private RunningRouter router;

  @BeforeEach
  void start() throws IOException {
    router = new RunningRouter(new FakeTextModel());
  }

  @AfterEach
  void stop() {
    router.close();
  }

  @ParameterizedTest
  @ValueSource(strings = {"/health", "/ping", "/health/live", "/v1/models", "/metrics", "/version"})
  void whatCanBeGottenCanBeAskedForByHead(String path) {
    HttpResponse<String> head = router.send("HEAD", path);
    assertThat(head.statusCode()).isEqualTo(200);
    assertThat(head.body()).isEmpty();
    assertThat(router.send("GET", path).body()).isNotEmpty();
  }

  @Test
  void wrongMethodIsToldWhichIsRight() {
    assertThat(router.send("GET", "/v1/completions").headers().firstValue("allow"))
        .contains("POST");
    assertThat(router.send("DELETE", "/v1/models").headers().firstValue("allow"))
        .contains("GET, HEAD");
  }

  @Test
  void compressedBodyIsRefusedByName() {
    HttpResponse<String> response =
        router.post("/v1/completions", "{'prompt':'a'}", "Content-Encoding", "gzip");
    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(response.body()).contains("content-encoding: gzip (expected: identity");
  }

  @Test
  void pipelinedRequestsAreAnsweredInOrder() throws IOException {
    String body = "{\"prompt\":\"x\",\"max_tokens\":2,\"seed\":0}";
    String post =
        "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: "
            + body.length()
            + "\r\n\r\n"
            + body;
    String replies =
        router.raw(post + "GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assertThat(replies.indexOf("\"text\":\"ab\"")).isPositive();
    assertThat(replies.indexOf("\"version\"")).isGreaterThan(replies.indexOf("\"text\":\"ab\""));
  }

  @Test
  void oldHttpGetsAStreamThatEndsWithTheConnection() throws IOException {
    String body = "{\"prompt\":\"x\",\"max_tokens\":2,\"seed\":0,\"stream\":true}";
    String reply =
        router.raw(
            "POST /v1/completions HTTP/1.0\r\nContent-Length: "
                + body.length()
                + "\r\n\r\n"
                + body);
    assertThat(reply).startsWith("HTTP/1.0 200").endsWith("data: [DONE]\n\n");
    assertThat(reply).doesNotContainIgnoringCase("transfer-encoding");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "{'prompt':'a','max_tokens':2147483648} | 2147483648 (expected: 1 to 2147483647)",
        "{'prompt':'a','top_k':1e12} | 1000000000000 (expected: -1 to 2147483647)",
        "{'prompt':'a','stop':[null]} | stop[0]: null (expected: a string)",
        "{'prompt':'a','temperature':NaN} | Non-standard token 'NaN' (expected: a JSON object)",
        "{'prompt':'a','prompt':'b'} | Duplicate",
        "{'prompt':'a','prompt_logprobs':21} | prompt_logprobs: 21 (expected: 0 to 20)",
        "{'prompt':'a','include_stop_str_in_output':true} | include_stop_str_in_output: not done",
      })
  void errorsNameValueAndRange(String body, String message) {
    HttpResponse<String> response = router.post("/v1/completions", body);
    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(RunningRouter.JSON.readTree(response.body()).at("/error/message").stringValue())
        .contains(message)
        .doesNotContain("StreamReadConstraints", "enable");
  }

  @Test
  void deepNestingAndLongNumbersAreRefused() {
    for (String value : List.of("[".repeat(100) + "]".repeat(100), "9".repeat(200))) {
      HttpResponse<String> response =
          router.post("/v1/completions", "{'prompt':'a','x':" + value + "}");
      assertThat(response.statusCode()).isEqualTo(400);
      assertThat(response.body()).doesNotContain("StreamReadConstraints");
    }
  }

  @Test
  void tokenizeAndDetokenizeAnswerAsVllmDoes() {
    JsonNode text = router.ok("/tokenize", "{'prompt':'ab','return_token_strs':true}");
    assertThat(text.get("tokens").valueStream().map(JsonNode::intValue))
        .containsExactly(1, 'a' + 0, 'b' + 0);
    assertThat(text.get("count").intValue()).isEqualTo(3);
    assertThat(text.get("max_model_len").intValue()).isEqualTo(FakeWorker.CONTEXT);
    assertThat(text.at("/token_strs/2").stringValue()).isEqualTo("b");
    JsonNode chat = router.ok("/tokenize", "{'messages':[{'role':'user','content':'hi'}]}");
    assertThat(chat.get("count").intValue()).isEqualTo(4);
    assertThat(chat.get("token_strs").isNull()).isTrue();
    assertThat(router.ok("/detokenize", "{'tokens':[97,98]}").get("prompt").stringValue())
        .isEqualTo("ab");
    assertThat(router.post("/detokenize", "{'tokens':[256]}").body())
        .contains("tokens[0]: 256 (expected: 0 to 255)");
    assertThat(router.post("/tokenize", "{}").statusCode()).isEqualTo(400);
    assertThat(router.post("/tokenize", "{'model':'x','prompt':'a'}").statusCode()).isEqualTo(404);
  }

  @Test
  void modelTellsItsContext() {
    JsonNode model = router.ok("/tokenize", "{'prompt':'a'}");
    assertThat(model).isNotNull();
    JsonNode listed =
        RunningRouter.JSON.readTree(router.send("GET", "/v1/models").body()).at("/data/0");
    assertThat(listed.get("max_model_len").intValue()).isEqualTo(FakeWorker.CONTEXT);
    assertThat(listed.get("parent").isNull()).isTrue();
    assertThat(router.send("GET", "/v1/models/a+b%2Fc").body()).contains("\\\"a+b/c\\\"");
  }

  @Test
  void earlierToolCallsArePartOfTheConversation() {
    router.ok(
        "/v1/chat/completions",
        "{'max_tokens':1,'messages':[{'role':'user','content':'q'},"
            + "{'role':'assistant','content':null,'tool_calls':[{'id':'c1','type':'function',"
            + "'function':{'name':'f','arguments':'{\\\"a\\\":1}'}}]},"
            + "{'role':'tool','tool_call_id':'c1','name':'f','content':'42'}]}");
    assertThat(router.worker.sessions.getLast().getPromptList())
        .containsExactlyElementsOf("[q][][42]".chars().boxed().toList());
    HttpResponse<String> malformed =
        router.post(
            "/v1/chat/completions",
            "{'messages':[{'role':'assistant','tool_calls':[{'function':{'name':'f',"
                + "'arguments':'{'}}]}]}");
    assertThat(malformed.statusCode()).isEqualTo(400);
    assertThat(malformed.body()).contains("messages[0].tool_calls[0].function.arguments");
  }

  @Test
  void malformedBodyIsToldWhereAndNothingOfThisProgram() {
    for (String body :
        List.of("", "{", "{'prompt':[[1,2", "{'prompt':'a", "{'n':NaN}", "[1", "{]}")) {
      HttpResponse<String> refused = router.post("/v1/completions", body);
      assertThat(refused.statusCode()).as(body).isEqualTo(400);
      assertThat(refused.body()).doesNotContainIgnoringCase("source").doesNotContain("Feature");
    }
    assertThat(router.post("/v1/completions", "{'prompt':[[1,2").body())
        .contains("body: malformed JSON at line 1, column ", "(expected: a JSON object)");
  }

  @Test
  void toolsAreTakenWhenTheyShallNotBeCalled() {
    String tools =
        "{'messages':[{'role':'user','content':'x'}],'max_tokens':1,'tools':[{'type':'function',"
            + "'function':{'name':'f'}}]";
    router.ok("/v1/chat/completions", tools + ",'tool_choice':'none'}");
    assertThat(router.post("/v1/chat/completions", tools + "}").body())
        .contains("unsupported_parameter");
  }

  @Test
  void unfinishedAnswerIsContinued() {
    router.ok(
        "/v1/chat/completions",
        "{'max_tokens':1,'continue_final_message':true,'messages':["
            + "{'role':'user','content':'q'},{'role':'assistant','content':'so '}]}");
    assertThat(router.worker.sessions.getLast().getPromptList())
        .containsExactlyElementsOf("[q][so ".chars().boxed().toList());
    assertThat(
            router
                .post(
                    "/v1/chat/completions",
                    "{'continue_final_message':true,'add_generation_prompt':true,"
                        + "'messages':[{'role':'user','content':'q'}]}")
                .statusCode())
        .isEqualTo(400);
  }

  @Test
  void loneSurrogateIsRefusedWhereverItStands() {
    HttpResponse<String> response =
        router.post(
            "/v1/chat/completions",
            "{'messages':[{'role':'user','content':'a\\ud800'}],'max_tokens':1}");
    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(response.body()).contains("lone surrogate");
  }

  @Test
  void tokenThatEndsTheSequenceIsNoPartOfTheText() {
    router.worker.lastReason = FinishReason.STOP;
    JsonNode reply =
        router.ok(
            "/v1/completions", "{'prompt':'x','max_tokens':3,'seed':0,'return_token_ids':true}");
    assertThat(reply.at("/choices/0/text").stringValue()).isEqualTo("ab");
    assertThat(reply.at("/choices/0/finish_reason").stringValue()).isEqualTo("stop");
    assertThat(reply.at("/choices/0/token_ids").size()).isEqualTo(3);
    assertThat(reply.at("/choices/0/stop_reason").isNull()).isTrue();
    assertThat(reply.at("/usage/completion_tokens").intValue()).isEqualTo(3);
  }

  @Test
  void stopReasonIsTheRequestsOwnTokenThatEndedIt() {
    router.worker.lastReason = FinishReason.STOP;
    String stop = "'prompt':'x','max_tokens':3,'seed':0,'stop':['z'],'stop_token_ids':";
    JsonNode reply = router.ok("/v1/completions", "{" + stop + "[7,99]}");
    assertThat(reply.at("/choices/0/finish_reason").stringValue()).isEqualTo("stop");
    assertThat(reply.at("/choices/0/stop_reason").intValue()).isEqualTo('c');
    List<JsonNode> choices =
        router.streamed("/v1/completions", "{" + stop + "[7,99],'stream':true}");
    assertThat(choices.getFirst().has("stop_reason")).isFalse();
    assertThat(choices.getLast().get("stop_reason").intValue()).isEqualTo('c');
    router.worker.lastReason = FinishReason.LENGTH;
    reply = router.ok("/v1/completions", "{" + stop + "[7,99]}");
    assertThat(reply.at("/choices/0/stop_reason").isNull()).isTrue();
  }

  @Test
  void metricsCountTokensCachesAndTokenizations() {
    String document = "d".repeat(300);
    for (int i = 0; i < 2; i++) {
      assertThat(router.post("/tokenize", "{'prompt':'" + document + "'}").statusCode())
          .isEqualTo(200);
    }
    router.ok("/v1/completions", "{'prompt':'xy','max_tokens':3}");
    assertThat(router.send("GET", "/metrics").body())
        .contains("baton_tokenizations_total{cache=\"hit\"} 1.0")
        .contains("baton_tokenizations_total{cache=\"miss\"} 1.0")
        .contains("vllm:prefix_cache_queries_total{engine=\"0\",model_name=\"letters\"} 3.0")
        .contains("vllm:request_generation_tokens_sum{engine=\"0\",model_name=\"letters\"} 3.0")
        .contains(
            "vllm:cache_config_info{block_size=\"16\",engine=\"0\",model_name=\"letters\","
                + "num_gpu_blocks=\"1000\",worker=\"b\"} 1.0");
  }
}

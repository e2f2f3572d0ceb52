package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.google.protobuf.InvalidProtocolBufferException;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.inference.v1.TokenizeRequest;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.Role;
import dev.baton.router.failure.Failures;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The router over real sockets, with workers that only pretend to have a model. Long, because all
 * its cases need the same router, workers and clients.
 */
final class RouterServerTest {

  private static final JsonMapper JSON = JsonMapper.builder().build();
  private static final RouterLimits LIMITS =
      new RouterLimits(
          64 << 10,
          100 << 10,
          1000,
          100,
          2,
          Duration.ofSeconds(5),
          8,
          Duration.ofMinutes(5),
          Duration.ofSeconds(60),
          Duration.ofSeconds(30));

  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private final List<FakeWorker> workers = new ArrayList<>();
  private RouterServer router;

  @BeforeEach
  void start() throws IOException {
    router =
        RouterServer.start(
            RouterOptions.defaults().withPorts(0, 0).withLimits(LIMITS),
            directory -> new FakeTextModel());
  }

  @AfterEach
  void stop() {
    workers.forEach(FakeWorker::close);
    router.close();
    http.close();
  }

  @Test
  void usageTellsTheEnergyThatBothWorkersDrew() throws Exception {
    FakeWorker prefill = worker("p", Role.PREFILL);
    prefill.joulesEach = 2;
    FakeWorker decode = worker("d", Role.DECODE);
    decode.joulesEach = 0.5;
    JsonNode reply = ok("/v1/completions", "{'prompt':'xyz','max_tokens':5,'seed':0}");
    assertThat(reply.at("/usage/energy_joules").doubleValue()).isEqualTo(2 + 0.5 * 5);
  }

  @Test
  void splitCompletionTakesItsFirstTokenFromThePrefillWorker() throws Exception {
    FakeWorker prefill = worker("p", Role.PREFILL);
    FakeWorker decode = worker("d", Role.DECODE);
    JsonNode reply = ok("/v1/completions", "{'prompt':'xyz','max_tokens':5,'seed':0}");
    assertThat(reply.at("/choices/0/text").stringValue()).isEqualTo("abcde");
    assertThat(reply.at("/choices/0/finish_reason").stringValue()).isEqualTo("length");
    assertThat(reply.at("/usage/prompt_tokens").intValue()).isEqualTo(4);
    assertThat(reply.at("/usage/completion_tokens").intValue()).isEqualTo(5);
    assertThat(reply.at("/usage/prompt_tokens_details/cached_tokens").isNumber()).isTrue();
    assertThat(reply.at("/usage").has("energy_joules")).isFalse();
    assertThat(prefill.sessions.getFirst().getPromptList()).containsExactly(1, 120, 121, 122);
    assertThat(decode.sessions.getFirst().getEpoch()).isEqualTo(1);
    assertThat(decode.sessions.getFirst().getSampling().hasTemperature()).isTrue();
  }

  @Test
  void workerOfBothRolesServesAlone() throws Exception {
    FakeWorker both = worker("b", Role.BOTH);
    JsonNode reply =
        ok(
            "/v1/chat/completions",
            "{'messages':[{'role':'user','content':'hi'}],'seed':0,"
                + "'max_completion_tokens':3,'return_token_ids':true}");
    assertThat(reply.at("/choices/0/message/content").stringValue()).isEqualTo("abc");
    assertThat(reply.at("/choices/0/message/refusal").isNull()).isTrue();
    assertThat(reply.at("/choices/0/token_ids").size()).isEqualTo(3);
    assertThat(reply.at("/prompt_token_ids").size()).isEqualTo(4);
    assertThat(both.sessions).hasSize(1);
  }

  @Test
  void chatStreamHasRoleFirstUsageLastAndDone() throws Exception {
    worker("p", Role.PREFILL);
    worker("d", Role.DECODE);
    List<String> events =
        stream(
                "/v1/chat/completions",
                "{'messages':[{'role':'user','content':[{'type':'text',"
                    + "'text':'hi'}]}],'seed':0,'max_tokens':2,'stream':true,"
                    + "'stream_options':{'include_usage':true}}")
            .toList();
    assertThat(events.getLast()).isEqualTo("[DONE]");
    JsonNode role = JSON.readTree(events.get(0));
    assertThat(role.at("/choices/0/delta/role").stringValue()).isEqualTo("assistant");
    assertThat(role.get("usage").isNull()).isTrue();
    JsonNode first = JSON.readTree(events.get(1));
    assertThat(first.at("/choices/0/delta/content").stringValue()).isEqualTo("a");
    assertThat(first.at("/choices/0/finish_reason").isNull()).isTrue();
    JsonNode last = JSON.readTree(events.get(2));
    assertThat(last.at("/choices/0/delta/content").stringValue()).isEqualTo("b");
    assertThat(last.at("/choices/0/finish_reason").stringValue()).isEqualTo("length");
    JsonNode usage = JSON.readTree(events.get(3));
    assertThat(usage.get("choices").size()).isZero();
    assertThat(usage.at("/usage/total_tokens").intValue()).isEqualTo(6);
    assertThat(events).hasSize(5);
  }

  @Test
  void severalPromptsAndChoicesFanOutWithMovingSeeds() throws Exception {
    worker("b", Role.BOTH);
    JsonNode reply =
        ok("/v1/completions", "{'prompt':['x','y'],'n':2,'max_tokens':1,'seed':3,'echo':true}");
    assertThat(reply.get("choices").findValuesAsString("text"))
        .containsExactly("xd", "xe", "yd", "ye");
    assertThat(reply.at("/usage/prompt_tokens").intValue()).isEqualTo(4);
    assertThat(reply.at("/usage/completion_tokens").intValue()).isEqualTo(4);
  }

  @Test
  void stopStringEndsTheTextAndTheSession() throws Exception {
    FakeWorker both = worker("b", Role.BOTH);
    JsonNode reply = ok("/v1/completions", "{'prompt':[5,6],'max_tokens':20,'seed':0,'stop':'d'}");
    assertThat(reply.at("/choices/0/text").stringValue()).isEqualTo("abc");
    assertThat(reply.at("/choices/0/finish_reason").stringValue()).isEqualTo("stop");
    assertThat(reply.at("/choices/0/stop_reason").stringValue()).isEqualTo("d");
    assertThat(both.sessions.getFirst().getPromptList()).containsExactly(5, 6);
  }

  @Test
  void logprobsAreWrittenInBothForms() throws Exception {
    worker("b", Role.BOTH);
    JsonNode text =
        ok("/v1/completions", "{'prompt':'x','max_tokens':2,'seed':0,'logprobs':1}")
            .at("/choices/0/logprobs");
    assertThat(text.at("/tokens/1").stringValue()).isEqualTo("b");
    assertThat(text.at("/token_logprobs/0").doubleValue()).isEqualTo(-0.5);
    assertThat(text.at("/top_logprobs/0/a").doubleValue()).isEqualTo(-9999.0);
    assertThat(text.at("/text_offset/1").intValue()).isEqualTo(1);
    JsonNode chat =
        ok(
                "/v1/chat/completions",
                "{'messages':[{'role':'user','content':'x'}],'max_tokens':1,"
                    + "'seed':0,'logprobs':true,'top_logprobs':1}")
            .at("/choices/0/logprobs/content/0");
    assertThat(chat.get("token").stringValue()).isEqualTo("a");
    assertThat(chat.at("/bytes/0").intValue()).isEqualTo(97);
    assertThat(chat.at("/top_logprobs/0/logprob").doubleValue()).isEqualTo(-9999.0);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "{'prompt':'a','model':'other'} | 404 | model_not_found | model",
        "{'prompt':'a' | 400 | invalid_value | ",
        "[] | 400 | invalid_value | ",
        "{} | 400 | invalid_value | prompt",
        "{'prompt':'a','max_tokens':-1} | 400 | invalid_value | max_tokens",
        "{'prompt':'a','max_tokens':'many'} | 400 | invalid_value | max_tokens",
        "{'prompt':'a','max_tokens':127} | 400 | context_length_exceeded | max_tokens",
        "{'prompt':'a','temperature':3} | 400 | invalid_value | temperature",
        "{'prompt':'a','top_p':0} | 400 | invalid_value | top_p",
        "{'prompt':'a','n':9} | 400 | invalid_value | n",
        "{'prompt':[]} | 400 | invalid_value | prompt",
        "{'prompt':[256]} | 400 | invalid_value | prompt",
        "{'prompt':['a',1]} | 400 | invalid_value | prompt[1]",
        "{'prompt':'a','stop':['x','']} | 400 | invalid_value | stop",
        "{'prompt':'a','presence_penalty':2.5} | 400 | invalid_value | presence_penalty",
        "{'prompt':'a','suffix':'b'} | 400 | unsupported_parameter | suffix",
        "{'prompt':'a','best_of':2} | 400 | unsupported_parameter | best_of",
        "{'prompt':'a','response_format':{'type':'json_object'}} | 400 | unsupported_parameter"
            + " | response_format",
      })
  void badCompletionsGetTheFourFields(String body, int status, String code, String param)
      throws Exception {
    worker("b", Role.BOTH);
    HttpResponse<String> response = post("/v1/completions", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(status);
    JsonNode error = JSON.readTree(response.body()).get("error");
    assertThat(error.get("type").stringValue()).isEqualTo("invalid_request_error");
    assertThat(error.get("code").stringValue()).isEqualTo(code);
    assertThat(error.get("message").stringValue()).isNotEmpty();
    if (param == null) {
      assertThat(error.get("param").isNull()).isTrue();
    } else {
      assertThat(error.get("param").stringValue()).isEqualTo(param);
    }
  }

  @Test
  void neutralValuesOfUnsupportedParametersAreTaken() throws Exception {
    worker("b", Role.BOTH);
    ok(
        "/v1/chat/completions",
        "{'messages':[{'role':'user','content':'x'}],'max_tokens':1,"
            + "'presence_penalty':0,'tools':[],'tool_choice':'none','logit_bias':null,"
            + "'response_format':{'type':'text'},'audio':null,'user':'me','made_up':{'a':1}}");
  }

  @Test
  void bodyBeyondTheBoundIsRefusedAndTheServerGoesOn() throws Exception {
    worker("b", Role.BOTH);
    String large = "{'prompt':'" + "a".repeat(LIMITS.maxBodyBytes()) + "'}";
    assertThat(post("/v1/completions", large).statusCode()).isEqualTo(413);
    HttpRequest chunked =
        HttpRequest.newBuilder(uri("/v1/completions"))
            .POST(
                HttpRequest.BodyPublishers.ofInputStream(
                    () -> new ByteArrayInputStream(large.getBytes(StandardCharsets.UTF_8))))
            .build();
    HttpResponse<String> response = http.send(chunked, BodyHandlers.ofString());
    assertThat(response.statusCode()).isEqualTo(413);
    assertThat(JSON.readTree(response.body()).at("/error/code").stringValue())
        .isEqualTo("payload_too_large");
    ok("/v1/completions", "{'prompt':'a','max_tokens':1}");
  }

  @Test
  void bodiesBeyondTheBudgetOfAllAreRefusedUntilOthersLeave() throws Exception {
    worker("b", Role.BOTH);
    String body = "{\"prompt\":\"a\",\"max_tokens\":1,\"x\":\"" + "x".repeat(60 << 10) + "\"}";
    try (Socket unfinished = new Socket("127.0.0.1", router.port())) {
      String head = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ";
      unfinished
          .getOutputStream()
          .write((head + (body.length() + 1) + "\r\n\r\n" + body).getBytes(StandardCharsets.UTF_8));
      // Only what has arrived counts, so the first may still be let through.
      awaitTrue(() -> post("/v1/completions", body).statusCode() == 429);
      assertThat(post("/v1/completions", body).headers().firstValue("retry-after")).contains("1");
    }
    awaitTrue(() -> post("/v1/completions", body).statusCode() == 200);
    for (int i = 0; i < 4; i++) {
      assertThat(post("/v1/completions", body).statusCode()).isEqualTo(200);
    }
  }

  @Test
  void unknownPathsAndMethodsAreAnsweredInOpenAiForm() throws Exception {
    HttpResponse<String> path = get("/v1/nothing");
    assertThat(path.statusCode()).isEqualTo(404);
    assertThat(path.body()).contains("unknown_url");
    HttpResponse<String> method = get("/v1/completions");
    assertThat(method.statusCode()).isEqualTo(405);
    assertThat(method.body()).contains("method_not_allowed");
  }

  @Test
  void readinessFollowsTheWorkers() throws Exception {
    assertThat(get("/health/live").statusCode()).isEqualTo(200);
    assertThat(get("/health/ready").statusCode()).isEqualTo(503);
    assertThat(post("/v1/completions", "{'prompt':'a'}").statusCode()).isEqualTo(503);
    worker("p", Role.PREFILL);
    assertThat(get("/health/ready").body()).contains("no decode worker");
    worker("d", Role.DECODE);
    assertThat(get("/health/ready").statusCode()).isEqualTo(200);
    assertThat(get("/v1/models").body()).contains("\"id\":\"letters\"");
    assertThat(get("/v1/models/letters").statusCode()).isEqualTo(200);
    assertThat(get("/v1/models/others").statusCode()).isEqualTo(404);
  }

  @Test
  void workerOfAnotherFingerprintIsRefused() throws Exception {
    worker("d", Role.DECODE);
    try (FakeWorker other = new FakeWorker("p", Role.PREFILL, router.grpcPort(), "f2", 0)) {
      RegistryReply reply = other.reply.get(60, TimeUnit.SECONDS);
      assertThat(reply.getRefused().getCode()).isEqualTo(ErrorCode.FINGERPRINT_MISMATCH);
      assertThat(reply.getRefused().getMessage()).contains("model.fingerprint: f2 (expected: f1");
    }
  }

  @Test
  void streamOfADecodeWorkerThatDiesGoesOnElsewhereWithTheSameTokens() throws Exception {
    FakeWorker first = worker("b1", Role.BOTH);
    paced(first, 3);
    Iterator<String> events = openStream();
    assertThat(events.next()).contains("\"a\"");
    assertThat(events.next()).contains("\"b\"");
    assertThat(events.next()).contains("\"c\"");
    FakeWorker second = worker("b2", Role.BOTH);
    paced(second, 1);

    first.die();

    assertThat(events.next()).contains("\"d\"");
    assertThat(second.sessions.getFirst().getGeneratedList()).containsExactly(97, 98, 99);
    assertThat(second.sessions.getFirst().getEpoch()).isEqualTo(2);
    second.pace.release(1000);
    assertGoesOnWith('e', events);
  }

  @Test
  void streamOfADeadDecodeWorkerWaitsForItsSuccessor() throws Exception {
    FakeWorker first = worker("b1", Role.BOTH);
    paced(first, 1);
    Iterator<String> events = openStream();
    assertThat(events.next()).contains("\"a\"");
    first.die();
    awaitTrue(() -> get("/health/ready").statusCode() == 503);
    worker("b2", Role.BOTH);
    assertGoesOnWith('b', events);
  }

  @Test
  void requestAfterTheLastDecodeWorkersDeathWaitsForItsSuccessor() throws Exception {
    worker("b1", Role.BOTH).die();
    awaitTrue(() -> get("/health/ready").statusCode() == 503);
    CompletableFuture<JsonNode> reply =
        CompletableFuture.supplyAsync(
            () -> ok("/v1/completions", "{'prompt':'x','max_tokens':3,'seed':0}"));
    awaitTrue(
        () ->
            get("/metrics")
                .body()
                .lines()
                .anyMatch(line -> line.matches("baton_sessions_active(\\{.*})? 1\\.0")));
    worker("b2", Role.BOTH);
    assertThat(reply.get(60, TimeUnit.SECONDS).at("/choices/0/text").stringValue())
        .isEqualTo("abc");
  }

  @Test
  void streamForWhichNobodyIsLeftEndsInAnErrorEventAndNoDone() throws Exception {
    FakeWorker decode = worker("b", Role.BOTH);
    paced(decode, 1);
    Iterator<String> events = openStream();
    assertThat(events.next()).contains("\"a\"");
    decode.die();
    String last = events.next();
    assertThat(JSON.readTree(last).at("/error/code").stringValue()).isEqualTo("worker_lost");
    assertThat(events.hasNext()).isFalse();
  }

  @Test
  void streamOfADecodeWorkerThatHangsGoesOnElsewhere() throws Exception {
    FakeWorker first = worker("b1", Role.BOTH);
    paced(first, 1);
    Iterator<String> events = openStream();
    assertThat(events.next()).contains("\"a\"");
    FakeWorker second = worker("b2", Role.BOTH);
    first.fallSilent();
    assertThat(events.next()).contains("\"b\"");
    // What it says when it wakes up is of an attempt that is over.
    first.pace.release(100);
    assertGoesOnWith('c', events);
    assertThat(second.sessions.getFirst().getGeneratedList()).containsExactly(97);
  }

  @Test
  void prefillWorkerThatHangsBeforeItsTokenIsReplaced() throws Exception {
    FakeWorker hanging = worker("p1", Role.PREFILL);
    hanging.hangs = true;
    FakeWorker decode = worker("d", Role.DECODE);
    CompletableFuture<JsonNode> reply =
        CompletableFuture.supplyAsync(
            () -> ok("/v1/completions", "{'prompt':'x','max_tokens':3,'seed':0}"));
    awaitTrue(() -> !hanging.sessions.isEmpty());
    FakeWorker other = worker("p2", Role.PREFILL);
    hanging.die();
    assertThat(reply.get(60, TimeUnit.SECONDS).at("/choices/0/text").stringValue())
        .isEqualTo("abc");
    assertThat(other.sessions.getFirst().getEpoch()).isEqualTo(2);
    assertThat(decode.sessions.getLast().getEpoch()).isEqualTo(2);
  }

  @Test
  void fullDecodeWorkerIsPassedOverForAnother() throws Exception {
    FakeWorker first = worker("b1", Role.BOTH);
    FakeWorker second = worker("b2", Role.BOTH);
    first.refusals.add(Failures.of(ErrorCode.OVERLOADED, "no blocks"));
    second.refusals.add(Failures.of(ErrorCode.OVERLOADED, "no blocks"));
    // Both refuse once: the session waits and is served at the next news.
    ok("/v1/completions", "{'prompt':'a','max_tokens':2}");
    assertThat(first.sessions.size() + second.sessions.size()).isEqualTo(3);
  }

  @Test
  void overloadBeyondTheQueueIsRefusedWithRetryAfter() throws Exception {
    FakeWorker worker = new FakeWorker("b", Role.BOTH, router.grpcPort(), "f1", 1);
    workers.add(worker);
    worker.pace.drainPermits();
    List<CompletableFuture<HttpResponse<String>>> replies = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      replies.add(
          http.sendAsync(
              request("/v1/completions", "{'prompt':'a','max_tokens':2}"),
              BodyHandlers.ofString()));
    }
    awaitTrue(() -> replies.stream().anyMatch(CompletableFuture::isDone));
    HttpResponse<String> refused =
        replies.stream().filter(CompletableFuture::isDone).findFirst().orElseThrow().join();
    assertThat(refused.statusCode()).isEqualTo(429);
    assertThat(refused.headers().firstValue("retry-after")).contains("1");
    worker.pace.release(1000);
    assertThat(replies.stream().filter(r -> r.join().statusCode() == 200)).hasSize(3);
  }

  @Test
  void clientThatGoesAwayFreesItsSessionAtOnce() throws Exception {
    FakeWorker decode = worker("b", Role.BOTH);
    paced(decode, 2);
    HttpResponse<InputStream> response =
        http.send(
            request("/v1/completions", "{'prompt':'x','max_tokens':100,'stream':true}"),
            BodyHandlers.ofInputStream());
    response.body().readNBytes(10);
    response.body().close();
    assertThat(decode.cancelled.poll(60, TimeUnit.SECONDS)).isNotNull();
  }

  @Test
  void requestIdIsCleanedReturnedAndPartOfTheSessionId() throws Exception {
    FakeWorker worker = worker("b", Role.BOTH);
    HttpResponse<String> response =
        http.send(
            HttpRequest.newBuilder(uri("/v1/completions"))
                .header("X-Request-Id", "my id/7")
                .POST(HttpRequest.BodyPublishers.ofString("{\"prompt\":\"a\",\"max_tokens\":1}"))
                .build(),
            BodyHandlers.ofString());
    assertThat(response.headers().firstValue("x-request-id")).contains("my_id_7");
    assertThat(worker.sessions.getFirst().getSessionId()).startsWith("my_id_7-");
  }

  @Test
  void grpcStreamsPiecesAndEndsWithUsage() throws Exception {
    worker("p", Role.PREFILL);
    worker("d", Role.DECODE);
    ManagedChannel channel = channel();
    try {
      var stub = InferenceGrpc.newBlockingStub(channel);
      List<GenerateResponse> responses = new ArrayList<>();
      stub.generate(
              GenerateRequest.newBuilder()
                  .setText("x")
                  .setSampling(SamplingParameters.newBuilder().setMaxTokens(3).setSeed(0))
                  .build())
          .forEachRemaining(responses::add);
      assertThat(responses.getFirst().getPromptTokenIdsList()).containsExactly(1, 120);
      assertThat(String.join("", responses.stream().map(GenerateResponse::getText).toList()))
          .isEqualTo("abc");
      assertThat(responses.getLast().getUsage().getCompletionTokens()).isEqualTo(3);
      assertThat(
              stub.tokenize(TokenizeRequest.newBuilder().setText("ab").build()).getTokenIdsList())
          .containsExactly(97, 98);
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void grpcErrorsCarryTheFailureInTheirTrailer() throws Exception {
    worker("b", Role.BOTH);
    ManagedChannel channel = channel();
    try {
      var call =
          InferenceGrpc.newBlockingStub(channel)
              .generate(
                  GenerateRequest.newBuilder()
                      .setText("x")
                      .setSampling(SamplingParameters.newBuilder().setTopP(2))
                      .build());
      assertThatThrownBy(call::hasNext)
          .isInstanceOfSatisfying(
              StatusRuntimeException.class,
              e -> {
                assertThat(e.getStatus().getCode()).isEqualTo(io.grpc.Status.Code.INVALID_ARGUMENT);
                assertThat(failure(e).getField()).isEqualTo("top_p");
              });
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void metricsTellOfSessionsAndWorkers() throws Exception {
    FakeWorker worker = worker("b", Role.BOTH);
    ok("/v1/completions", "{'prompt':'x','max_tokens':3}");
    // Its first status may come after its first session.
    awaitTrue(() -> get("/metrics").body().contains("baton_kv_blocks{"));
    assertThat(get("/metrics").body())
        .contains("vllm:generation_tokens_total{engine=\"0\",model_name=\"letters\"} 3.0")
        .contains("vllm:request_success_total")
        .contains("vllm:time_to_first_token_seconds_count{engine=\"0\",model_name=\"letters\"} 1")
        .contains("baton_workers{pool=\"both\"} 1.0")
        .contains("baton_sessions_active{model_name=\"letters\"} 0.0")
        .contains("baton_kv_blocks{role=\"both\",state=\"free\",worker=\"b\"} 1000.0");
    assertThat(worker.sessions).hasSize(1);
  }

  @Test
  void takenPortIsNamed() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      int port = taken.getLocalPort();
      assertThatThrownBy(
              () ->
                  RouterServer.start(
                      RouterOptions.defaults().withPorts(port, 0), dir -> new FakeTextModel()))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("127.0.0.1:" + port);
      assertThatThrownBy(
              () ->
                  RouterServer.start(
                      RouterOptions.defaults().withPorts(0, port), dir -> new FakeTextModel()))
          .isInstanceOf(IOException.class)
          .hasMessageContaining("127.0.0.1:" + port);
    }
  }

  @Test
  void closingLetsRunningSessionsEnd() throws Exception {
    FakeWorker worker = worker("b", Role.BOTH);
    worker.pace.drainPermits();
    CompletableFuture<JsonNode> reply =
        CompletableFuture.supplyAsync(
            () -> ok("/v1/completions", "{'prompt':'x','max_tokens':3,'seed':0}"));
    awaitTrue(() -> !worker.sessions.isEmpty());
    CompletableFuture<Void> closing = CompletableFuture.runAsync(router::close);
    worker.pace.release(10);
    assertThat(reply.get(60, TimeUnit.SECONDS).at("/choices/0/text").stringValue())
        .isEqualTo("abc");
    closing.get(60, TimeUnit.SECONDS);
  }

  private FakeWorker worker(String id, Role role) throws IOException {
    FakeWorker worker = new FakeWorker(id, role, router.grpcPort());
    workers.add(worker);
    return worker;
  }

  private static void paced(FakeWorker worker, int tokens) {
    worker.pace.drainPermits();
    worker.pace.release(tokens);
  }

  /** The rest of a stream of {@link #openStream}, to its end. */
  private static void assertGoesOnWith(char letter, Iterator<String> events) {
    StringBuilder rest = new StringBuilder();
    for (String event = events.next(); !event.equals("[DONE]"); event = events.next()) {
      rest.append(JSON.readTree(event).at("/choices/0/text").asString(""));
    }
    StringBuilder expected = new StringBuilder();
    for (int i = letter - 'a'; i < 100; i++) {
      expected.append((char) ('a' + i % 26));
    }
    assertThat(rest.toString()).isEqualTo(expected.toString());
  }

  private Iterator<String> openStream() throws Exception {
    return stream("/v1/completions", "{'prompt':'x','max_tokens':100,'seed':0,'stream':true}")
        .iterator();
  }

  private Stream<String> stream(String path, String body) throws Exception {
    HttpResponse<Stream<String>> response = http.send(request(path, body), BodyHandlers.ofLines());
    assertThat(response.statusCode()).isEqualTo(200);
    return response
        .body()
        .filter(line -> line.startsWith("data: "))
        .map(line -> line.substring("data: ".length()));
  }

  private JsonNode ok(String path, String body) {
    HttpResponse<String> response = post(path, body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return JSON.readTree(response.body());
  }

  private HttpResponse<String> post(String path, String body) {
    return http.sendAsync(request(path, body), BodyHandlers.ofString()).join();
  }

  private HttpResponse<String> get(String path) {
    return http.sendAsync(HttpRequest.newBuilder(uri(path)).build(), BodyHandlers.ofString())
        .join();
  }

  private HttpRequest request(String path, String body) {
    return HttpRequest.newBuilder(uri(path))
        .POST(HttpRequest.BodyPublishers.ofString(body.replace('\'', '"')))
        .build();
  }

  private URI uri(String path) {
    return URI.create("http://127.0.0.1:" + router.port() + path);
  }

  private ManagedChannel channel() {
    return NettyChannelBuilder.forAddress("127.0.0.1", router.grpcPort()).usePlaintext().build();
  }

  private static Failure failure(StatusRuntimeException e) {
    try {
      return Failure.parseFrom(
          Objects.requireNonNull(e.getTrailers())
              .get(Metadata.Key.of("baton-failure-bin", Metadata.BINARY_BYTE_MARSHALLER)));
    } catch (InvalidProtocolBufferException broken) {
      throw new AssertionError(broken);
    }
  }

  /** Waits until the condition holds. */
  private static void awaitTrue(BooleanSupplier condition) {
    long until = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!condition.getAsBoolean()) {
      assertThat(System.nanoTime() - until).as("nanoseconds beyond the limit").isNegative();
      LockSupport.parkNanos(1_000_000);
    }
  }
}

package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.Answer;
import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import tools.jackson.databind.JsonNode;

/** One running system under good, bad and rude clients; after each it serves on. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@DisplayName("A running system")
class ServiceTest {

  private static final int IDLE_CONNECTIONS = 2000;

  private BatonSystem system;
  private OpenAiClient client;

  @BeforeAll
  void start() {
    system = BatonSystem.up("--dtype", "float32");
    client = system.openAi();
  }

  @AfterAll
  void stop() {
    system.close();
  }

  @AfterEach
  void servesOnAndClosesItsAccount() {
    Answer answer = client.post("/v1/completions", Expected.request(Expected.BOS, false));
    assertThat(answer.body().at("/choices/0/text").asString(answer.toString()))
        .isEqualTo(Expected.text());
    awaitNoBlockInUse();
    assertThat(system.messages()).doesNotContain("died");
  }

  @Test
  void freesTheBlocksOfAClientThatGoesAway() throws IOException {
    for (int i = 0; i < 5; i++) {
      try (EventStream stream = client.stream("/v1/completions", Expected.longStory())) {
        assertThat(stream.next()).isNotNull();
      }
      awaitNoBlockInUse();
    }
  }

  @Test
  void tellsWhatEachHandOffMoved() {
    double before = system.metrics().sum("baton_handoff_bytes_total");

    client.post("/v1/completions", completion("prompt", Collections.nCopies(300, 9)));

    Deadline.await(
        "bytes of the hand-off in the metrics",
        Duration.ofSeconds(2),
        () -> system.metrics().sum("baton_handoff_bytes_total") > before);
    Metrics metrics = system.metrics();
    assertThat(metrics.sum("baton_handoff_slabs_total")).isPositive();
    assertThat(metrics.sum("baton_handoff_seconds_count")).isPositive();
    assertThat(metrics.sum("baton_handoff_seconds_sum")).isPositive();
    for (String worker : List.of("prefill-0", "decode-0")) {
      assertThat(system.log(worker)).containsPattern("\\d+ bytes").containsPattern("\\d+ slabs");
    }
  }

  @Test
  void refusesAnUnknownModel() {
    refuses(completion("model", "none"), 404, "model_not_found", "model");
  }

  @Test
  void refusesMalformedJson() {
    Answer answer = client.post("/v1/completions", "{\"model\": \"stories260K\", \"prompt\": ");
    assertError(answer, 400);
  }

  @Test
  void refusesNegativeMaxTokens() {
    refuses(completion("max_tokens", -5), 400, "invalid_value", "max_tokens");
  }

  @Test
  void refusesAPromptBeyondTheContext() {
    refuses(
        completion("prompt", Collections.nCopies(513, 7)),
        400,
        "context_length_exceeded",
        "prompt");
  }

  @Test
  void refusesTokensOutsideTheVocabulary() {
    assertError(client.post("/v1/completions", completion("prompt", List.of(1, 512))), 400);
    assertError(client.post("/v1/completions", completion("prompt", List.of(-1))), 400);
  }

  @Test
  void refusesAHugeBody() throws IOException {
    byte[] megabyte = new byte[1 << 20];
    Arrays.fill(megabyte, (byte) ' ');
    try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), system.port())) {
      socket.setSoTimeout(10_000);
      OutputStream out = socket.getOutputStream();
      String head =
          "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
              + "content-length: %d\r\n\r\n".formatted(50L << 20);
      out.write(head.getBytes(StandardCharsets.US_ASCII));
      try {
        for (int i = 0; i < 50; i++) {
          out.write(megabyte);
        }
      } catch (IOException e) {
        // The server may answer and close before it has read 50 MB; the answer is what counts.
        assertThat(socket.isConnected()).isTrue();
      }
      byte[] answer = socket.getInputStream().readNBytes(12);
      assertThat(new String(answer, StandardCharsets.US_ASCII)).isEqualTo("HTTP/1.1 413");
    }
  }

  @Test
  void refusesUnknownPathsAndMethods() {
    assertError(client.get("/v1/nothing"), 404);
    assertError(client.get("/v1/completions"), 405);
  }

  @Test
  void carriesManyIdleConnections() throws IOException {
    List<Socket> sockets = new ArrayList<>();
    try {
      for (int i = 0; i < IDLE_CONNECTIONS; i++) {
        Socket socket = new Socket();
        sockets.add(socket);
        socket.connect(
            new InetSocketAddress(InetAddress.getLoopbackAddress(), system.port()), 5000);
      }
      servesOnAndClosesItsAccount();
    } finally {
      for (Socket socket : sockets) {
        socket.close();
      }
    }
  }

  private void refuses(Map<String, Object> request, int status, String code, String param) {
    Answer answer = client.post("/v1/completions", request);
    assertError(answer, status);
    assertThat(answer.body().at("/error/code").asString("")).isEqualTo(code);
    assertThat(answer.body().at("/error/param").asString("")).isEqualTo(param);
  }

  private static void assertError(Answer answer, int status) {
    assertThat(answer.status()).as("%s", answer.body()).isEqualTo(status);
    JsonNode error = answer.body().path("error");
    assertThat(error.propertyNames()).contains("message", "type", "param", "code");
    assertThat(error.path("message").asString("")).isNotEmpty();
    assertThat(error.path("type").asString("")).isEqualTo("invalid_request_error");
  }

  private static Map<String, Object> completion(String field, Object value) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", Expected.MODEL);
    request.put("prompt", Expected.BOS);
    request.put("max_tokens", 4);
    request.put(field, value);
    return request;
  }

  private void awaitNoBlockInUse() {
    Deadline.await(
        "no block owned or reserved on any worker",
        Duration.ofSeconds(1),
        () -> {
          Metrics metrics = system.metrics();
          return metrics.sum("baton_kv_blocks", "state=\"free\"") > 0
              && metrics.sum("baton_kv_blocks", "state=\"owned\"") == 0
              && metrics.sum("baton_kv_blocks", "state=\"reserved\"") == 0
              && metrics.sum("baton_kv_blocks", "state=\"quarantined\"") == 0;
        });
  }
}

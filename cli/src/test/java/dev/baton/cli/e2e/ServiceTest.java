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
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/** One running system under good, bad and rude clients; after each it serves on. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@DisplayName("A running system")
class ServiceTest {

  private static final int IDLE_CONNECTIONS = 2000;

  /** So long that a stream does not come to its end before its client goes away. */
  private static final int CONTEXT = 8192;

  /** In which blocks are to be free again, as the router's metrics show. */
  private static final Duration FREED = Duration.ofSeconds(1);

  @TempDir private static Path models;
  private BatonSystem system;
  private OpenAiClient client;

  @BeforeAll
  void start() throws IOException {
    String model = SmallModel.in(models).contextLength(CONTEXT).toString();
    system = BatonSystem.up("--model", model, "--dtype", "float32");
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
    awaitNothingHeld();
    assertThat(system.messages()).doesNotContain("died");
  }

  @Test
  void freesTheBlocksOfAClientThatGoesAway() throws IOException {
    List<Duration> taken = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      try (EventStream stream = client.stream("/v1/completions", Expected.longStory(CONTEXT - 1))) {
        assertThat(stream.next()).isNotNull();
        Deadline.await(
            "its blocks in the metrics",
            () -> system.metrics().sum("baton_kv_blocks", "state=\"owned\"") > 0);
      }
      long left = System.nanoTime();
      awaitNothingHeld();
      taken.add(Duration.ofNanos(System.nanoTime() - left));
    }
    // A busy machine may hold one up; what waits for a timer would always wait.
    assertThat(Collections.min(taken)).as("%s", taken).isLessThan(FREED);
  }

  @Test
  void tellsWhatEachHandOffMoved() {
    double before = system.metrics().sum("baton_handoff_bytes_total");

    client.post("/v1/completions", completion("prompt", Collections.nCopies(300, 9)));

    Deadline.await(
        "bytes of the hand-off in the metrics",
        () -> system.metrics().sum("baton_handoff_bytes_total") > before);
    for (String metric : List.of("slabs_total", "seconds_count", "seconds_sum")) {
      Deadline.await(metric, () -> system.metrics().sum("baton_handoff_" + metric) > 0);
    }
    Pattern line = Pattern.compile("\\d+ bytes, \\d+ slabs");
    for (String worker : List.of("prefill-0", "decode-0")) {
      Deadline.await(
          "the hand-off in the log of " + worker, () -> line.matcher(system.log(worker)).find());
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
        completion("prompt", Collections.nCopies(CONTEXT + 1, 7)),
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
      socket.setSoTimeout((int) Deadline.AMPLE.toMillis());
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
            new InetSocketAddress(InetAddress.getLoopbackAddress(), system.port()),
            (int) Deadline.AMPLE.toMillis());
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

  private void awaitNothingHeld() {
    Deadline.await(
        "nothing is held", Deadline.BEFORE_A_LEASE_ENDS, () -> system.metrics().nothingHeld());
  }
}

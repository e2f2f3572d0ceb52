package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.Answer;
import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@DisplayName("When a worker is killed")
@Timeout(60)
class WorkerDeathTest {

  /** To the client's word of it. */
  private static final Duration TOLD = Duration.ofSeconds(2);

  private static final Map<String, Object> LONG_STORY =
      Map.of(
          "model",
          Expected.MODEL,
          "prompt",
          Expected.BOS,
          "max_tokens",
          500,
          "ignore_eos",
          true,
          "temperature",
          0,
          "stream",
          true);

  private BatonSystem system;

  @BeforeAll
  void start() {
    system = BatonSystem.up("--dtype", "float32");
  }

  @AfterAll
  void stop() {
    system.close();
  }

  @RepeatedTest(3)
  void theStreamOfADeadDecodeWorkerEndsInAClearError() throws IOException {
    ProcessHandle decode = system.child("decode-0");
    int before = restarts();
    try (EventStream stream = system.openAi().stream("/v1/completions", LONG_STORY)) {
      String begun = stream.next().at("/choices/0/text").asString("");
      decode.destroyForcibly();
      long killed = System.nanoTime();

      List<JsonNode> rest = stream.rest();

      assertThat(Duration.ofNanos(System.nanoTime() - killed)).isLessThan(TOLD);
      String text =
          begun
              + rest.stream()
                  .map(e -> e.at("/choices/0/text").asString(""))
                  .collect(Collectors.joining());
      assertThat(Expected.text()).as("never wrong text").startsWith(clip(text));
      if (rest.stream().noneMatch(e -> e.at("/choices/0/finish_reason").isString())) {
        JsonNode error = rest.getLast().path("error");
        assertThat(error.path("code").asString("")).isEqualTo("worker_lost");
        assertThat(error.path("message").asString("")).isNotEmpty();
      }
    }
    servesAgain(before);
  }

  @RepeatedTest(3)
  void requestsOfADeadPrefillWorkerEndInAClearErrorOrTheRightText() throws Exception {
    ProcessHandle prefill = system.child("prefill-0");
    int before = restarts();
    // A prompt of many chunks, so that the kill falls into its computation or hand-off.
    Map<String, Object> request =
        Map.of(
            "model",
            Expected.MODEL,
            "prompt",
            java.util.Collections.nCopies(500, 5),
            "max_tokens",
            4,
            "temperature",
            0);
    Thread killer = Thread.ofVirtual().start(prefill::destroyForcibly);
    long asked = System.nanoTime();

    Answer answer = system.openAi().post("/v1/completions", request);

    assertThat(Duration.ofNanos(System.nanoTime() - asked)).isLessThan(TOLD);
    killer.join();
    if (answer.status() != 200) {
      assertThat(answer.status()).isEqualTo(503);
      assertThat(answer.body().at("/error/type").asString("")).isEqualTo("server_error");
      assertThat(answer.body().at("/error/code").asString(""))
          .isIn("worker_lost", "handoff_failed", "no_worker");
    }
    servesAgain(before);
  }

  /** A new request works as soon as the worker is back. */
  private void servesAgain(int restartsBefore) {
    Deadline.await(
        "the dead worker's successor has registered",
        Duration.ofSeconds(10),
        () ->
            restarts() > restartsBefore
                && java.util.Arrays.equals(PoolsTest.workers(system), new int[] {1, 1})
                && system.openAi().get("/health/ready").status() == 200);
    Answer answer = system.openAi().post("/v1/completions", Expected.request(Expected.BOS, false));
    assertThat(answer.body().at("/choices/0/text").asString(answer.toString()))
        .isEqualTo(Expected.text());
    assertThat(system.messages()).contains("died: killed (SIGKILL)", "started again");
  }

  /** Without it the pools may still be those from before the death. */
  private int restarts() {
    return system.messages().split("started again", -1).length - 1;
  }

  /** The part of a longer story that the expected text covers. */
  private static String clip(String text) {
    return text.substring(0, Math.min(text.length(), Expected.text().length()));
  }
}

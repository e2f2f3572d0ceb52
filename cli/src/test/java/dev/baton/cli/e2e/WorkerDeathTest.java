package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.Answer;
import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutorCompletionService;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
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
@Timeout(300)
class WorkerDeathTest {

  private static final int IN_FLIGHT = 16;

  private BatonSystem system;

  @BeforeAll
  void start() {
    system = BatonSystem.brief("--dtype", "float32");
  }

  @AfterAll
  void stop() {
    system.close();
  }

  @RepeatedTest(3)
  void theStreamOfADeadDecodeWorkerGoesOnAtItsSuccessorWithTheSameText() throws IOException {
    String undisturbed;
    try (EventStream stream = system.openAi().stream("/v1/completions", Expected.longStory())) {
      undisturbed = text(stream.rest());
    }
    ProcessHandle decode = system.child("decode-0");
    system.awaitPools(1, 1);
    Set<String> before = workerIds();
    try (EventStream stream = system.openAi().stream("/v1/completions", Expected.longStory())) {
      String begun = stream.next().at("/choices/0/text").asString("");
      decode.destroyForcibly();

      List<JsonNode> rest = stream.rest();

      assertThat(begun + text(rest)).as("%s", rest.getLast()).isEqualTo(undisturbed);
      assertThat(rest)
          .anyMatch(e -> e.at("/choices/0/finish_reason").asString("").equals("length"));
    }
    servesAgain(before);
  }

  @RepeatedTest(3)
  void requestsOfADeadPrefillWorkerAreAnsweredAllTheSame() throws Exception {
    // Prompts of many chunks, so that the kill falls into computations and hand-offs.
    Map<String, Object> request =
        Map.of(
            "model",
            Expected.MODEL,
            "prompt",
            Collections.nCopies(480, 5),
            "max_tokens",
            20,
            "temperature",
            0);
    ProcessHandle prefill = system.child("prefill-0");
    system.awaitPools(1, 1);
    Set<String> before = workerIds();
    try (ExecutorService threads = Executors.newFixedThreadPool(IN_FLIGHT)) {
      ExecutorCompletionService<Answer> answers = new ExecutorCompletionService<>(threads);
      for (int i = 0; i < IN_FLIGHT; i++) {
        // Of different salts: none takes the blocks of another.
        Map<String, Object> own = new HashMap<>(request);
        own.put("cache_salt", UUID.randomUUID().toString());
        answers.submit(() -> system.openAi().post("/v1/completions", own));
      }
      Answer right = answers.take().get();
      prefill.destroyForcibly();
      assertThat(right.status()).as("%s", right.body()).isEqualTo(200);

      for (int i = 1; i < IN_FLIGHT; i++) {
        Answer answer = answers.take().get();
        assertThat(answer.status()).as("%s", answer.body()).isEqualTo(200);
        assertThat(answer.body().at("/choices/0/text"))
            .isEqualTo(right.body().at("/choices/0/text"));
      }
    }
    servesAgain(before);
  }

  private static String text(List<JsonNode> events) {
    return events.stream()
        .map(e -> e.at("/choices/0/text").asString(""))
        .collect(Collectors.joining());
  }

  /**
   * A new request works as soon as the worker is back.
   *
   * @param before the two workers' ids before one of them was killed
   */
  private void servesAgain(Set<String> before) {
    Deadline.await(
        "the dead worker's successor has registered",
        () -> {
          // First the ids: between two looks the dead worker may go, and its successor come.
          Set<String> now = workerIds();
          return now.size() == 2
              && !now.equals(before)
              && system.pools().equals(new BatonSystem.Pools(1, 1));
        });
    Answer answer = system.openAi().post("/v1/completions", Expected.request(Expected.BOS, false));
    assertThat(answer.body().at("/choices/0/text").asString(answer.toString()))
        .isEqualTo(Expected.text());
    assertThat(system.messages()).contains("died: killed (SIGKILL)", "started again");
  }

  /** Without them the pools may still be those from before the death. */
  private Set<String> workerIds() {
    return system.metrics().labels("baton_kv_blocks_capacity", "worker");
  }
}

package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.TestMethodOrder;
import tools.jackson.databind.JsonNode;

/** One system, whose pools grow and shrink from test to test. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
@DisplayName("Two pools")
class PoolsTest {

  private BatonSystem system;

  @BeforeAll
  void start() {
    system = BatonSystem.brief("--prefill", "2", "--decode", "3");
  }

  @AfterAll
  void stop() {
    system.close();
  }

  @Test
  @Order(1)
  void shareTheRequestsAmongTheirWorkers() throws Exception {
    assertThat(workers(system)).isEqualTo(new int[] {2, 3});

    complete(system.openAi(), 24, 8);

    for (String worker : List.of("prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2")) {
      // One line of the log per hand-off.
      assertThat(system.log(worker)).as(worker).contains("bytes");
    }
  }

  @Test
  @Order(2)
  void takeAWorkerMoreAndLetOneGo() throws Exception {
    int before = workers(system)[0];
    BatonProcess added =
        BatonProcess.start(
            List.of("prefill", "--router", "127.0.0.1:" + system.grpcPort(), "--kv-cache", "64M"));
    try {
      Deadline.await(
          "one prefill worker more",
          Duration.ofSeconds(20),
          () -> workers(system)[0] == before + 1);
      complete(system.openAi(), 16, 8);

      added.terminate();

      assertThat(added.await(Duration.ofSeconds(10))).as(added.output()).isZero();
      Deadline.await(
          "as many prefill workers as before",
          Duration.ofSeconds(3),
          () -> workers(system)[0] == before);
      complete(system.openAi(), 8, 4);
    } finally {
      added.kill();
    }
  }

  @Test
  @Order(3)
  void losesNoRequestWhenAWorkerIsDrained() throws Exception {
    int[] before = workers(system);
    try (ExecutorService threads = Executors.newFixedThreadPool(1)) {
      Future<?> load =
          threads.submit(
              () -> {
                complete(system.openAi(), 60, 6);
                return null;
              });

      system.child("decode-1").destroy();
      system.child("prefill-1").destroy();

      load.get();
      Deadline.await(
          "both have left",
          Duration.ofSeconds(5),
          () -> List.of(before[0] - 1, before[1] - 1).equals(list(workers(system))));
      assertThat(system.messages()).contains("drained and ended").doesNotContain("died");
    }
  }

  private static List<Integer> list(int[] counts) {
    return List.of(counts[0], counts[1]);
  }

  /** Prefill and decode workers as the router counts them. */
  static int[] workers(BatonSystem system) {
    JsonNode workers = system.openAi().get("/health/ready").body().path("workers");
    return new int[] {workers.path("prefill").asInt(0), workers.path("decode").asInt(0)};
  }

  /** Completes {@code count} prompts, so many at a time; each answer must be the right one. */
  private static void complete(OpenAiClient client, int count, int atATime)
      throws InterruptedException, ExecutionException {
    try (ExecutorService threads = Executors.newFixedThreadPool(atATime)) {
      List<Future<OpenAiClient.Answer>> answers = new ArrayList<>();
      for (int i = 0; i < count; i++) {
        answers.add(
            threads.submit(
                () -> client.post("/v1/completions", Expected.request(Expected.BOS, false))));
      }
      for (Future<OpenAiClient.Answer> answer : answers) {
        assertThat(answer.get().body().at("/choices/0/text").asString(answer.get().toString()))
            .isEqualTo(Expected.text());
      }
    }
  }
}

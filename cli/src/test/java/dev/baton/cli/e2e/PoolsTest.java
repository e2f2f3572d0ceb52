package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

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
    system.awaitPools(2, 3);

    complete(system.openAi(), 24, 8);

    for (String worker : List.of("prefill-0", "prefill-1", "decode-0", "decode-1", "decode-2")) {
      // One line of the log per hand-off, of which a request does not wait for its own.
      Deadline.await("a hand-off of " + worker, () -> system.log(worker).contains("bytes"));
    }
  }

  @Test
  @Order(2)
  void takeAWorkerMoreAndLetOneGo() throws Exception {
    BatonProcess added =
        BatonProcess.start(
            List.of("prefill", "--router", "127.0.0.1:" + system.grpcPort(), "--kv-cache", "64M"));
    try {
      system.awaitPools(3, 3);
      complete(system.openAi(), 16, 8);

      added.terminate();

      assertThat(added.await()).as(added.output()).isZero();
      system.awaitPools(2, 3);
      complete(system.openAi(), 8, 4);
    } finally {
      added.kill();
    }
  }

  @Test
  @Order(3)
  void losesNoRequestWhenAWorkerIsDrained() throws Exception {
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
      system.awaitPools(1, 2);
      // They end after they have left.
      Deadline.await(
          "both have ended",
          () ->
              system.messages().lines().filter(m -> m.endsWith("drained and ended")).count() == 2);
      assertThat(system.messages()).doesNotContain("died");
    }
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

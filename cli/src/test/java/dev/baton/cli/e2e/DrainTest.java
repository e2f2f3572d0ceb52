package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

@DisplayName("A worker that is told to leave")
@Timeout(120)
class DrainTest {

  private static final int STREAMS = 8;
  private static final int STORIES = 12;

  private static final Map<String, Object> STORY =
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
          "return_token_ids",
          true,
          "stream",
          true);

  /** What a reader saw: the tokens, and the longest time between two events. */
  private record Read(List<Integer> tokens, long pauseMillis) {}

  @Test
  void handsItsRunningSessionsToAnother() throws Exception {
    try (BatonSystem system = BatonSystem.up("--decode", "2");
        ExecutorService readers = Executors.newFixedThreadPool(STREAMS)) {
      Read undisturbed = read(system);
      List<String> workers = decodeWorkers(system);
      List<Future<Read>> reads = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        reads.add(readers.submit(() -> readSeveral(system, undisturbed)));
      }
      Deadline.await(
          "sessions on both",
          Duration.ofSeconds(20),
          () -> workers.stream().allMatch(w -> ownedBlocks(system, w) > 0));

      BatonProcess.Outcome drained =
          BatonProcess.run(
              "drain", workers.getFirst(), "--router", "127.0.0.1:" + system.grpcPort());

      assertThat(drained.code()).as(drained.errors()).isZero();
      assertThat(drained.output()).contains(workers.getFirst() + ": 0 sessions left");
      long longest = 0;
      for (Future<Read> each : reads) {
        longest = Math.max(longest, each.get().pauseMillis());
      }
      System.out.printf("DrainTest: longest pause %d ms%n", longest);
      system
          .log("router")
          .lines()
          .filter(line -> line.contains(" moved from "))
          .forEach(line -> System.out.println("DrainTest: " + line));
      assertThat(ownedBlocks(system, workers.getFirst())).isZero();
      Deadline.await(
          "sessions went with their KV",
          Duration.ofSeconds(2),
          () -> handOffsOut(system, workers.getFirst()) > 0);
    }
  }

  @Test
  void saysWhenThereIsNoOther() throws Exception {
    try (BatonSystem system = BatonSystem.up()) {
      String only = decodeWorkers(system).getFirst();
      BatonProcess.Outcome drained =
          BatonProcess.run("drain", only, "--router", "127.0.0.1:" + system.grpcPort());
      assertThat(drained.errors()).contains(only + " is the only decode worker");
      BatonProcess.Outcome unknown =
          BatonProcess.run("drain", "nobody", "--router", "127.0.0.1:" + system.grpcPort());
      assertThat(unknown.code()).isEqualTo(1);
      assertThat(unknown.errors()).contains("nobody (expected: one of", only);
    }
  }

  @Test
  void takesAnotherRoleWithoutLoadingAnything() throws Exception {
    try (BatonSystem system = BatonSystem.up("--decode", "2")) {
      String worker = decodeWorkers(system).getFirst();
      role(system, worker, "prefill");
      Deadline.await(
          "two of prefill", Duration.ofSeconds(5), () -> PoolsTest.workers(system)[0] == 2);
      read(system);
      role(system, worker, "both");
      read(system);
      role(system, worker, "decode");
      Deadline.await(
          "two of decode", Duration.ofSeconds(5), () -> PoolsTest.workers(system)[1] == 2);
      assertThat(read(system).tokens()).hasSize(500);
    }
  }

  private static void role(BatonSystem system, String worker, String role) {
    BatonProcess.Outcome changed =
        BatonProcess.run("role", worker, role, "--router", "127.0.0.1:" + system.grpcPort());
    assertThat(changed.output()).as(changed.errors()).contains(worker + ": " + role);
  }

  private static List<String> decodeWorkers(BatonSystem system) {
    Set<String> all = new HashSet<>(system.metrics().labels("baton_kv_blocks", "worker"));
    return all.stream().filter(id -> id.startsWith("decode-")).sorted().toList();
  }

  /** A decode worker hands off only what moves. */
  private static double handOffsOut(BatonSystem system, String worker) {
    return system
        .metrics()
        .sum("baton_handoffs_total", "worker=\"" + worker + "\"", "direction=\"out\"");
  }

  private static double ownedBlocks(BatonSystem system, String worker) {
    return system.metrics().sum("baton_kv_blocks", "worker=\"" + worker + "\"", "state=\"owned\"");
  }

  /** Long enough for a command to be started meanwhile. */
  private static Read readSeveral(BatonSystem system, Read undisturbed) throws IOException {
    long longest = 0;
    for (int i = 0; i < STORIES; i++) {
      Read story = read(system);
      assertThat(story.tokens()).isEqualTo(undisturbed.tokens());
      longest = Math.max(longest, story.pauseMillis());
    }
    return new Read(undisturbed.tokens(), longest);
  }

  private static Read read(BatonSystem system) throws IOException {
    List<Integer> tokens = new ArrayList<>();
    long longest = 0;
    try (EventStream events = system.openAi().stream("/v1/completions", STORY)) {
      JsonNode event = events.next();
      long last = System.nanoTime();
      for (; event != null; event = events.next()) {
        long now = System.nanoTime();
        longest = Math.max(longest, now - last);
        last = now;
        event.at("/choices/0/token_ids").forEach(id -> tokens.add(id.asInt()));
      }
      assertThat(events.done()).isTrue();
    }
    return new Read(tokens, longest / 1_000_000);
  }
}

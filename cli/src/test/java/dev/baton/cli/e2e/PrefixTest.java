package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/**
 * Two prefill workers and a decode worker as processes, and prompts so long that computing them
 * takes longer than moving their KV. Roles change so that the one that has a prompt cached is not
 * the one that has to compute it.
 */
@DisplayName("A prefix that another worker has cached")
@Timeout(480)
class PrefixTest {

  private static final int PROMPT = 3500;
  private static final int CONTEXT = 4096;

  /** The router's line about a session that has ended. */
  private static final Pattern PLACED = Pattern.compile(" split prefill (\\S+) decode ");

  @TempDir Path models;

  private final Random random = new Random(Long.getLong("seed", 7));

  /** The small model, told that it may be asked about long prompts. */
  private List<Integer> prompt() {
    List<Integer> prompt = new ArrayList<>();
    while (prompt.size() < PROMPT) {
      prompt.add(3 + random.nextInt(500));
    }
    return prompt;
  }

  private static Map<String, Object> request(List<Integer> prompt, int tokens) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", Expected.MODEL);
    request.put("prompt", prompt);
    request.put("max_tokens", tokens);
    request.put("temperature", 0);
    request.put("ignore_eos", true);
    request.put("return_token_ids", true);
    return request;
  }

  private static JsonNode answer(BatonSystem system, Map<String, Object> request) {
    OpenAiClient.Answer answer = system.openAi().post("/v1/completions", request);
    assertThat(answer.status()).as("%s", answer.body()).isEqualTo(200);
    return answer.body();
  }

  /** The tokens as they are where no cache has anything. */
  private static JsonNode computed(BatonSystem system, List<Integer> prompt, int tokens) {
    Map<String, Object> request = request(prompt, tokens);
    request.put("cache_salt", UUID.randomUUID().toString());
    return tokens(answer(system, request));
  }

  private static JsonNode tokens(JsonNode answer) {
    JsonNode ids = answer.at("/choices/0/token_ids");
    assertThat(ids.size()).as("%s", answer).isPositive();
    return ids;
  }

  /** A new prompt that one worker, whose name is returned, has computed and nobody else has. */
  private static String warm(BatonSystem system, List<Integer> prompt) {
    // With its first token the session ends; nothing is handed over.
    answer(system, request(prompt, 1));
    Matcher sessions = PLACED.matcher(system.log("router"));
    String holder = "";
    while (sessions.find()) {
      holder = sessions.group(1);
    }
    assertThat(holder).startsWith("prefill-");
    return holder;
  }

  private static void role(BatonSystem system, String worker, String role) {
    BatonProcess.Outcome changed =
        BatonProcess.run("role", worker, role, "--router", "127.0.0.1:" + system.grpcPort());
    assertThat(changed.output()).as(changed.errors()).contains(worker + ": " + role);
  }

  private static double fetches(BatonSystem system, String outcome) {
    return system.metrics().sum("baton_prefix_fetches_total", "outcome=\"" + outcome + "\"");
  }

  private static void awaitClosedLedgers(BatonSystem system) {
    Deadline.await(
        "nothing is held",
        Duration.ofSeconds(20),
        () -> {
          Metrics metrics = system.metrics();
          return metrics.nothingHeld() && metrics.sum("baton_slab_bytes") == 0;
        });
    assertThat(system.metrics().sum("baton_worker_leaks_total")).isZero();
  }

  @Test
  void comesToTheOneThatNeedsItOrIsComputedWhenItsHolderDies() throws Exception {
    comesOrIsComputed(SmallModel.in(models).contextLength(CONTEXT));
  }

  @Test
  void comesAsItsLastWindowOfAModelThatHasOne() throws Exception {
    comesOrIsComputed(SmallModel.in(models).contextLength(CONTEXT).window(512));
  }

  private void comesOrIsComputed(SmallModel model) throws Exception {
    try (BatonSystem system =
            BatonSystem.brief(
                "--model",
                model.toString(),
                "--prefill",
                "2",
                "--step-tokens",
                Integer.toString(CONTEXT));
        ExecutorService threads = Executors.newFixedThreadPool(1)) {
      // What computing and handing over take, must have been seen; the first of all is slow.
      for (int i = 0; i < 4; i++) {
        computed(system, prompt(), 4);
      }
      List<Integer> prompt = prompt();
      String holder = warm(system, prompt);
      JsonNode expected = computed(system, prompt, 20);

      // To its holder first, although the other one was asked less often.
      JsonNode again = answer(system, request(prompt, 1));
      assertThat(again.at("/usage/prompt_tokens_details/cached_tokens").asInt())
          .isGreaterThan(3400);
      assertThat(fetches(system, "fetched")).isZero();

      role(system, holder, "decode");
      system.awaitPools(1, 2);
      JsonNode fetched = answer(system, request(prompt, 20));

      assertThat(tokens(fetched)).isEqualTo(expected);
      assertThat(fetches(system, "fetched")).as(system.log("router")).isEqualTo(1);
      assertThat(system.metrics().sum("baton_prefix_fetched_tokens_total")).isGreaterThan(3400);
      assertThat(fetched.at("/usage/prompt_tokens_details/cached_tokens").asInt())
          .isGreaterThan(3400);
      awaitClosedLedgers(system);

      // Now the other way round, with a holder that stands still when it is asked, and dies.
      List<Integer> second = prompt();
      String next = warm(system, second);
      JsonNode right = computed(system, second, 20);
      ProcessHandle process = process(system, next);
      role(system, holder, "prefill");
      system.awaitPools(2, 1);
      role(system, next, "decode");
      system.awaitPools(1, 2);
      signal(process, "STOP");
      Future<JsonNode> answer = threads.submit(() -> tokens(answer(system, request(second, 20))));
      Deadline.await(
          "the router has asked for the prefix",
          () -> fetches(system, "given_up") > 0 || process.isAlive() && asked(system, holder));
      process.destroyForcibly();

      assertThat(answer.get()).isEqualTo(right);
      awaitClosedLedgers(system);
    }
  }

  private static boolean asked(BatonSystem system, String target) {
    return system
            .metrics()
            .sum("baton_kv_blocks", "worker=\"" + target + "\"", "state=\"reserved\"")
        > 0;
  }

  private static ProcessHandle process(BatonSystem system, String worker) {
    List<ProcessHandle> prefills = system.children("prefill");
    int index = system.log("prefill-0").contains("worker " + worker + ":") ? 0 : 1;
    assertThat(system.log("prefill-" + index)).contains("worker " + worker + ":");
    return prefills.get(index);
  }

  private static void signal(ProcessHandle process, String name) throws Exception {
    int code =
        new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
            .inheritIO()
            .start()
            .waitFor();
    assertThat(code).isZero();
  }
}

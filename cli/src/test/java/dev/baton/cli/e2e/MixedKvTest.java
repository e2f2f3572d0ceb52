package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import tools.jackson.databind.JsonNode;

@DisplayName("Workers that hold KV in different formats")
@Timeout(300)
class MixedKvTest {

  private static final int TOKENS = 60;

  @Test
  void handItOverWhenBothTakeIt() throws Exception {
    try (BatonSystem system =
        BatonSystem.brief("--dtype", "float32", "--numerics", "mixed", "--split-above", "8")) {
      List<Integer> alike = answer(system);
      String first = decodeWorkers(system).getFirst();
      BatonProcess eightBits = decodeWorker(system, "--numerics", "mixed");
      try {
        system.awaitPools(1, 2);
        String second =
            decodeWorkers(system).stream().filter(id -> !id.equals(first)).findAny().orElseThrow();
        BatonProcess.Outcome drained =
            BatonProcess.run("drain", first, "--router", "127.0.0.1:" + system.grpcPort());
        assertThat(drained.code()).as(drained.errors()).isZero();

        List<Integer> converted = answer(system);

        assertThat(converted).hasSize(TOKENS);
        // The prefill worker's; those after it are as good as eight bits are.
        assertThat(converted.getFirst()).isEqualTo(alike.getFirst());
        Deadline.await("a hand-off to it in the metrics", () -> handOffsIn(system, second) > 0);
        assertThat(eightBits.output()).doesNotContain("computing it here");
      } finally {
        eightBits.terminate();
        assertThat(eightBits.await()).as(eightBits.output()).isZero();
      }
    }
  }

  @Test
  void doNotUnlessTheyAreToldTo() throws Exception {
    try (BatonSystem system = BatonSystem.brief("--dtype", "float32", "--split-above", "8")) {
      BatonProcess eightBits = decodeWorker(system);
      try {
        Deadline.await(
            "an answer to its registration",
            () -> eightBits.output().contains("the difference: kv_dtype)"));
        system.awaitPools(1, 1);
        assertThat(answer(system)).hasSize(TOKENS);
      } finally {
        eightBits.kill();
      }
    }
  }

  private static BatonProcess decodeWorker(BatonSystem system, String... options) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "decode",
                "--router",
                "127.0.0.1:" + system.grpcPort(),
                "--kv-cache",
                "64M",
                "--dtype",
                "float32",
                "--kv-dtype",
                "int8"));
    arguments.addAll(List.of(options));
    return BatonProcess.start(arguments);
  }

  private static List<Integer> answer(BatonSystem system) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", Expected.MODEL);
    request.put("prompt", IntStream.range(3, 60).boxed().toList());
    request.put("max_tokens", TOKENS);
    request.put("temperature", 0);
    request.put("ignore_eos", true);
    request.put("return_token_ids", true);
    OpenAiClient.Answer answer = system.openAi().post("/v1/completions", request);
    assertThat(answer.status()).as("%s", answer.body()).isEqualTo(200);
    List<Integer> ids = new ArrayList<>();
    for (JsonNode id : answer.body().at("/choices/0/token_ids")) {
      ids.add(id.asInt());
    }
    return ids;
  }

  /** From the gauge that a worker has as soon as it is registered; others wait for its report. */
  private static List<String> decodeWorkers(BatonSystem system) {
    return system.metrics().labels("baton_kv_blocks_capacity", "worker").stream()
        .filter(id -> id.startsWith("decode-"))
        .distinct()
        .sorted()
        .toList();
  }

  private static double handOffsIn(BatonSystem system, String worker) {
    return system
        .metrics()
        .sum("baton_handoffs_total", "worker=\"" + worker + "\"", "direction=\"in\"");
  }
}

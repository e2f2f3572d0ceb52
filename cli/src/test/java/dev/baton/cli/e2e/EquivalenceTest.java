package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.Answer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The same requests on systems of different shape. What an engine can do alone (batch, chunk, block
 * size) is compared at lower cost in the engine's own tests; here every shape crosses processes.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@DisplayName("The same request gives the same tokens")
class EquivalenceTest {

  private static final int REQUESTS = 100;
  private static final int AT_A_TIME = 8;
  private static final int VOCABULARY = 512;

  private final long seed = Long.getLong("seed", System.nanoTime());
  private final Map<String, List<List<Integer>>> references = new HashMap<>();

  @ParameterizedTest(name = "{0}: {1}")
  @CsvSource({
    // Each way of cutting the work, and TP degrees to others, each in one of the formats; the
    // engine's own tests hand off from 2 ranks to 4 and from 4 to 1 in all of them.
    "float32,  --prefill-chunk 512",
    "float32,  --prefill-tp 1 --decode-tp 2 --prefill-chunk 16 --max-sessions 16",
    "float32,  --prefill-tp 2 --decode-tp 1 --prefill-chunk 64 --max-sessions 1",
    // Several workers, and prompts that stay on the decode worker.
    "float32,  --prefill 2 --decode 2 --split-above 200 --block-tokens 64",
    "bfloat16, --prefill-chunk 512 --max-sessions 1",
    "bfloat16, --prefill-tp 4 --decode-tp 2 --prefill-chunk 512 --max-sessions 16",
    // Quantized weights and KV.
    "float32 --quantize int4, --prefill-tp 4 --decode-tp 1 --prefill-chunk 64 --block-tokens 96",
    "bfloat16 --quantize int8 --kv-dtype int8, --prefill-tp 2 --decode-tp 4 --prefill-chunk 64",
  })
  void splitInThisShapeAsAggregated(String format, String options) throws Exception {
    List<List<Integer>> reference = reference(format);

    List<List<Integer>> tokens;
    try (BatonSystem system = up(format, options)) {
      tokens = generate(system.openAi());
      Deadline.await(
          "nothing is held any more",
          Deadline.BEFORE_A_LEASE_ENDS,
          () -> system.metrics().nothingHeld());
    }

    for (int i = 0; i < REQUESTS; i++) {
      assertThat(tokens.get(i)).as("request %d of -Dseed=%d", i, seed).isEqualTo(reference.get(i));
    }
  }

  private List<List<Integer>> reference(String format) throws Exception {
    if (!references.containsKey(format)) {
      System.out.printf("EquivalenceTest: replay with -Dseed=%d%n", seed);
      try (BatonSystem system = up(format, "--aggregated")) {
        references.put(format, generate(system.openAi()));
      }
    }
    return references.get(format);
  }

  private static BatonSystem up(String format, String options) {
    List<String> arguments = new ArrayList<>(List.of(("--dtype " + format).split(" ")));
    arguments.addAll(List.of(options.split(" ")));
    return BatonSystem.brief(arguments.toArray(String[]::new));
  }

  private List<List<Integer>> generate(OpenAiClient client)
      throws InterruptedException, ExecutionException {
    List<Map<String, Object>> requests = requests(new Random(seed));
    try (ExecutorService threads = Executors.newFixedThreadPool(AT_A_TIME)) {
      List<Future<List<Integer>>> answers = new ArrayList<>();
      for (Map<String, Object> request : requests) {
        answers.add(threads.submit(() -> tokens(client.post("/v1/completions", request))));
      }
      List<List<Integer>> tokens = new ArrayList<>();
      for (Future<List<Integer>> answer : answers) {
        tokens.add(answer.get());
      }
      return tokens;
    }
  }

  private static List<Integer> tokens(Answer answer) {
    assertThat(answer.status()).as("%s", answer.body()).isEqualTo(200);
    List<Integer> tokens = new ArrayList<>();
    answer.body().at("/choices/0/token_ids").forEach(id -> tokens.add(id.asInt()));
    assertThat(tokens).isNotEmpty();
    return tokens;
  }

  /** Prompts of 1 to 400 tokens; a third greedy, the others drawn with a seed and filters. */
  private static List<Map<String, Object>> requests(Random random) {
    List<Map<String, Object>> requests = new ArrayList<>();
    for (int i = 0; i < REQUESTS; i++) {
      int length = 1 + random.nextInt(400);
      Map<String, Object> request = new LinkedHashMap<>();
      request.put("model", Expected.MODEL);
      // Ids from 3 on are no special tokens.
      request.put("prompt", random.ints(length, 3, VOCABULARY).boxed().toList());
      request.put("max_tokens", 1 + random.nextInt(32));
      request.put("return_token_ids", true);
      request.put("ignore_eos", random.nextBoolean());
      request.put("seed", random.nextInt(1 << 30));
      switch (i % 3) {
        case 0 -> request.put("temperature", 0);
        case 1 -> request.put("temperature", 1.0);
        default -> {
          request.put("temperature", 0.8);
          request.put("top_k", 40);
          request.put("top_p", 0.9);
        }
      }
      requests.add(request);
    }
    return requests;
  }
}

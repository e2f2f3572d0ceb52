package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class PeerTest {

  private static final Map<String, Double> EXPECTED =
      Map.of("prefill 512", 82.5, "decode x1 at 0", 9.125, "decode x1 at 2048", 8.0);

  @Test
  void readsJson() {
    assertThat(
            PeerOutput.parse(
                """
                [
                  {"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 82.5, "stddev_ts": 0.1},
                  {"n_prompt": 0, "n_gen": 128, "n_depth": 0, "avg_ts": 9.125},
                  {"n_prompt": 0, "n_gen": 128, "n_depth": 2048, "avg_ts": 8.0},
                  {"n_prompt": 512, "n_gen": 128, "n_depth": 0, "avg_ts": 30.0}
                ]
                """))
        .isEqualTo(EXPECTED);
  }

  @Test
  void readsJsonAfterALog() {
    assertThat(
            PeerOutput.parse(
                """
                loading [a model]
                [ {"n_prompt": 512, "n_gen": 0, "avg_ts": 82.5} ]
                """))
        .isEqualTo(Map.of("prefill 512", 82.5));
  }

  @Test
  void readsLinesOfJson() {
    assertThat(
            PeerOutput.parse(
                """
                {"n_prompt": 512, "n_gen": 0, "n_depth": 0, "avg_ts": 82.5}
                {not json}
                {"n_prompt": 0, "n_gen": 128, "n_depth": 0, "avg_ts": 9.125}
                {"n_prompt": 0, "n_gen": 64, "n_depth": 2048, "avg_ts": 8.0}
                """))
        .isEqualTo(EXPECTED);
  }

  @Test
  void readsCsv() {
    assertThat(
            PeerOutput.parse(
                """
                cpu_info,n_prompt,n_gen,n_depth,avg_ns,avg_ts,stddev_ts
                "A ""fast"", new one","512","0","0","6206060606","82.500000","0.1"
                "A ""fast"", new one","0","128","0","","9.125000","0.1"
                "A ""fast"", new one","0","128","2048","16000000000","8.000000","0.0"
                """))
        .isEqualTo(EXPECTED);
  }

  @Test
  void readsMarkdown() {
    assertThat(
            PeerOutput.parse(
                """
                | model         |     size | threads |            test |           t/s |
                | ------------- | -------: | ------: | --------------: | ------------: |
                | llama 1B BF16 | 2.30 GiB |       2 |           pp512 | 82.50 \u00b1 0.10 |
                | llama 1B BF16 | 2.30 GiB |       2 |           tg128 | 9.125 \u00b1 0.01 |
                | llama 1B BF16 | 2.30 GiB |       2 |   tg128 @ d2048 |  8.00 \u00b1 0.00 |
                | llama 1B BF16 | 2.30 GiB |       2 |     pp512+tg128 | 30.00 \u00b1 0.00 |

                build: 1234 (5)
                """))
        .isEqualTo(EXPECTED);
  }

  @Test
  void readsBatches() {
    assertThat(
            PeerOutput.parse(
                """
                {"n_kv_max": 2048, "pp": 128, "tg": 32, "pl": 8, "speed_pp": 80.0, "speed_tg": 41.0}
                """))
        .isEqualTo(Map.of("decode x8 at 128", 41.0));
  }

  @Test
  void findsTheRatesOfAWorkloadWhateverTheNumberOfSteps() {
    assertThat(EXPECTED)
        .containsKeys(
            PeerOutput.key(new Workload.Prefill(512)),
            PeerOutput.key(new Workload.Decode(1, 2048, 7)))
        .doesNotContainKey(PeerOutput.key(new Workload.Decode(2, 2048, 128)));
  }

  @Test
  void findsNothingInAnythingElse() {
    assertThat(PeerOutput.parse("")).isEmpty();
    assertThat(PeerOutput.parse("[\n| x |\n,,,\n{\n| test | t/s |\n| pp | 1 |\n")).isEmpty();
  }

  @Test
  void runsACommand() {
    PeerCommand peer =
        new PeerCommand(
            "echo log >&2; echo '[{\"n_prompt\":512,\"n_gen\":0,\"avg_ts\":82.5}]'",
            Duration.ofSeconds(30));
    assertThat(peer.run()).isEqualTo(Map.of("prefill 512", 82.5));
  }

  @Test
  void tellsWhyACommandFailed() {
    assertThatThrownBy(
            () -> new PeerCommand("echo no model >&2; exit 3", Duration.ofSeconds(30)).run())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("exit code 3: no model");
    assertThatThrownBy(() -> new PeerCommand("echo fast", Duration.ofSeconds(30)).run())
        .hasMessageContaining("no rate in its output")
        .hasMessageContaining("llama-bench");
    assertThatThrownBy(() -> new PeerCommand("sleep 60", Duration.ofSeconds(1)).run())
        .hasMessageContaining("runs for more than 1 s");
  }
}

package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@DisplayName("When the router is killed")
@Timeout(300)
class RouterDeathTest {

  private static final int STREAMS = 8;

  /** Streams that go on for seconds: not one may have come to its end before the router dies. */
  private static final int CONTEXT = 8192;

  @TempDir Path models;

  @Test
  void itsStreamsEndAndTheNextOneFindsTheWorkersWithNothingHeld() throws Exception {
    String model = SmallModel.in(models).contextLength(CONTEXT).toString();
    try (BatonSystem system = BatonSystem.up("--model", model, "--dtype", "float32")) {
      system.awaitPools(1, 1);
      Set<String> workers = workers(system);
      List<EventStream> streams = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        streams.add(system.openAi().stream("/v1/completions", Expected.longStory(CONTEXT - 1)));
      }
      assertThat(streams.getLast().next()).isNotNull();

      system.child("router").destroyForcibly();

      assertThat(streams.stream().filter(RouterDeathTest::endsInOrder).toList())
          .as("streams that nobody can bring to their end")
          .doesNotContain(streams.getLast());
      Deadline.await(
          "the next router has both workers",
          () -> ready(system) && workers(system).equals(workers));
      Deadline.await(
          "nothing is held", Deadline.BEFORE_A_LEASE_ENDS, () -> system.metrics().nothingHeld());
      assertThat(system.metrics().sum("baton_worker_leaks_total")).isZero();
      OpenAiClient.Answer answer =
          system.openAi().post("/v1/completions", Expected.request(Expected.BOS, false));
      assertThat(answer.body().at("/choices/0/text").asString(answer.toString()))
          .isEqualTo(Expected.text());
    }
  }

  /** Reads to the end of the connection, however it ends. */
  private static boolean endsInOrder(EventStream stream) {
    try (stream) {
      stream.rest();
      return stream.done();
    } catch (IOException e) {
      return false;
    }
  }

  private static Set<String> workers(BatonSystem system) {
    return system.metrics().labels("baton_kv_blocks_capacity", "worker");
  }

  private static boolean ready(BatonSystem system) {
    try {
      return system.pools().equals(new BatonSystem.Pools(1, 1));
    } catch (UncheckedIOException e) {
      // Nobody listens while there is no router.
      return false;
    }
  }
}

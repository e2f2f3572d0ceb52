package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@DisplayName("When the router is killed")
@Timeout(60)
class RouterDeathTest {

  private static final int STREAMS = 8;

  @Test
  void itsStreamsEndAndTheNextOneFindsTheWorkersWithNothingHeld() throws Exception {
    try (BatonSystem system = BatonSystem.up("--dtype", "float32")) {
      Set<String> workers = workers(system);
      List<EventStream> streams = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        streams.add(system.openAi().stream("/v1/completions", Expected.longStory()));
      }
      assertThat(streams.getLast().next()).isNotNull();

      system.child("router").destroyForcibly();

      assertThat(streams.stream().filter(RouterDeathTest::endsInOrder).toList())
          .as("streams that nobody can bring to their end")
          .doesNotContain(streams.getLast());
      Deadline.await(
          "the next router has both workers",
          Duration.ofSeconds(20),
          () -> ready(system) && workers(system).equals(workers));
      Deadline.await("nothing is held", Duration.ofSeconds(5), () -> held(system) == 0);
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
    return system.metrics().labels("baton_kv_blocks", "worker");
  }

  private static boolean ready(BatonSystem system) {
    try {
      return Arrays.equals(PoolsTest.workers(system), new int[] {1, 1});
    } catch (UncheckedIOException e) {
      // Nobody listens while there is no router.
      return false;
    }
  }

  private static double held(BatonSystem system) {
    return Stream.of("owned", "reserved", "quarantined")
        .mapToDouble(state -> system.metrics().sum("baton_kv_blocks", "state=\"" + state + "\""))
        .sum();
  }
}

package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SessionSpec;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Two prefill workers, of which one has computed a prompt: who computes what begins with it. */
class PrefixFetchingTest {

  /** A token takes 2 ms. */
  private static final long COMPUTE_NANOS = 200_000_000;

  private static final String LONG = "x".repeat(99);

  private final HttpClient http = HttpClient.newHttpClient();
  private final List<FakeWorker> prefills = new ArrayList<>();
  private RouterServer router;
  private FakeWorker decode;

  @BeforeEach
  void start() throws IOException {
    router =
        RouterServer.start(
            RouterOptions.defaults().withPorts(0, 0), directory -> new FakeTextModel());
    for (String id : List.of("p1", "p2")) {
      FakeWorker worker = new FakeWorker(id, Role.PREFILL, router.grpcPort(), "f1", 0, true);
      worker.computeNanos = COMPUTE_NANOS;
      prefills.add(worker);
    }
    decode = new FakeWorker("d", Role.DECODE, router.grpcPort(), "f1", 0, false);
    // Each has computed something, and handed it over.
    complete(LONG);
    complete("y".repeat(99));
  }

  @AfterEach
  void stop() {
    prefills.forEach(FakeWorker::close);
    decode.close();
    router.close();
    http.close();
  }

  private void complete(String prompt) {
    HttpResponse<String> response =
        http.sendAsync(
                HttpRequest.newBuilder(
                        URI.create("http://127.0.0.1:" + router.port() + "/v1/completions"))
                    .POST(
                        HttpRequest.BodyPublishers.ofString(
                            "{\"prompt\": \"%s\", \"max_tokens\": 3, \"seed\": 0}"
                                .formatted(prompt)))
                    .build(),
                BodyHandlers.ofString())
            .join();
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    assertThat(response.body()).contains("\"abc\"");
  }

  private List<SessionSpec> fetches() {
    return prefills.stream().flatMap(worker -> worker.fetches.stream()).toList();
  }

  /** The one that has computed {@link #LONG}. */
  private FakeWorker holder() {
    return prefills.stream()
        .filter(worker -> worker.sessions.getFirst().getPrompt(5) == 'x')
        .findFirst()
        .orElseThrow();
  }

  private FakeWorker other() {
    return prefills.get(1 - prefills.indexOf(holder()));
  }

  /** Completes what begins with the prompt until the other worker is asked to fetch it. */
  private void completeUntilFetched() {
    for (int i = 0; i < 50 && fetches().isEmpty(); i++) {
      // The holder's status may not have arrived yet.
      complete(LONG + (char) ('a' + i % 26));
    }
    assertThat(fetches()).hasSize(1);
  }

  @Test
  void theIdleHolderOfAPrefixComputesWhatBeginsWithIt() {
    complete(LONG + "a");
    complete(LONG + "b");
    complete(LONG + "c");
    assertThat(holder().sessions).hasSize(4);
    assertThat(other().sessions).hasSize(1);
    assertThat(fetches()).isEmpty();
  }

  @Test
  void aPrefixIsFetchedOnceWhileItsHolderIsBusy() throws Exception {
    FakeWorker source = holder();
    FakeWorker target = other();
    source.queued = 10_000;
    completeUntilFetched();
    complete(LONG + "?");
    complete(LONG + "!");
    assertThat(fetches()).hasSize(1);
    assertThat(target.sessions).hasSizeGreaterThanOrEqualTo(4);
    SessionSpec asked = source.exports.poll(60, TimeUnit.SECONDS);
    assertThat(asked).isEqualTo(target.fetches.peek());
    assertThat(asked.getPromptList())
        .isEqualTo(source.sessions.getFirst().getPromptList().subList(0, 64));
  }

  @Test
  void aPrefixThatDoesNotComeIsComputed() {
    prefills.forEach(worker -> worker.prefixesHang = true);
    holder().queued = 10_000;
    completeUntilFetched();
    complete(LONG + "?");
  }

  @Test
  void aSourceThatIsGoneCostsNothingButTheAttempt() {
    prefills.forEach(worker -> worker.prefixesHang = true);
    prefills.get(0).die();
    complete(LONG + "a");
    complete(LONG + "b");
  }
}

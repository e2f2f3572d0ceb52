package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.WedgingWorker;
import dev.baton.cli.e2e.OpenAiClient.EventStream;
import dev.baton.kvtransfer.ucx.UcxEnvironment;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

/**
 * Real processes: a router, a prefill worker, and two decode workers, of which the one has its
 * calls over a wire of the test's, a step thread that the test may stop, and hand-offs that it may
 * deafen. That worker stays in touch with the router all along: its own stream of statuses is
 * untouched.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
@DisplayName("A decode worker that reports as ever, but")
@Timeout(480)
class StallTest {

  private static final int STREAMS = 6;
  private static final int BEGUN = 20;

  private final List<BatonProcess> processes = new ArrayList<>();
  private final AtomicLong longestNanos = new AtomicLong();
  private OpenAiClient client;
  private String metrics;
  private BatonProcess router;
  private Forwarder wire;
  @TempDir private static Path directory;
  private Path wedge;
  private Path deaf;
  private List<List<Integer>> undisturbed;

  @BeforeAll
  void start() throws Exception {
    int http = freePort();
    int grpc = freePort();
    client = new OpenAiClient("http://127.0.0.1:" + http);
    metrics = "http://127.0.0.1:" + http + "/metrics";
    router =
        start("router", "--port", Integer.toString(http), "--grpc-port", Integer.toString(grpc));
    String address = "127.0.0.1:" + grpc;
    start("prefill", "--router", address, "--kv-cache", "64M");
    start("decode", "--router", address, "--kv-cache", "64M");
    int port = freePort();
    wire = new Forwarder(port);
    wedge = directory.resolve("wedge");
    deaf = directory.resolve("deaf");
    processes.add(
        BatonProcess.startClass(
            WedgingWorker.class,
            List.of(
                "--wedge",
                wedge.toString(),
                "--deaf",
                deaf.toString(),
                "--router",
                address,
                "--kv-cache",
                "64M",
                "--grpc-port",
                Integer.toString(port),
                "--register-as",
                "127.0.0.1:" + wire.port()),
            UcxEnvironment.defaults("127.0.0.1")));
    awaitBoth();
    undisturbed = streams(() -> {});
  }

  private BatonProcess start(String... arguments) {
    BatonProcess process = BatonProcess.start(List.of(arguments));
    processes.add(process);
    return process;
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  @AfterAll
  void stop() {
    wire.close();
    processes.forEach(BatonProcess::kill);
  }

  @Test
  void whoseTokensStallOnTheWireIsCutOff() throws Exception {
    goesOnElsewhere("its tokens stall", () -> wire.stall(Forwarder.Way.TO_CLIENT), wire::heal);
    awaitLog("is cut off");
    awaitLog("is in reach again");
  }

  @Test
  void whomNoRequestReachesIsCutOff() throws Exception {
    goesOnElsewhere("its requests stall", () -> wire.stall(Forwarder.Way.TO_SERVER), wire::heal);
  }

  @Test
  void whoseConnectionsAreResetLosesNoStream() throws Exception {
    goesOnElsewhere("its connections are reset", wire::reset, () -> {});
  }

  @Test
  void whoseStepThreadHangsIsFencedUntilItGoesOn() throws Exception {
    goesOnElsewhere(
        "its step thread hangs", () -> Files.createFile(wedge), () -> Files.delete(wedge));
    awaitLog("is fenced: no progress");
    assertThat(fencedAfterMillis()).as("its threads sleep, which tells sooner").isLessThan(5000);
    awaitLog("makes progress again and is taken back");
  }

  private long fencedAfterMillis() {
    Matcher said =
        Pattern.compile("is fenced: no progress for (\\d+) ms")
            .matcher(router.errors() + router.output());
    assertThat(said.find()).isTrue();
    return Long.parseLong(said.group(1));
  }

  /** The connection that a hand-off needs takes 2 s to fail, and the router waits a second more. */
  @Test
  void whomNoHandOffReachesKeepsNobodyWaiting() throws Exception {
    Files.createFile(deaf);
    try {
      assertThat(streams(() -> {})).isEqualTo(undisturbed);
      awaitLog("goes on after 1 tokens");
    } finally {
      Files.delete(deaf);
    }
  }

  private interface Deed {
    void run() throws IOException;
  }

  /** Streams that are caught by the deed end as undisturbed ones; then the worker serves again. */
  private void goesOnElsewhere(String what, Deed deed, Deed undo) throws Exception {
    longestNanos.set(0);
    try {
      assertThat(streams(deed)).as(what).isEqualTo(undisturbed);
    } finally {
      undo.run();
    }
    System.out.printf(
        "StallTest: %s: longest pause of %d streams %d ms%n",
        what, STREAMS, longestNanos.get() / 1_000_000);
    awaitBoth();
    Deadline.await(
        "nothing is held any more",
        Duration.ofSeconds(20),
        () -> Metrics.read(metrics).nothingHeld());
  }

  private void awaitLog(String line) {
    Deadline.await(
        "the router says that the worker " + line,
        () -> (router.errors() + router.output()).contains(line));
  }

  private void awaitBoth() {
    Deadline.await(
        "two decode workers and a prefill worker",
        () -> {
          try {
            JsonNode workers = client.get("/health/ready").body().path("workers");
            return workers.path("decode").asInt(0) == 2 && workers.path("prefill").asInt(0) == 1;
          } catch (UncheckedIOException e) {
            // The router does not listen yet.
            return false;
          }
        });
  }

  /** Streams at a time, the deed done when all have begun; their tokens. */
  private List<List<Integer>> streams(Deed deed) throws Exception {
    CountDownLatch begun = new CountDownLatch(STREAMS);
    try (ExecutorService readers = Executors.newFixedThreadPool(STREAMS)) {
      List<Future<List<Integer>>> all = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        int which = i;
        all.add(readers.submit(() -> tokens(which, begun)));
      }
      assertThat(begun.await(Deadline.AMPLE.toSeconds(), TimeUnit.SECONDS))
          .as("all streams have begun")
          .isTrue();
      deed.run();
      List<List<Integer>> tokens = new ArrayList<>();
      for (Future<List<Integer>> stream : all) {
        tokens.add(stream.get());
      }
      return tokens;
    }
  }

  private List<Integer> tokens(int which, CountDownLatch begun) throws IOException {
    Map<String, Object> request =
        Map.of(
            "model",
            Expected.MODEL,
            "prompt",
            List.of(1, 5 + which, 7),
            "max_tokens",
            480,
            "ignore_eos",
            true,
            "return_token_ids",
            true,
            "seed",
            which,
            "temperature",
            0.9,
            "stream",
            true);
    List<Integer> tokens = new ArrayList<>();
    boolean counted = false;
    try (EventStream events = client.stream("/v1/completions", request)) {
      long last = System.nanoTime();
      for (JsonNode event = events.next(); event != null; event = events.next()) {
        assertThat(event.path("error").isMissingNode()).as("%s", event).isTrue();
        long now = System.nanoTime();
        longestNanos.accumulateAndGet(now - last, Math::max);
        last = now;
        event.at("/choices/0/token_ids").forEach(id -> tokens.add(id.asInt()));
        if (tokens.size() >= BEGUN && !counted) {
          counted = true;
          begun.countDown();
        }
      }
      assertThat(events.done()).isTrue();
    }
    return tokens;
  }
}

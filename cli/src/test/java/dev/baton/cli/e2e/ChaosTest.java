package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.EventStream;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;

/**
 * Real processes under load while their like are killed, or stopped and woken, or have all their
 * connections reset, at times drawn from a seed. {@code -Dchaos.seconds=300} lasts longer, {@code
 * -Dseed=} replays the draws. Where connections cannot be cut from outside ({@link SocketCutter}),
 * workers are killed instead.
 */
@DisplayName("While workers are killed, frozen and cut off")
class ChaosTest {

  private static final int STREAMS = 16;
  private static final int REQUESTS = 24;
  private static final int VOCABULARY = 512;
  private static final long NOTICED_NANOS = Duration.ofMillis(20).toNanos();
  private static final long BETWEEN_NANOS = Duration.ofSeconds(2).toNanos();

  private final long seed = Long.getLong("seed", System.nanoTime());
  private final Duration duration = Duration.ofSeconds(Long.getLong("chaos.seconds", 20));
  private final Random random = new Random(seed);
  private final boolean cuts = SocketCutter.available();
  private final ConcurrentLinkedQueue<Pause> pauses = new ConcurrentLinkedQueue<>();
  private final List<Disturbance> disturbances = new ArrayList<>();
  private final AtomicInteger streams = new AtomicInteger();
  private volatile boolean over;

  /** Time between two events of one stream. */
  private record Pause(long fromNanos, long toNanos) {
    long millis() {
      return (toNanos - fromNanos) / 1_000_000;
    }
  }

  private record Disturbance(String what, long atNanos) {}

  @Test
  void everyStreamHasTheTokensOfAnUndisturbedOne() throws Exception {
    System.out.printf(
        "ChaosTest: replay with -Dseed=%d%s%n",
        seed, cuts ? "" : "; connections cannot be cut here");
    List<Map<String, Object>> requests = requests();
    try (BatonSystem system = BatonSystem.up("--prefill", "2", "--decode", "3");
        ExecutorService clients = Executors.newFixedThreadPool(STREAMS)) {
      List<List<Integer>> undisturbed = new ArrayList<>();
      for (Map<String, Object> request : requests) {
        undisturbed.add(tokens(system.openAi(), request));
      }
      pauses.clear();
      List<Future<?>> load = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        int first = i;
        load.add(clients.submit(() -> stream(system.openAi(), requests, undisturbed, first)));
      }
      try {
        disturb(system);
      } finally {
        over = true;
      }
      for (Future<?> client : load) {
        client.get();
      }
      report();
      assertThat(disturbances).as("a test without any proves nothing").isNotEmpty();
      Deadline.await(
          "nothing is held any more", Duration.ofSeconds(20), () -> system.metrics().nothingHeld());
    }
  }

  /** One reader: request after request until the disturbance is over, each compared to its end. */
  private Void stream(
      OpenAiClient client,
      List<Map<String, Object>> requests,
      List<List<Integer>> undisturbed,
      int first)
      throws IOException {
    for (int i = first; !over; i += STREAMS) {
      int which = i % REQUESTS;
      assertThat(tokens(client, requests.get(which)))
          .as("request %d of -Dseed=%d", which, seed)
          .isEqualTo(undisturbed.get(which));
      streams.incrementAndGet();
    }
    return null;
  }

  private List<Integer> tokens(OpenAiClient client, Map<String, Object> request)
      throws IOException {
    List<Integer> tokens = new ArrayList<>();
    try (EventStream events = client.stream("/v1/completions", request)) {
      assertThat(events.status()).isEqualTo(200);
      long last = System.nanoTime();
      for (JsonNode event = events.next(); event != null; event = events.next()) {
        long now = System.nanoTime();
        if (now - last > NOTICED_NANOS) {
          pauses.add(new Pause(last, now));
        }
        last = now;
        assertThat(event.path("error").isMissingNode())
            .as("after %d tokens: %s (-Dseed=%d)", tokens.size(), event, seed)
            .isTrue();
        event.at("/choices/0/token_ids").forEach(id -> tokens.add(id.asInt()));
      }
      assertThat(events.done()).as("marked end").isTrue();
    }
    return tokens;
  }

  /** Every two seconds a worker is disturbed, a decode worker only if another one lives. */
  private void disturb(BatonSystem system) {
    Deadline end = Deadline.in(duration);
    while (!end.passed()) {
      boolean prefill = random.nextInt(3) == 0;
      int deed = random.nextInt(3);
      int frozenMillis = 300 + random.nextInt(3000);
      int which = random.nextInt(6);
      Deadline.await(
          "two decode workers",
          () -> {
            BatonSystem.Pools pools = system.pools();
            return pools.decode() >= 2 && pools.prefill() >= 1;
          });
      List<ProcessHandle> living = system.children(prefill ? "prefill" : "decode");
      if (living.isEmpty()) {
        continue;
      }
      ProcessHandle worker = living.get(which % living.size());
      if (deed == 0 && cuts) {
        SocketCutter.cut(worker);
        disturbances.add(disturbance("cut off", prefill));
        LockSupport.parkNanos(BETWEEN_NANOS);
      } else if (deed <= 1) {
        worker.destroyForcibly();
        disturbances.add(disturbance("killed", prefill));
        LockSupport.parkNanos(BETWEEN_NANOS);
      } else {
        signal("STOP", worker);
        disturbances.add(disturbance("frozen", prefill));
        LockSupport.parkNanos(Duration.ofMillis(frozenMillis).toNanos());
        signal("CONT", worker);
        LockSupport.parkNanos(BETWEEN_NANOS / 2);
      }
    }
  }

  /** What readers saw: by disturbance, the longest pause that it fell into. */
  private void report() {
    System.out.printf(
        "ChaosTest: %d streams, %d disturbances%n", streams.get(), disturbances.size());
    disturbances.stream()
        .collect(Collectors.groupingBy(Disturbance::what, TreeMap::new, Collectors.toList()))
        .forEach(
            (what, all) -> {
              long[] longest = all.stream().mapToLong(this::longestPause).sorted().toArray();
              System.out.printf(
                  "ChaosTest: %s %d times, longest pause each: median %d ms, most %d ms%n",
                  what, longest.length, longest[longest.length / 2], longest[longest.length - 1]);
            });
  }

  private long longestPause(Disturbance disturbance) {
    return pauses.stream()
        .filter(
            pause ->
                pause.fromNanos() < disturbance.atNanos() + NOTICED_NANOS
                    && pause.toNanos() > disturbance.atNanos())
        .mapToLong(Pause::millis)
        .max()
        .orElse(0);
  }

  /** After the deed: a signal's own process takes its time to start. */
  private static Disturbance disturbance(String what, boolean prefill) {
    return new Disturbance(what + (prefill ? " prefill" : " decode"), System.nanoTime());
  }

  private static void signal(String name, ProcessHandle process) {
    try {
      new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
          .inheritIO()
          .start()
          .waitFor();
    } catch (IOException e) {
      throw new AssertionError(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  /** Prompts of 1 to 100 tokens with long answers; a third greedy, the others drawn. */
  private List<Map<String, Object>> requests() {
    List<Map<String, Object>> requests = new ArrayList<>();
    for (int i = 0; i < REQUESTS; i++) {
      requests.add(
          Map.of(
              "model",
              Expected.MODEL,
              "prompt",
              random.ints(1 + random.nextInt(100), 3, VOCABULARY).boxed().toList(),
              "max_tokens",
              100 + random.nextInt(300),
              "return_token_ids",
              true,
              "ignore_eos",
              random.nextBoolean(),
              "seed",
              random.nextInt(1 << 30),
              "temperature",
              i % 3 == 0 ? 0 : 0.9,
              "repetition_penalty",
              i % 2 == 0 ? 1.0 : 1.2,
              "presence_penalty",
              i % 4 == 0 ? 0.5 : 0.0,
              "stream",
              true));
    }
    return requests;
  }
}

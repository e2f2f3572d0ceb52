package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.e2e.OpenAiClient.EventStream;
import dev.baton.peer.ClusterSecret;
import dev.baton.peer.PeerAuthentication;
import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainWorkerRequest;
import dev.baton.proto.worker.v1.RouterControlGrpc;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;

@DisplayName("A worker that is told to leave")
@Timeout(480)
class DrainTest {

  private static final int STREAMS = 24;
  private static final int TRIES = 4;

  /** Of the stories that are told while a worker drains: they go on for longer than it takes. */
  private static final int CONTEXT = 1536;

  private static final int LONGEST = 1500;

  private static final Map<String, Object> STORY =
      Map.of(
          "model",
          Expected.MODEL,
          "prompt",
          Expected.BOS,
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

  @TempDir Path directory;

  /**
   * Whether a worker has sessions left to move once it knows where to is up to the machine: they
   * live for a second or two.
   */
  @Test
  void handsItsRunningSessionsToAnother() throws Exception {
    handsOver(SmallModel.in(directory).contextLength(CONTEXT));
  }

  /** What is behind the window is given up while a session goes on, and while it moves. */
  @Test
  void handsThemOverWithTheirWindowOfAModelThatHasOne() throws Exception {
    handsOver(SmallModel.in(directory).contextLength(CONTEXT).window(40));
  }

  private void handsOver(SmallModel model) throws Exception {
    double moved = 0;
    for (int i = 0; i < TRIES && moved == 0; i++) {
      moved = drainUnderLoad(model);
    }
    assertThat(moved).as("sessions that went with their KV").isPositive();
  }

  private double drainUnderLoad(SmallModel model) throws Exception {
    Path secret = directory.resolve("secret");
    Files.writeString(secret, "the secret of the test's cluster\n");
    try (BatonSystem system =
            BatonSystem.brief(
                "--model",
                model.toString(),
                "--decode",
                "2",
                "--cluster-secret-file",
                secret.toString());
        ExecutorService readers = Executors.newFixedThreadPool(STREAMS)) {
      Read undisturbed = read(system, LONGEST);
      system.awaitPools(1, 2);
      List<String> workers = decodeWorkers(system);
      AtomicBoolean over = new AtomicBoolean();
      List<Future<Read>> reads = new ArrayList<>();
      for (int i = 0; i < STREAMS; i++) {
        int length = LONGEST - 31 * i;
        reads.add(readers.submit(() -> readOn(system, undisturbed, length, over)));
      }
      List<DrainProgress> told;
      try {
        Deadline.await(
            "sessions on both", () -> workers.stream().allMatch(w -> ownedBlocks(system, w) > 0));

        told = drain(system, workers.getFirst(), ClusterSecret.read(secret, note -> {}));
      } finally {
        over.set(true);
      }

      assertThat(told.getLast().getSessionsLeft()).isZero();
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
      assertThat(system.log("router"))
          .as("calls of moved sessions outlive the call that drained")
          .doesNotContain("was cancelled without error");
      // Its last status may be from before.
      Deadline.await(
          "the drained worker holds nothing", () -> ownedBlocks(system, workers.getFirst()) == 0);
      return handOffsOut(system, workers.getFirst());
    }
  }

  /**
   * The call that {@code baton drain} makes: a process would wait for a processor, at its low
   * priority, until the streams are over.
   */
  private static List<DrainProgress> drain(
      BatonSystem system, String worker, ClusterSecret secret) {
    ManagedChannel channel =
        Grpc.newChannelBuilder(
                "127.0.0.1:" + system.grpcPort(), InsecureChannelCredentials.create())
            .build();
    try {
      List<DrainProgress> told = new ArrayList<>();
      RouterControlGrpc.newBlockingStub(channel)
          .withInterceptors(new PeerAuthentication(secret).client())
          .drainWorker(DrainWorkerRequest.newBuilder().setWorkerId(worker).build())
          .forEachRemaining(told::add);
      return told;
    } finally {
      channel.shutdownNow();
    }
  }

  @Test
  void takesAnotherRoleWithoutLoadingAnything() throws Exception {
    try (BatonSystem system = BatonSystem.brief("--decode", "2")) {
      system.awaitPools(1, 2);
      List<String> workers = decodeWorkers(system);
      String worker = workers.getFirst();
      role(system, worker, "prefill");
      system.awaitPools(2, 1);
      read(system);
      role(system, worker, "both");
      read(system);
      role(system, worker, "decode");
      system.awaitPools(1, 2);
      assertThat(read(system).tokens()).hasSize(500);

      role(system, worker, "prefill");
      system.awaitPools(2, 1);
      saysThatThereIsNoOther(system, workers.getLast());
    }
  }

  private static void saysThatThereIsNoOther(BatonSystem system, String only) {
    BatonProcess.Outcome drained =
        BatonProcess.run("drain", only, "--router", "127.0.0.1:" + system.grpcPort());
    assertThat(drained.code()).as(drained.errors()).isZero();
    assertThat(drained.output()).contains(only + ": 0 sessions left");
    assertThat(drained.errors()).contains(only + " is the only decode worker");
    BatonProcess.Outcome unknown =
        BatonProcess.run("drain", "nobody", "--router", "127.0.0.1:" + system.grpcPort());
    assertThat(unknown.code()).isEqualTo(1);
    assertThat(unknown.errors()).contains("nobody (expected: one of", only);
  }

  private static void role(BatonSystem system, String worker, String role) {
    BatonProcess.Outcome changed =
        BatonProcess.run("role", worker, role, "--router", "127.0.0.1:" + system.grpcPort());
    assertThat(changed.output()).as(changed.errors()).contains(worker + ": " + role);
  }

  /** From the gauge that a worker has as soon as it is registered; others wait for its report. */
  private static List<String> decodeWorkers(BatonSystem system) {
    Set<String> all = new HashSet<>(system.metrics().labels("baton_kv_blocks_capacity", "worker"));
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

  /**
   * Story after story, until it is over: a command takes its time to start. Readers whose stories
   * are of one length would end together, and the worker would have none just when it drains.
   */
  private static Read readOn(BatonSystem system, Read undisturbed, int length, AtomicBoolean over)
      throws IOException {
    long longest = 0;
    while (!over.get()) {
      Read story = read(system, length);
      assertThat(story.tokens()).isEqualTo(undisturbed.tokens().subList(0, length));
      longest = Math.max(longest, story.pauseMillis());
    }
    return new Read(undisturbed.tokens(), longest);
  }

  private static Read read(BatonSystem system) throws IOException {
    return read(system, 500);
  }

  private static Read read(BatonSystem system, int length) throws IOException {
    Map<String, Object> story = new HashMap<>(STORY);
    story.put("max_tokens", length);
    List<Integer> tokens = new ArrayList<>();
    long longest = 0;
    try (EventStream events = system.openAi().stream("/v1/completions", story)) {
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

package dev.baton.cli.supervisor;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@DisplayName("A supervisor")
@Timeout(120)
class SupervisorTest {

  /** Tells that it lives, then waits for a signal or for its parent's end. */
  private static final String SERVE = "echo up >> $0.lives; cat <&0 >/dev/null & wait";

  @TempDir Path directory;

  private final ByteArrayOutputStream told = new ByteArrayOutputStream();
  private final CountDownLatch ready = new CountDownLatch(1);

  @AfterEach
  void leavesNoProcess() {
    assertThat(ProcessHandle.current().children().filter(ProcessHandle::isAlive))
        .filteredOn(child -> child.info().commandLine().orElse("").contains(directory.toString()))
        .isEmpty();
  }

  @Test
  void endsAllWhenOneDiesDuringTheStartAndTellsItsLastWords() throws Exception {
    Supervisor supervisor =
        supervisor(
            () -> false,
            script("router", SERVE),
            script("decode-0", "echo noise; echo 'baton: port: 1 (expected: free)'; exit 1"));

    assertThat(supervisor.run(ready::countDown)).isEqualTo(1);

    assertThat(told()).contains("decode-0 did not start (exit code 1): port: 1 (expected: free)");
    assertThat(told()).contains(directory.resolve("decode-0.log").toString());
  }

  @Test
  void showsTheLastLinesOfOneThatDiesWithoutAWord() throws Exception {
    Supervisor supervisor =
        supervisor(
            () -> false, script("router", "for i in $(seq 30); do echo line $i; done; exit 7"));

    assertThat(supervisor.run(ready::countDown)).isEqualTo(1);

    assertThat(told()).contains("exit code 7", "line 30").doesNotContain("line 5\n");
  }

  @Test
  void startsADeadProcessAgain() throws Exception {
    Supervisor supervisor =
        supervisor(() -> lives("decode-0") > 0, script("router", SERVE), script("decode-0", SERVE));
    CompletableFuture<Integer> end = run(supervisor);
    ready.await();

    child("decode-0").destroyForcibly();

    await(() -> lives("decode-0") == 2);
    supervisor.stop();
    assertThat(end.get()).isZero();
    assertThat(told()).contains("decode-0", "died: killed (SIGKILL)", "started again");
  }

  @Test
  void leavesAloneWhatEndedInOrder() throws Exception {
    Supervisor supervisor =
        supervisor(
            () -> lives("decode-0") > 0,
            script("router", SERVE),
            script("decode-0", "trap 'exit 0' TERM; " + SERVE));
    CompletableFuture<Integer> end = run(supervisor);
    ready.await();

    child("decode-0").destroy();

    await(() -> told().contains("drained and ended"));
    supervisor.stop();
    assertThat(end.get()).isZero();
    assertThat(lives("decode-0")).isEqualTo(1);
  }

  @Test
  void stopsTheRouterBeforeTheWorkers() throws Exception {
    String record = "trap 'echo %s >> " + directory.resolve("order") + "; exit 0' TERM; ";
    Supervisor supervisor =
        supervisor(
            Duration.ofSeconds(60),
            () -> lives("router") + lives("prefill-0") == 2,
            script("router", record.formatted("router") + SERVE),
            script("prefill-0", record.formatted("prefill-0") + SERVE));
    CompletableFuture<Integer> end = run(supervisor);
    ready.await();

    supervisor.stop();

    assertThat(end.get()).isZero();
    assertThat(directory.resolve("order")).hasContent("router\nprefill-0");
  }

  @Test
  void killsWhatDoesNotEndWithinTheGrace() throws Exception {
    Supervisor supervisor =
        supervisor(() -> lives("router") > 0, script("router", "trap '' TERM; " + SERVE));
    CompletableFuture<Integer> end = run(supervisor);
    ready.await();

    supervisor.stop();

    assertThat(end.get()).isZero();
    assertThat(told()).contains("router did not end within 1 s; killed");
  }

  @Test
  void killsEverythingAtTheSecondSignal() throws Exception {
    Supervisor supervisor =
        supervisor(
            Duration.ofSeconds(60),
            () -> lives("router") > 0,
            script("router", "trap '' TERM; " + SERVE));
    CompletableFuture<Integer> end = run(supervisor);
    ready.await();

    supervisor.stop();
    supervisor.stopAtOnce();

    assertThat(end.get(30, TimeUnit.SECONDS)).isZero();
  }

  @Test
  void setsWhatTheEnvironmentDoesNotHave() throws Exception {
    ProcessSpec spec =
        new ProcessSpec(
            "router", List.of("env > env.txt; exit 1"), Map.of("BATON_T", "new", "HOME", "new"));
    Supervisor supervisor = supervisor(() -> false, at(spec));

    supervisor.run(ready::countDown);

    assertThat(Files.readAllLines(directory.resolve("env.txt")))
        .contains("BATON_T=new", "HOME=" + System.getenv("HOME"));
  }

  private ProcessSpec script(String name, String script) {
    return at(new ProcessSpec(name, List.of(script), Map.of()));
  }

  /** Runs the script in the test's directory, with the process's name as $0. */
  private ProcessSpec at(ProcessSpec spec) {
    String script = "cd '" + directory + "'; " + spec.arguments().getFirst();
    return new ProcessSpec(spec.name(), List.of(script, spec.name()), spec.environment());
  }

  private Supervisor supervisor(Readiness readiness, ProcessSpec... specs) {
    return supervisor(Duration.ofSeconds(1), readiness, specs);
  }

  private Supervisor supervisor(Duration grace, Readiness readiness, ProcessSpec... specs) {
    return new Supervisor(
        List.of(specs),
        new Launcher(List.of("/bin/bash", "-c")),
        directory,
        readiness,
        Duration.ofSeconds(60),
        grace,
        new PrintStream(told, true, StandardCharsets.UTF_8));
  }

  private CompletableFuture<Integer> run(Supervisor supervisor) {
    CompletableFuture<Integer> end = new CompletableFuture<>();
    Thread.ofPlatform()
        .name("supervisor")
        .start(
            () -> {
              try {
                end.complete(supervisor.run(ready::countDown));
              } catch (InterruptedException | RuntimeException e) {
                end.completeExceptionally(e);
              }
            });
    return end;
  }

  private String told() {
    return told.toString(StandardCharsets.UTF_8);
  }

  private int lives(String name) {
    try {
      Path file = directory.resolve(name + ".lives");
      return Files.exists(file) ? Files.readAllLines(file).size() : 0;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private ProcessHandle child(String name) {
    return ProcessHandle.current()
        .children()
        .filter(child -> child.info().commandLine().orElse("").endsWith(" " + name))
        .findFirst()
        .orElseThrow();
  }

  private static void await(BooleanSupplier condition) {
    while (!condition.getAsBoolean()) {
      LockSupport.parkNanos(1_000_000);
    }
  }
}

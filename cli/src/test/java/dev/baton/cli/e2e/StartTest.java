package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.baton.cli.Repository;
import dev.baton.cli.e2e.BatonProcess.Outcome;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@DisplayName("Starting and ending")
class StartTest {

  @Test
  void namesAPortThatIsTaken() throws IOException {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      Outcome outcome =
          BatonProcess.run(
              "up", "--port", Integer.toString(taken.getLocalPort()), "--grpc-port", "0");

      assertOneLine(outcome, 1, "--port: cannot listen on 127.0.0.1:" + taken.getLocalPort());
    }
  }

  @ParameterizedTest
  @CsvSource({
    "--model, /nowhere, expected: a directory",
    "--model, /, config.json",
    "--prefill, 0, expected: >= 1",
    "--decode, x, --decode",
    "--tp, 3, 'expected: 1, 2, 4 or 8'",
    "--dtype, int4, --dtype",
    "--kv-cache, lots, expected: bytes",
    "--kv-cache, 900T, memory: ",
    "--block-tokens, 48, expected: a multiple of 32",
    "--port, 70000, expected: 0 to 65535",
    "--products, cublaslt, expected: together with --device cuda",
    "--nothing, 1, --nothing",
  })
  void namesTheOptionThatIsWrong(String option, String value, String message) {
    Outcome outcome = BatonProcess.run("up", "--grpc-port", "0", option, value);

    assertThat(outcome.code()).as(outcome.errors()).isIn(1, 2);
    assertThat(outcome.errors().lines().findFirst().orElse(""))
        .startsWith("baton: ")
        .contains(message);
    assertThat(outcome.errors()).doesNotContain("\tat ");
  }

  @Test
  void tellsWhatIsWrongWithAModelThatDoesNotLoad(@TempDir Path directory) throws IOException {
    Path model = Repository.root().resolve("models/stories260K");
    Files.copy(model.resolve("config.json"), directory.resolve("config.json"));
    Files.copy(model.resolve("tokenizer.json"), directory.resolve("tokenizer.json"));
    Files.writeString(directory.resolve("model.safetensors"), "not a checkpoint");

    Outcome outcome =
        BatonProcess.run("up", "--port", "0", "--grpc-port", "0", "--model", directory.toString());

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.errors().lines().findFirst().orElse(""))
        .startsWith("baton: ")
        .contains("did not start (exit code 1)", "model.safetensors");
    assertThat(outcome.errors()).contains("its log: ").doesNotContain("\tat ");
  }

  @Test
  void saysThatThereIsNoGpuAndNeverTakesTheCpuInstead() {
    assumeThat(Path.of("/usr/lib/x86_64-linux-gnu/libcuda.so.1")).doesNotExist();
    Outcome outcome = BatonProcess.run("verify", "--device", "cuda");

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.errors())
        .contains("baton: libcuda.so.1: not on this machine", "--device cpu runs without")
        .doesNotContain("\tat ");
  }

  @Test
  void leavesNoChildWhenTheParentIsKilled() throws InterruptedException {
    List<ProcessHandle> children;
    try (KilledSystem system = new KilledSystem(BatonSystem.up())) {
      children = system.kill();
    }
    assertThat(children).hasSize(3);
    Deadline.await(
        "all children have ended",
        Duration.ofSeconds(20),
        () -> children.stream().noneMatch(ProcessHandle::isAlive));
  }

  @Test
  void saysThatNothingAnswers() throws IOException {
    int free;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      free = socket.getLocalPort();
    }
    Outcome outcome = BatonProcess.run("generate", "--server", "127.0.0.1:" + free, "Once");

    assertOneLine(outcome, 1, "nothing answers at 127.0.0.1:" + free);
  }

  @Test
  void tellsItsVersions() {
    Outcome outcome = BatonProcess.run("version");

    assertThat(outcome.code()).isZero();
    assertThat(outcome.output()).contains("baton ", "java  25", "cpu ", "ucx ");
  }

  private static void assertOneLine(Outcome outcome, int code, String message) {
    assertThat(outcome.code()).as(outcome.errors()).isEqualTo(code);
    assertThat(outcome.errors().lines()).hasSize(1);
    assertThat(outcome.errors()).startsWith("baton: ").contains(message);
  }

  /** Makes sure that nothing of a system stays whose supervisor was killed. */
  private record KilledSystem(BatonSystem system) implements AutoCloseable {

    List<ProcessHandle> kill() throws InterruptedException {
      return system.killSupervisor();
    }

    @Override
    public void close() {
      system.process().kill();
    }
  }
}

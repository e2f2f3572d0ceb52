package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.Repository;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What {@code ./baton} does before Java runs, on machines that lack something. */
@DisplayName("./baton")
class ScriptTest {

  /** Programs in front of the machine's own, made by each test. */
  @TempDir Path programs;

  @Test
  void printsTheCommandToRunWhenUcxIsMissingAndItIsNotRoot() throws Exception {
    withoutUcx();
    program("id", "echo 1000");

    Output output = baton("up");

    assertThat(output.code()).isEqualTo(1);
    assertThat(output.text())
        .isEqualTo(
            "baton: missing: libucx0 (KV hand-off between processes; not needed with --aggregated);"
                + " install it with: sudo apt-get update && sudo apt-get install -y libucx0\n");
  }

  @Test
  void installsUcxAsRootAndSaysSo() throws Exception {
    withoutUcx();
    program("id", "echo 0");
    program("apt-get", "echo \"$*\" >> '" + programs.resolve("asked") + "'; exit 1");

    Output output = baton("prefill");

    assertThat(output.text()).startsWith("baton: installing libucx0 (");
    assertThat(programs.resolve("asked"))
        .content()
        .contains("install -y --no-install-recommends libucx0", "update");
    assertThat(output.text()).contains("could not install libucx0");
    assertThat(output.code()).isEqualTo(1);
  }

  @Test
  void needsNoUcxWithoutAHandOff() throws Exception {
    withoutUcx();
    program("id", "echo 1000");

    Output output = baton("up", "--aggregated");

    assertThat(output.text()).doesNotContain("libucx0");
  }

  @Test
  void namesTheJdkThatIsMissing() throws Exception {
    program("id", "echo 1000");

    Path root = programs.resolve("copy");
    Files.createDirectories(root.resolve("scripts"));
    Files.copy(Repository.root().resolve("baton"), root.resolve("baton"));
    program("copy/scripts/find-jdk", "exit 1");

    Output output = run(root.resolve("baton"), Map.of(), "version");

    assertThat(output.code()).isEqualTo(1);
    assertThat(output.text()).startsWith("baton: missing: a JDK 25").contains("BATON_JAVA_HOME");
  }

  @Test
  void setsForAWorkerWhatOfUcxIsLeftOpen() throws Exception {
    program("ldconfig", "echo libucp.so.0");
    Path jdk = jdkWithoutJava();
    program(
        "jdk/bin/java",
        "case \"$*\" in *--print-environment*) printf 'UCX_TLS=cma,tcp\\n"
            + "UCX_TCP_TX_SEG_SIZE=64k\\n"
            + "' ;; *) env | grep ^UCX_ | sort ;; esac");

    Output output =
        run(
            Repository.root().resolve("baton"),
            Map.of("BATON_JAVA_HOME", jdk.toString(), "UCX_TLS", "tcp"),
            "decode");

    assertThat(output.text()).isEqualTo("UCX_TCP_TX_SEG_SIZE=64k\nUCX_TLS=tcp\n");
  }

  @Test
  void lowersADrainThatMayTakeItsTimeAndNoOther() throws Exception {
    Path jdk = jdkWithoutJava();
    program("jdk/bin/java", "nice");

    String own = niceness(jdk, "version");

    assertThat(niceness(jdk, "drain", "decode-1")).isNotEqualTo(own);
    assertThat(niceness(jdk, "drain", "decode-1", "--within", "30s")).isEqualTo(own);
    assertThat(niceness(jdk, "drain", "--within=30s", "decode-1")).isEqualTo(own);
  }

  private String niceness(Path jdk, String... arguments) throws Exception {
    return run(
            Repository.root().resolve("baton"),
            Map.of("BATON_JAVA_HOME", jdk.toString()),
            arguments)
        .text();
  }

  /** What the script takes for a JDK; its {@code java} is each test's own. */
  private Path jdkWithoutJava() throws IOException {
    Path jdk = programs.resolve("jdk");
    Files.createDirectories(jdk.resolve("bin"));
    Files.writeString(jdk.resolve("release"), "JAVA_VERSION=\"25\"\n");
    program("jdk/bin/javac", "exit 0");
    return jdk;
  }

  private void withoutUcx() throws IOException {
    program("ldconfig", "exit 0");
  }

  private void program(String name, String script) throws IOException {
    Path file = programs.resolve(name);
    Files.writeString(file, "#!/bin/sh\n" + script + "\n");
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
  }

  private record Output(int code, String text) {}

  private Output baton(String... arguments) throws IOException, InterruptedException {
    return run(Repository.root().resolve("baton"), Map.of(), arguments);
  }

  private Output run(Path script, Map<String, String> environment, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(script.toString()));
    command.addAll(List.of(arguments));
    ProcessBuilder builder = new ProcessBuilder(command);
    builder.environment().put("PATH", programs + ":" + System.getenv("PATH"));
    // Nothing is built or started: the runtime directory has no java.args.
    builder.environment().put("BATON_RUNTIME", programs.toString());
    builder.environment().remove("LD_LIBRARY_PATH");
    builder.environment().keySet().removeIf(name -> name.startsWith("UCX_"));
    builder.environment().putAll(environment);
    Path file = programs.resolve("output");
    builder.redirectErrorStream(true).redirectOutput(file.toFile());
    Process process = builder.start();
    if (!process.waitFor(Deadline.AMPLE.toSeconds(), TimeUnit.SECONDS)) {
      process.destroyForcibly();
      throw new AssertionError("not ended: " + Files.readString(file));
    }
    return new Output(process.exitValue(), Files.readString(file));
  }
}

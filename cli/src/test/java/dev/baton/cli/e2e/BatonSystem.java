package dev.baton.cli.e2e;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.cli.Repository;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.JsonNode;

/**
 * A whole system as a user starts it: {@code baton up} with its processes, on free ports. Closing
 * it checks that it ends in order and leaves no process.
 */
final class BatonSystem implements AutoCloseable {

  private static final Pattern READY =
      Pattern.compile(
          "baton: ready at http://127\\.0\\.0\\.1:(\\d+) \\(gRPC (\\d+); logs: ([^;)]+)\\); try:"
              + " curl .*");

  private static final Duration START = Duration.ofSeconds(240);

  private final BatonProcess up;
  private final List<ProcessHandle> workers = new ArrayList<>();
  private final int port;
  private final int grpcPort;
  private final Path logs;

  private BatonSystem(BatonProcess up, Matcher ready) {
    this.up = up;
    this.port = Integer.parseInt(ready.group(1));
    this.grpcPort = Integer.parseInt(ready.group(2));
    this.logs = Path.of(ready.group(3));
    up.handle().children().forEach(workers::add);
  }

  /** Starts {@code baton up} with these options besides the ports, and waits until it is ready. */
  static BatonSystem up(String... options) {
    return up(Map.of(), options);
  }

  /**
   * As {@link #up}, but without the second compiler in its processes, which takes a third of the
   * time of a system that lives for seconds. Other tests start systems just as users do.
   */
  static BatonSystem brief(String... options) {
    return up(Map.of("BATON_JAVA_OPTS", "-XX:TieredStopAtLevel=1"), options);
  }

  private static BatonSystem up(Map<String, String> environment, String... options) {
    List<String> arguments =
        new ArrayList<>(List.of("up", "--port", "0", "--grpc-port", "0", "--kv-cache", "64M"));
    arguments.add("--check-ledger");
    arguments.add("--log-dir");
    arguments.add(newLogDirectory().toString());
    arguments.addAll(List.of(options));
    BatonProcess up = BatonProcess.start(arguments, environment);
    try {
      Deadline deadline = Deadline.in(START);
      while (true) {
        Matcher ready = READY.matcher(up.output().strip());
        if (ready.matches()) {
          return new BatonSystem(up, ready);
        }
        if (!up.alive() || deadline.passed()) {
          throw new AssertionError(
              "baton %s is not ready: %s%s".formatted(arguments, up.output(), up.errors()));
        }
        Deadline.pause();
      }
    } catch (RuntimeException | Error e) {
      up.kill();
      throw e;
    }
  }

  private static Path newLogDirectory() {
    try {
      Path all = Repository.root().resolve("cli/target/e2e");
      Files.createDirectories(all);
      return Files.createTempDirectory(all, "up-");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  String url(String path) {
    return "http://127.0.0.1:" + port + path;
  }

  int port() {
    return port;
  }

  int grpcPort() {
    return grpcPort;
  }

  OpenAiClient openAi() {
    return new OpenAiClient(url(""));
  }

  /** What {@code up} itself has told on its error output. */
  String messages() {
    return up.errors();
  }

  BatonProcess process() {
    return up;
  }

  /** The log of one process, such as {@code decode-0}. */
  String log(String name) {
    try {
      return Files.readString(logs.resolve(name + ".log"));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The living process of that name. */
  ProcessHandle child(String name) {
    // The name is not on the command line; the order of the log files' openers is: role and index.
    String role = name.replaceAll("-\\d+$", "");
    int index = name.equals(role) ? 0 : Integer.parseInt(name.substring(role.length() + 1));
    List<ProcessHandle> ofRole = children(role);
    assertThat(ofRole).as("processes of role %s", role).hasSizeGreaterThan(index);
    return ofRole.get(index);
  }

  /** The living processes of a role, in the order of their start. */
  List<ProcessHandle> children(String role) {
    return up.handle()
        .children()
        .filter(c -> List.of(c.info().arguments().orElse(new String[0])).contains(role))
        .sorted((a, b) -> Long.compare(a.pid(), b.pid()))
        .toList();
  }

  /** Workers of either role that may be given sessions. */
  record Pools(int prefill, int decode) {}

  /** As the router counts them. */
  Pools pools() {
    JsonNode workers = openAi().get("/health/ready").body().path("workers");
    return new Pools(workers.path("prefill").asInt(0), workers.path("decode").asInt(0));
  }

  void awaitPools(int prefill, int decode) {
    Pools wanted = new Pools(prefill, decode);
    Deadline.await(wanted.toString(), () -> pools().equals(wanted));
  }

  Metrics metrics() {
    return Metrics.read(url("/metrics"));
  }

  @Override
  public void close() {
    up.handle().children().forEach(workers::add);
    try {
      up.terminate();
      assertThat(up.await()).as("exit code of baton up: %s", up.errors()).isZero();
      assertThat(workers).noneMatch(ProcessHandle::isAlive);
    } finally {
      up.kill();
      workers.forEach(ProcessHandle::destroyForcibly);
    }
  }

  /** Ends the supervisor alone, as kill -9 does, and returns its children. */
  List<ProcessHandle> killSupervisor() throws InterruptedException {
    List<ProcessHandle> children = up.handle().children().toList();
    up.kill();
    up.handle().onExit().orTimeout(Deadline.AMPLE.toSeconds(), TimeUnit.SECONDS).join();
    return children;
  }
}

package dev.baton.bench.handoff;

import dev.baton.kvtransfer.ucx.UcxEnvironment;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.ProcessBuilder.Redirect;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * {@code baton bench handoff}: an exporter and an importer, each a process as workers are, hand KV
 * over by the production service: packed from blocks by the device's kernel, checksummed, sent by
 * UCX, checked, unpacked into blocks of another size, acknowledged. In turns with it the same two
 * processes move as many bytes by plain active messages of the size of a slab, from a region as
 * large as the KV to another. Both are timed by the sender, to the receiver's last answer.
 */
public final class HandoffBench {

  /** Rounds that do not count: until the compiler has seen all of both processes. */
  private static final int WARM_UP = 20;

  /** One token: what the answer to a short last chunk costs. */
  private static final int SMALL_TOKENS = 1;

  private HandoffBench() {}

  /**
   * Runs a plan; starts and ends the two processes.
   *
   * @param progress hears what is being done; called on the calling thread
   * @throws IOException a process did not start, or died
   */
  public static HandoffReport run(HandoffPlan plan, Consumer<String> progress) throws IOException {
    try (Peer importer = new Peer("importer", plan);
        Peer exporter = new Peer("exporter", plan)) {
      exporter.ask("connect " + importer.answer());
      int smallBytes = Math.toIntExact(SMALL_TOKENS * plan.bytesPerToken());
      List<Double> plain = new ArrayList<>();
      List<Double> handoff = new ArrayList<>();
      List<Double> plainSmall = new ArrayList<>();
      List<Double> handoffSmall = new ArrayList<>();
      for (int round = -WARM_UP; round < plan.rounds(); round++) {
        if (round == -WARM_UP) {
          progress.accept("warming up");
        } else if (round >= 0) {
          progress.accept("round " + (round + 1));
        }
        double plainSeconds = plain(exporter, importer, plan.messages(), plan.slabBytes());
        double handoffSeconds = handoff(exporter, importer, plan.tokens());
        double plainSmallSeconds = plain(exporter, importer, 1, smallBytes);
        double handoffSmallSeconds = handoff(exporter, importer, SMALL_TOKENS);
        if (round >= 0) {
          plain.add(plainSeconds);
          handoff.add(handoffSeconds);
          plainSmall.add(plainSmallSeconds);
          handoffSmall.add(handoffSmallSeconds);
        }
      }
      return new HandoffReport(plan, smallBytes, plain, handoff, plainSmall, handoffSmall);
    }
  }

  private static double plain(Peer exporter, Peer importer, int messages, int bytes)
      throws IOException {
    importer.say("plain " + messages);
    double seconds = seconds(exporter.ask("plain %d %d".formatted(messages, bytes)));
    importer.answer();
    return seconds;
  }

  private static double handoff(Peer exporter, Peer importer, int tokens) throws IOException {
    String ticket = importer.ask("expect " + tokens);
    return seconds(exporter.ask("export %d %s".formatted(tokens, ticket)));
  }

  private static double seconds(String nanos) {
    return Long.parseLong(nanos) / 1e9;
  }

  /** One of the two processes; gone after the close. */
  private static final class Peer implements AutoCloseable {
    private final String role;
    private final Process process;
    private final BufferedReader out;
    private final PrintStream in;

    Peer(String role, HandoffPlan plan) throws IOException {
      this.role = role;
      List<String> command = new ArrayList<>();
      command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      command.addAll(
          ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
              .filter(flag -> flag.startsWith("--enable-native") || flag.startsWith("--sun-misc"))
              .toList());
      command.addAll(
          List.of(
              "-Xmx256m",
              "-Dbaton.log.level=warn",
              "-cp",
              System.getProperty("java.class.path"),
              HandoffPeer.class.getName()));
      command.addAll(HandoffPeer.arguments(role, plan));
      ProcessBuilder builder = new ProcessBuilder(command).redirectError(Redirect.INHERIT);
      UcxEnvironment.defaults(HandoffPeer.HOST).forEach(builder.environment()::putIfAbsent);
      process = builder.start();
      out =
          new BufferedReader(
              new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
      in = new PrintStream(process.getOutputStream(), true, StandardCharsets.UTF_8);
    }

    void say(String line) {
      in.println(line);
    }

    String ask(String line) throws IOException {
      say(line);
      return answer();
    }

    String answer() throws IOException {
      for (String line = out.readLine(); line != null; line = out.readLine()) {
        if (line.startsWith(HandoffPeer.ANSWER)) {
          return line.substring(HandoffPeer.ANSWER.length());
        }
      }
      throw new IOException("the %s ended (expected: an answer)".formatted(role));
    }

    @Override
    public void close() {
      process.destroyForcibly();
    }
  }
}

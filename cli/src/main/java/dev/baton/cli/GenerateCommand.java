package dev.baton.cli;

import dev.baton.worker.wire.HostPort;
import java.util.List;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton generate}: one prompt to a running system, by its public gRPC. */
@Command(
    name = "generate",
    mixinStandardHelpOptions = true,
    description = "Sends a prompt to a running system and prints the text as it comes.")
final class GenerateCommand implements Callable<Integer> {

  @Parameters(
      arity = "0..1",
      paramLabel = "PROMPT",
      description = "Text; may be empty or absent: the story then starts by itself.")
  String prompt = "";

  @Option(
      names = "--tokens",
      paramLabel = "ID",
      split = ",",
      description = "Token ids instead of text, such as 1,403,407.")
  @Nullable List<Integer> tokens;

  @Option(names = "--model", paramLabel = "NAME", description = "Default: the only one served.")
  String model = "";

  @Mixin SamplingFlags sampling = new SamplingFlags();

  @Option(names = "--show-tokens", description = "Print token ids instead of text.")
  boolean showTokens;

  @Option(
      names = "--stream",
      negatable = true,
      description = "Print text as it comes (default), or with --no-stream all at the end.")
  boolean stream = true;

  @Option(
      names = "--server",
      paramLabel = "HOST:PORT",
      description = "gRPC address of the router. Default: 127.0.0.1:9090.")
  HostPort server = new HostPort("127.0.0.1", 9090);

  @Override
  public Integer call() {
    if (tokens != null && !prompt.isEmpty()) {
      throw CommandFailure.usage("--tokens: with a prompt as text (expected: one of the two)");
    }
    GenerateClient.run(this, System.out);
    return 0;
  }
}

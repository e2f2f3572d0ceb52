package dev.baton.cli;

import java.nio.file.Path;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code baton router}: the fronts, in the foreground. */
@Command(
    name = "router",
    mixinStandardHelpOptions = true,
    description = "Runs a router: HTTP and gRPC for clients, and the registry of workers.")
final class RouterCommand implements Callable<Integer> {

  @Option(
      names = "--host",
      paramLabel = "HOST",
      description = "Address to listen on. Default: 127.0.0.1.")
  String host = "127.0.0.1";

  @Option(names = "--port", paramLabel = "N", description = "HTTP; 0 = any free. Default: 8080.")
  int port = 8080;

  @Option(
      names = "--grpc-port",
      paramLabel = "N",
      description = "gRPC, for clients and workers; 0 = any free. Default: 9090.")
  int grpcPort = 9090;

  @Option(
      names = "--split-above",
      paramLabel = "TOKENS",
      description = "Shorter prompts stay on the decode worker; 0 = always split. Default: 0.")
  int splitAbove = 0;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "Where the tokenizer is, to load it early. Default: where the first worker says.")
  @Nullable Path model;

  @Mixin PeerFlags peers = new PeerFlags();

  @Mixin ProcessFlags process = new ProcessFlags();

  @Override
  public Integer call() throws InterruptedException {
    Options.checkPort("--port", port);
    Options.checkPort("--grpc-port", grpcPort);
    Options.checkAtLeast("--split-above", splitAbove, 0);
    process.apply();
    return RouterProcess.run(this, process);
  }
}

package dev.baton.router;

import dev.baton.peer.PeerAuthentication;
import dev.baton.router.registry.WorkerDirectory;
import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextModelException;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * Where the router's text models and worker channels come from. Owns the text models. Thread-safe.
 */
final class RouterSurroundings implements WorkerDirectory.Surroundings, AutoCloseable {

  /** A prompt as long as the largest contexts, in tokens of five bytes. */
  private static final int MAX_MESSAGE_BYTES = 16 << 20;

  /** As often as grpc-java allows; silence of the status stream is seen much earlier. */
  private static final long KEEP_ALIVE_SECONDS = 10;

  private final Function<Path, TextModel> loader;
  private final Optional<PeerAuthentication> peers;
  private final @Nullable CompletableFuture<TextModel> given;
  private final List<TextModel> loaded = new ArrayList<>();

  /**
   * Begins to load the given directory, which then serves whatever model registers; with none, each
   * model's own directory is loaded when it registers.
   *
   * @param peers proves the cluster secret to workers
   */
  RouterSurroundings(
      Optional<Path> modelDirectory,
      Function<Path, TextModel> loader,
      Optional<PeerAuthentication> peers) {
    this.loader = loader;
    this.peers = peers;
    this.given =
        modelDirectory
            .map(directory -> CompletableFuture.supplyAsync(() -> load(directory)))
            .orElse(null);
  }

  /** Waits until the given directory is loaded; throws TextModelException when it cannot be. */
  void awaitText() {
    if (given != null) {
      join(given);
    }
  }

  @Override
  public TextModel loadText(Path directory) {
    return given != null ? join(given) : load(directory);
  }

  @Override
  public ManagedChannel connect(String address) {
    return NettyChannelBuilder.forTarget(address)
        .usePlaintext()
        // Sessions handle their events without blocking, so the event loop may run them.
        .directExecutor()
        // Workers are never reached through a proxy.
        .proxyDetector(target -> null)
        .disableRetry()
        .maxInboundMessageSize(MAX_MESSAGE_BYTES)
        .keepAliveTime(KEEP_ALIVE_SECONDS, TimeUnit.SECONDS)
        .keepAliveTimeout(1, TimeUnit.SECONDS)
        .intercept(peers.map(PeerAuthentication::client).stream().toList())
        .build();
  }

  @Override
  public void close() {
    if (given != null) {
      // Loading cannot be interrupted; its end is waited for, however it ends.
      given.handle((text, cause) -> true).join();
    }
    synchronized (loaded) {
      loaded.forEach(TextModel::close);
      loaded.clear();
    }
  }

  private TextModel load(Path directory) {
    TextModel text = loader.apply(directory);
    synchronized (loaded) {
      loaded.add(text);
    }
    return text;
  }

  private static TextModel join(CompletableFuture<TextModel> text) {
    try {
      return text.join();
    } catch (CompletionException e) {
      throw e.getCause() instanceof TextModelException cause ? cause : e;
    }
  }
}

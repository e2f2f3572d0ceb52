package dev.baton.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;

/**
 * Another engine's bench, run by the shell; what it prints is read by {@link PeerOutput}.
 *
 * @param limit after which it is killed
 */
record PeerCommand(String command, Duration limit) {

  /** Of a failed command's errors, what is shown. */
  private static final int SHOWN = 400;

  /**
   * Runs it once.
   *
   * @return tokens per second by {@link PeerOutput#key}
   * @throws IllegalStateException when it fails, takes too long or prints no rate
   */
  Map<String, Double> run() {
    try {
      Process process = new ProcessBuilder("/bin/sh", "-c", command).start();
      try {
        process.getOutputStream().close();
        FutureTask<String> output = reading(process.getInputStream());
        FutureTask<String> errors = reading(process.getErrorStream());
        if (!process.waitFor(limit.toSeconds(), TimeUnit.SECONDS)) {
          throw failed("runs for more than %d s".formatted(limit.toSeconds()));
        }
        if (process.exitValue() != 0) {
          throw failed("exit code %d: %s".formatted(process.exitValue(), tail(errors.get())));
        }
        Map<String, Double> rates = PeerOutput.parse(output.get());
        if (rates.isEmpty()) {
          throw failed(
              "no rate in its output (expected: what llama-bench prints, best with -o json): "
                  + tail(output.get()));
        }
        return rates;
      } finally {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw failed("interrupted");
    } catch (ExecutionException e) {
      throw new IllegalStateException("peer: its output cannot be read: " + e.getCause(), e);
    }
  }

  /** Both outputs are read at once, so that neither fills its pipe and stops the command. */
  private static FutureTask<String> reading(InputStream in) {
    FutureTask<String> task =
        new FutureTask<>(() -> new String(in.readAllBytes(), StandardCharsets.UTF_8));
    Thread.ofVirtual().name("baton-bench-peer").start(task);
    return task;
  }

  private IllegalStateException failed(String reason) {
    return new IllegalStateException("peer: %s: %s".formatted(command, reason));
  }

  private static String tail(String text) {
    String stripped = text.strip();
    return stripped.substring(Math.max(0, stripped.length() - SHOWN));
  }
}

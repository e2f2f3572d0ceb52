package dev.baton.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Where a measurement was made; figures without it mean nothing.
 *
 * @param processor its name as the kernel tells it
 * @param processors that this process may use
 * @param device the engine's device: instruction set and why
 * @param java version of the runtime
 * @param loadBefore runnable threads on the machine, mean of a minute, before the run; negative =
 *     unknown
 * @param loadAfter likewise after it, the bench's own threads included
 */
record Machine(
    String processor,
    int processors,
    String device,
    String java,
    double loadBefore,
    double loadAfter) {

  private static final Path CPU_INFO = Path.of("/proc/cpuinfo");
  private static final Path LOAD = Path.of("/proc/loadavg");

  static Machine describe(String device, double loadBefore) {
    String processor =
        lines(CPU_INFO).stream()
            .filter(line -> line.startsWith("model name"))
            .findFirst()
            .map(line -> line.substring(line.indexOf(':') + 1).strip())
            .orElse(System.getProperty("os.arch"));
    return new Machine(
        processor,
        Runtime.getRuntime().availableProcessors(),
        device,
        Runtime.version().toString(),
        loadBefore,
        load());
  }

  static double load() {
    return lines(LOAD).stream()
        .findFirst()
        .map(line -> Double.parseDouble(line.split(" ")[0]))
        .orElse(-1.0);
  }

  private static List<String> lines(Path file) {
    if (!Files.isReadable(file)) {
      return List.of();
    }
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      // A description only: what cannot be read is left out.
      return List.of();
    }
  }
}

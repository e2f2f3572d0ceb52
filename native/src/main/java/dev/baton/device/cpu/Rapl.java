package dev.baton.device.cpu;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What the processor's packages have drawn, by their own counters, which Linux shows in {@code
 * /sys/class/powercap} to those who may read them (root alone, as a rule). They count all that runs
 * on the machine. Any thread, one at a time.
 */
final class Rapl {

  /**
   * @param energy the counter's file, microjoules
   * @param range after which it begins anew
   */
  private record Counter(Path energy, long range) {}

  private final List<Counter> counters = new ArrayList<>();
  private final long[] last;
  private long total;

  /**
   * @param directory {@code /sys/class/powercap}; what is not there or not readable counts nothing
   */
  Rapl(Path directory) {
    List<Long> first = new ArrayList<>();
    try (DirectoryStream<Path> zones = Files.newDirectoryStream(directory, "intel-rapl:*")) {
      for (Path zone : zones) {
        if (Files.readString(zone.resolve("name")).startsWith("package")) {
          Counter counter =
              new Counter(zone.resolve("energy_uj"), number(zone.resolve("max_energy_range_uj")));
          first.add(number(counter.energy));
          counters.add(counter);
        }
      }
    } catch (IOException | NumberFormatException e) {
      // A part of the truth would be taken for all of it.
      counters.clear();
    }
    last = new long[counters.size()];
    for (int i = 0; i < last.length; i++) {
      last[i] = first.get(i);
    }
  }

  private static long number(Path file) throws IOException {
    return Long.parseLong(Files.readString(file).strip());
  }

  /** Joules since this was made; negative = the machine does not tell. */
  synchronized double joules() {
    if (last.length == 0) {
      return -1;
    }
    for (int i = 0; i < last.length; i++) {
      Counter counter = counters.get(i);
      long now;
      try {
        now = number(counter.energy);
      } catch (IOException | NumberFormatException e) {
        return -1;
      }
      total += now >= last[i] ? now - last[i] : now + counter.range - last[i];
      last[i] = now;
    }
    return total / 1e6;
  }
}

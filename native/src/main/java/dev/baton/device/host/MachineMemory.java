package dev.baton.device.host;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * How much memory this process may still take: the kernel's estimate, and the limits of the control
 * groups (v1 and v2) that it runs in, whichever is least. A file that is missing or unreadable sets
 * no limit.
 */
public final class MachineMemory {

  private final Path root;

  /**
   * @param root the file system's root; another one in tests
   */
  MachineMemory(Path root) {
    this.root = root;
  }

  /** Bytes that can be taken now without swapping or being killed; Long.MAX_VALUE = unknown. */
  public static long available() {
    return new MachineMemory(Path.of("/")).availableBytes();
  }

  long availableBytes() {
    long available = Long.MAX_VALUE;
    for (String line : lines("proc/meminfo")) {
      if (line.startsWith("MemAvailable:")) {
        available = firstNumber(line) * 1024;
      }
    }
    for (String line : lines("proc/self/cgroup")) {
      String[] parts = line.split(":", 3);
      if (parts.length == 3 && parts[1].isEmpty()) {
        available =
            Math.min(
                available,
                underLimits(
                    "sys/fs/cgroup", parts[2], "memory.max", "memory.current", "inactive_file"));
      } else if (parts.length == 3 && List.of(parts[1].split(",")).contains("memory")) {
        available =
            Math.min(
                available,
                underLimits(
                    "sys/fs/cgroup/memory",
                    parts[2],
                    "memory.limit_in_bytes",
                    "memory.usage_in_bytes",
                    "total_inactive_file"));
      }
    }
    return available;
  }

  /**
   * Least headroom of a group and all its parents; file cache that can be dropped counts as free.
   */
  private long underLimits(
      String mount, String group, String limitFile, String usageFile, String cacheKey) {
    long least = Long.MAX_VALUE;
    Path path = Path.of(group).normalize();
    while (path != null) {
      String directory = mount + "/" + path.toString().substring(1);
      List<String> limit = lines(directory + "/" + limitFile);
      List<String> usage = lines(directory + "/" + usageFile);
      if (!limit.isEmpty() && !usage.isEmpty() && !limit.get(0).startsWith("max")) {
        long cached = 0;
        for (String line : lines(directory + "/memory.stat")) {
          if (line.startsWith(cacheKey + " ")) {
            cached = firstNumber(line);
          }
        }
        long used = Math.max(0, firstNumber(usage.get(0)) - cached);
        least = Math.min(least, Math.max(0, firstNumber(limit.get(0)) - used));
      }
      path = path.getParent();
    }
    return least;
  }

  private static long firstNumber(String line) {
    String digits = line.replaceFirst("^\\D*", "").replaceFirst("\\D.*$", "");
    return digits.isEmpty() ? 0 : Long.parseLong(digits);
  }

  private List<String> lines(String name) {
    Path file = root.resolve(name);
    if (!Files.isReadable(file)) {
      return List.of();
    }
    try {
      return Files.readAllLines(file);
    } catch (IOException e) {
      // A group can vanish between the two calls; then it limits nothing.
      return List.of();
    }
  }

  /** Bytes for people: {@code 1.5 GiB}. */
  static String format(long bytes) {
    if (bytes < 1 << 20) {
      return bytes + " bytes";
    }
    boolean large = bytes >= 1 << 30;
    return String.format(
        Locale.ROOT, "%.1f %s", bytes / (large ? 0x1p30 : 0x1p20), large ? "GiB" : "MiB");
  }
}

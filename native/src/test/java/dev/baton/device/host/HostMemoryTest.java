package dev.baton.device.host;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.OutOfDeviceMemoryException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HostMemoryTest {

  private static final long MIB = 1L << 20;

  /** Hands out nothing, so that large amounts cost nothing. */
  private static MemorySegment nothing(Arena arena, long bytes) {
    return arena.allocate(1);
  }

  @Test
  void whatWasHandedOutCountsEvenBeforeItIsTouched() {
    AtomicLong available = new AtomicLong(1128 * MIB);
    try (HostMemory memory = new HostMemory(HostMemoryTest::nothing, available::get)) {
      memory.allocate(600 * MIB, "weights");
      assertThatThrownBy(() -> memory.allocate(600 * MIB, "KV cache"))
          .isInstanceOf(OutOfDeviceMemoryException.class)
          .hasMessageContaining("KV cache: 600.0 MiB (expected: at most 400.0 MiB")
          .hasMessageContaining("600.0 MiB handed out so far");
      memory.allocate(400 * MIB, "KV cache");
    }
  }

  @Test
  void memoryThatOthersHaveTakenSinceTheStartIsNotPromised() {
    AtomicLong available = new AtomicLong(4096 * MIB);
    try (HostMemory memory = new HostMemory(HostMemoryTest::nothing, available::get)) {
      available.set(200 * MIB);
      assertThatThrownBy(() -> memory.allocate(100 * MIB, "KV cache"))
          .isInstanceOf(OutOfDeviceMemoryException.class);
      memory.allocate(50 * MIB, "KV cache");
    }
  }

  private static void write(Path root, String name, String content) throws IOException {
    Path file = root.resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  @Test
  void availableIsTheKernelsEstimate(@TempDir Path root) throws IOException {
    write(root, "proc/meminfo", "MemTotal: 100 kB\nMemAvailable:    2048 kB\n");
    assertThat(new MachineMemory(root).availableBytes()).isEqualTo(2 * MIB);
  }

  @Test
  void theTightestControlGroupAboveTheProcessCounts(@TempDir Path root) throws IOException {
    write(root, "proc/meminfo", "MemAvailable: 9999999 kB\n");
    write(root, "proc/self/cgroup", "0::/a/b\n");
    write(root, "sys/fs/cgroup/a/b/memory.max", "max\n");
    write(root, "sys/fs/cgroup/a/b/memory.current", "1000\n");
    write(root, "sys/fs/cgroup/a/memory.max", "50000\n");
    write(root, "sys/fs/cgroup/a/memory.current", "30000\n");
    write(root, "sys/fs/cgroup/a/memory.stat", "anon 5\ninactive_file 10000\n");
    assertThat(new MachineMemory(root).availableBytes()).isEqualTo(30000);
  }

  @Test
  void controlGroupsOfTheFirstVersionCountToo(@TempDir Path root) throws IOException {
    write(root, "proc/self/cgroup", "3:cpu:/\n2:memory:/docker/x\n");
    write(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "70000\n");
    write(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "20000\n");
    assertThat(new MachineMemory(root).availableBytes()).isEqualTo(50000);
  }

  @Test
  void aMachineThatSaysNothingSetsNoLimit(@TempDir Path root) {
    assertThat(new MachineMemory(root).availableBytes()).isEqualTo(Long.MAX_VALUE);
  }
}

package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Ops;
import dev.baton.device.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** How many threads a rank gets, when they start and when they end. */
class CpuTeamTest {

  @Test
  void ranksShareTheProcessorsUnlessToldOtherwise() {
    assertThat(CpuTeam.threads(null, 8, 2)).isEqualTo(4);
    assertThat(CpuTeam.threads("", 2, 1)).isEqualTo(2);
    assertThat(CpuTeam.threads("", 2, 8)).isEqualTo(1);
    assertThat(CpuTeam.threads("3", 2, 8)).isEqualTo(3);
  }

  @ParameterizedTest
  @ValueSource(strings = {"0", "-1", "257", "two", "1 ", "99999999999"})
  void aWrongNumberOfThreadsIsRefusedWhenTheDeviceOpens(String setting) {
    assertThatThrownBy(() -> CpuDevice.open("scalar", setting, CpuTeam.PART_NANOS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("BATON_THREADS: " + setting + " (expected: threads of each rank, 1 to 256)");
  }

  @Test
  void smallWorkIsNotSharedAndLargeWorkIsCutFinerThanThreads() {
    try (CpuTeam team = new CpuTeam(0, 2, true, 8_000);
        CpuTeam alone = new CpuTeam(0, 1, true, 8_000)) {
      assertThat(team.parts(100, 15_999)).isEqualTo(1);
      assertThat(team.parts(100, 16_000)).isEqualTo(2);
      assertThat(team.parts(3, 1_000_000)).isEqualTo(3);
      assertThat(team.parts(0, 1_000_000)).isEqualTo(1);
      assertThat(team.parts(1000, 100_000)).isEqualTo(8);
      assertThat(team.parts(1000, 1_000_000)).isEqualTo(40);
      assertThat(team.parts(1000, 1_000_000_000)).isEqualTo(1000);
      assertThat(team.parts(1_000_000, 10_000_000_000L)).isEqualTo(65_534);
      assertThat(team.parts(1000, 375_000)).isEqualTo(14);
      assertThat(alone.parts(1000, 1_000_000_000)).isEqualTo(1);
    }
  }

  @Test
  void helpersStartWithTheFirstSharedWorkAndEndWithTheDevice() throws IOException {
    Assumptions.assumeTrue(Files.isDirectory(Path.of("/proc/self/task")));
    assertThat(helpers()).isEmpty();
    try (Device device = CpuDevice.open("scalar", "3", CpuTeam.PART_NANOS)) {
      Ops ops = device.openRanks(1).getFirst();
      Tensor x = device.allocate(DType.FLOAT32, 1, 16);
      ops.add(x, x, 1, 16);
      assertThat(helpers()).isEmpty();
      Tensor large = device.allocate(DType.FLOAT32, 1000, 1000);
      ops.add(large, large, 1000, 1000);
      assertThat(helpers()).hasSize(2);
    }
    // A kernel may forget a thread a moment after it can be joined.
    long begun = System.nanoTime();
    while (!helpers().isEmpty()) {
      assertThat(Duration.ofNanos(System.nanoTime() - begun))
          .as("time that %s take to end", helpers())
          .isLessThan(Duration.ofSeconds(10));
      Thread.yield();
    }
  }

  private static List<String> helpers() throws IOException {
    List<String> names = new ArrayList<>();
    try (var tasks = Files.newDirectoryStream(Path.of("/proc/self/task"))) {
      for (Path task : tasks) {
        String name = name(task);
        if (name.startsWith("baton-r")) {
          names.add(name);
        }
      }
    }
    return names;
  }

  private static String name(Path task) throws IOException {
    try {
      return Files.readString(task.resolve("comm")).strip();
    } catch (NoSuchFileException e) {
      return ""; // ended meanwhile
    }
  }
}

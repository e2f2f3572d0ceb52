package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.Device;
import dev.baton.device.host.NativeLibrary;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which tier is taken, and how the library gets to its place. */
class CpuTierTest {

  @Test
  void takesTheFastestTierOfTheProcessorAndSaysWhy() throws Exception {
    Path cpuinfo = Path.of("/proc/cpuinfo");
    Assumptions.assumeTrue(
        Files.isReadable(cpuinfo) && NativeLibrary.platform().equals("linux-x86_64"));
    Set<String> flags =
        Files.readAllLines(cpuinfo).stream()
            .filter(line -> line.startsWith("flags"))
            .findFirst()
            .map(line -> Set.of(line.substring(line.indexOf(':') + 1).strip().split(" +")))
            .orElseThrow();
    String expected = "scalar";
    if (flags.containsAll(List.of("avx2", "fma"))) {
      expected = flags.contains("avx_vnni") ? "avx_vnni" : "avx2";
      if (flags.containsAll(
          List.of("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"))) {
        expected = "avx512";
        // The system may still refuse tiles; whether it does is the library's to ask.
        if (flags.containsAll(List.of("amx_tile", "amx_bf16"))
            && CpuDevice.runningTiers().contains("amx")) {
          expected = "amx";
        }
      }
    }
    try (Device device = CpuDevice.open("", "", CpuTeam.PART_NANOS)) {
      assertThat(device.description()).contains("cpu: " + expected + " kernels (the fastest of [");
    }
    // Matrix units are emulated wherever that can be, so that tests of all tiers reach their
    // kernels.
    assertThat(CpuDevice.runningTiers().contains("amx_emulated"))
        .isEqualTo(expected.matches("avx512|amx") && flags.contains("avx512_bf16"));
  }

  @Test
  void aForcedTierIsTakenAndSaysSo() {
    try (Device scalar = CpuDevice.open("scalar", "", CpuTeam.PART_NANOS);
        Device reference = CpuDevice.open("reference", "", CpuTeam.PART_NANOS)) {
      assertThat(scalar.description()).contains("scalar kernels (forced by BATON_ISA");
      assertThat(reference.description()).contains("plain Java reference");
    }
  }

  @Test
  void aTierThatDoesNotExistIsRefusedWithTheChoices() {
    assertThatThrownBy(() -> CpuDevice.open("sse9", "", CpuTeam.PART_NANOS))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("BATON_ISA: sse9 (expected: reference or one of [scalar");
  }

  @Test
  void aTierThatTheProcessorLacksIsRefused() {
    assertThatThrownBy(() -> CpuDevice.requireRunning("avx512", List.of("scalar", "avx2")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage(
            "BATON_ISA: avx512 (expected: one that this processor runs, reference or one of"
                + " [scalar, avx2])");
  }

  @Test
  void processesThatStartAtOnceGetTheSameWholeLibrary(@TempDir Path directory) throws Exception {
    byte[] content = "a library".repeat(100_000).getBytes(StandardCharsets.UTF_8);
    try (ExecutorService threads = Executors.newFixedThreadPool(8)) {
      Callable<Path> start = () -> CpuDevice.KERNELS.keep(directory, content);
      for (Future<Path> file : threads.invokeAll(java.util.Collections.nCopies(32, start))) {
        assertThat(Files.readAllBytes(file.get())).isEqualTo(content);
      }
    }
    try (var left = Files.walk(directory)) {
      assertThat(left.filter(Files::isRegularFile)).hasSize(1);
    }
  }

  @Test
  void aDamagedLibraryInTheCacheIsReplaced(@TempDir Path directory) throws Exception {
    byte[] content = {1, 2, 3};
    Files.write(CpuDevice.KERNELS.keep(directory, content), new byte[] {9, 9, 9});
    assertThat(Files.readAllBytes(CpuDevice.KERNELS.keep(directory, content))).isEqualTo(content);
  }
}

package dev.baton.device.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class RaplTest {

  @TempDir Path directory;

  private void zone(String zone, String name, long microjoules) throws IOException {
    Path own = Files.createDirectories(directory.resolve(zone));
    Files.writeString(own.resolve("name"), name + "\n");
    Files.writeString(own.resolve("max_energy_range_uj"), "9000000\n");
    Files.writeString(own.resolve("energy_uj"), microjoules + "\n");
  }

  @Test
  void countsAllPackagesAndGoesOnWhenACounterBeginsAnew() throws IOException {
    zone("intel-rapl:0", "package-0", 8_000_000);
    zone("intel-rapl:1", "package-1", 1_000_000);
    zone("intel-rapl:0:0", "core", 500_000);
    Rapl rapl = new Rapl(directory);
    assertEquals(0, rapl.joules());
    zone("intel-rapl:1", "package-1", 3_500_000);
    zone("intel-rapl:0:0", "core", 900_000);
    assertEquals(2.5, rapl.joules());
    zone("intel-rapl:0", "package-0", 500_000);
    assertEquals(4, rapl.joules());
  }

  @Test
  void knowsNothingWhereNoCounterCanBeRead() throws IOException {
    assertEquals(-1, new Rapl(directory).joules());
    assertEquals(-1, new Rapl(directory.resolve("absent")).joules());
    zone("intel-rapl:0", "package-0", 7);
    Files.delete(directory.resolve("intel-rapl:0/energy_uj"));
    assertEquals(-1, new Rapl(directory).joules());
  }
}

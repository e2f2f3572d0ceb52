package dev.baton.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class BusyProcessesTest {

  @Test
  void runUntilTheyAreClosed() {
    BusyProcesses busy = BusyProcesses.start(2);
    assertThat(busy.alive()).isEqualTo(2);
    busy.close();
    assertThat(busy.alive()).isZero();
  }

  @Test
  void noneAreNone() {
    try (BusyProcesses busy = BusyProcesses.start(0)) {
      assertThat(busy.alive()).isZero();
    }
  }

  @Test
  void takeProcessorTime() throws Exception {
    List<ProcessHandle> before = ProcessHandle.current().children().toList();
    try (BusyProcesses busy = BusyProcesses.start(1)) {
      ProcessHandle loop =
          ProcessHandle.current()
              .children()
              .filter(child -> !before.contains(child))
              .findFirst()
              .orElseThrow();
      CompletableFuture<Void> worked =
          CompletableFuture.runAsync(
              () -> {
                while (loop.info().totalCpuDuration().orElse(Duration.ofDays(1)).toMillis() < 20) {
                  Thread.onSpinWait();
                }
              });
      worked.get(60, TimeUnit.SECONDS);
      assertThat(busy.alive()).isEqualTo(1);
    }
  }
}

package dev.baton.worker;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceHealth.Chip;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

class HealthWatchTest {

  private final AtomicReference<DeviceHealth> seen = new AtomicReference<>(DeviceHealth.UNKNOWN);

  private static DeviceHealth gpu(List<String> sick) {
    return new DeviceHealth(List.of(new Chip("GPU 0", 60, 400, 1e6, 0, List.of("heat"), sick)));
  }

  @Test
  void tellsOfASickChipOnceItIsSeenAndKeepsWhatWasSeen() {
    try (HealthWatch watch = new HealthWatch(seen::get, Duration.ofDays(1))) {
      watch.look();
      seen.set(gpu(List.of()));
      watch.look();
      assertThat(watch.sick().toCompletableFuture()).isNotDone();
      seen.set(gpu(List.of("XID 79")));
      watch.look();
      assertThat(watch.sick().toCompletableFuture()).isCompletedWithValue("GPU 0: XID 79");
      assertThat(watch.last()).isEqualTo(seen.get());
    }
  }
}

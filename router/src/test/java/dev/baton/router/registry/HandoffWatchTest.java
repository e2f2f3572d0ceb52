package dev.baton.router.registry;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class HandoffWatchTest {

  private static final long SECOND = TimeUnit.SECONDS.toNanos(1);

  private final HandoffWatch watch = new HandoffWatch();
  private long now = -SECOND;

  /** Hand-offs that begin now and fail a second later. */
  private long failed(int together) {
    long begun = now;
    now += SECOND;
    long pause = 0;
    for (int i = 0; i < together; i++) {
      pause += watch.failed(begun, now);
    }
    return pause;
  }

  @Test
  void manyThatFailTogetherAreOneAccident() {
    assertThat(failed(100)).isZero();
    assertThat(failed(100)).isZero();
    assertThat(watch.paused()).isFalse();
  }

  @Test
  void threeInARowMakeAPauseAndThenOneTry() {
    failed(1);
    failed(1);
    assertThat(failed(1)).isEqualTo(HandoffWatch.PAUSE_NANOS);
    assertThat(watch.paused()).isTrue();
    now += HandoffWatch.PAUSE_NANOS - 1;
    assertThat(watch.resume(now)).isFalse();
    now++;
    assertThat(watch.resume(now)).isTrue();
    assertThat(watch.paused()).isFalse();
    assertThat(failed(1)).isEqualTo(2 * HandoffWatch.PAUSE_NANOS);
    assertThat(watch.paused()).isTrue();
  }

  @Test
  void pausesGrowToAMinuteAtMost() {
    long longest = 0;
    for (int i = 0; i < 20; i++) {
      longest = Math.max(longest, failed(1));
      now += HandoffWatch.MOST_NANOS;
      watch.resume(now);
    }
    assertThat(longest).isEqualTo(HandoffWatch.MOST_NANOS);
  }

  @Test
  void oneThatArrivesEndsAllSuspicion() {
    failed(1);
    failed(1);
    watch.arrived();
    assertThat(failed(1)).isZero();
    failed(1);
    assertThat(failed(1)).isEqualTo(HandoffWatch.PAUSE_NANOS);
    watch.arrived();
    assertThat(watch.paused()).isFalse();
    assertThat(failed(1)).isZero();
  }
}

package dev.baton.engine.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PaceTest {

  private static final long MILLI = 1_000_000;

  private final Pace pace = new Pace(200);

  @Test
  void aFirstChunkBesideDecodesIsShort() {
    assertThat(pace.chunkBesideDecodes()).isEqualTo(Pace.LEAST_CHUNK);
  }

  @Test
  void chunksComeToFillTheBoundAndFollowTheMachine() {
    settle(50, 1);
    assertThat(pace.chunkBesideDecodes()).isBetween(140, 150);
    settle(50, 3);
    assertThat(pace.chunkBesideDecodes()).isBetween(46, 52);
  }

  @Test
  void slowDecodesLeaveAPrefillAsMuchTimeAsTheyTake() {
    settle(1000, 5);
    assertThat(pace.chunkBesideDecodes()).isBetween(190, 200);
  }

  @Test
  void aSlowMachineStillComputesSomething() {
    settle(100, 50);
    assertThat(pace.chunkBesideDecodes()).isEqualTo(Pace.LEAST_CHUNK);
  }

  @Test
  void oneLuckyMeasurementDoesNotMakeALongChunk() {
    pace.ran(1, 0, 50 * MILLI);
    pace.ran(1, 32, 50 * MILLI);
    assertThat(pace.chunkBesideDecodes()).isEqualTo(64);
  }

  @Test
  void withoutABoundTheBudgetDecides() {
    assertThat(new Pace(0).chunkBesideDecodes()).isEqualTo(Integer.MAX_VALUE);
  }

  @Test
  void copiesWhatTakesLongerToCompute() {
    assertThat(pace.copyIsCheaper(1 << 20, 100)).as("nothing measured").isTrue();
    for (int i = 0; i < 50; i++) {
      pace.ran(0, 100, 100 * MILLI);
      pace.copied(1_000_000, MILLI);
    }
    // A token takes a millisecond; a megabyte there and back takes two.
    assertThat(pace.copyIsCheaper(1_000_000, 3)).isTrue();
    assertThat(pace.copyIsCheaper(1_000_000, 1)).isFalse();
  }

  @Test
  void copiesBackTakeSomeTimeOfAStepHoweverLongItIs() {
    for (int i = 0; i < 50; i++) {
      pace.copied(1_000_000, MILLI);
    }
    assertThat(pace.copiesBefore(1, 0, 1_000_000)).as("nothing known of steps").isEqualTo(2);
    pace.ran(1, 0, 4 * MILLI);
    assertThat(pace.copiesBefore(1, 0, 1_000_000)).isEqualTo(2);
    settle(80, 1);
    assertThat(pace.copiesBefore(1, 0, 1_000_000)).isEqualTo(10);
    assertThat(pace.copiesBefore(1, 160, 1_000_000)).isEqualTo(30);
    assertThat(pace.copiesBefore(0, 0, 1_000_000)).isEqualTo(2);
    assertThat(pace.copiesBefore(1, 0, 1_000_000_000)).as("one at least").isEqualTo(1);
  }

  /** Many steps of one decode of so many milliseconds, and chunks at so many a token. */
  private void settle(long decodeMillis, long tokenMillis) {
    for (int i = 0; i < 100; i++) {
      pace.ran(1, 0, decodeMillis * MILLI);
      int chunk = pace.chunkBesideDecodes();
      pace.ran(1, chunk, (decodeMillis + chunk * tokenMillis) * MILLI);
    }
  }
}

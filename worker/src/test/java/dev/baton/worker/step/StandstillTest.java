package dev.baton.worker.step;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class StandstillTest {

  private static final long MILLI = 1_000_000;

  private final Standstill standstill = new Standstill();
  private long now = 77 * MILLI;

  private long look(long progress, long beats, boolean worked, int millis) {
    now += millis * MILLI;
    return standstill.look(true, progress, beats, worked, now) / MILLI;
  }

  @Test
  void addsUpWhileThereIsNoSignOfWork() {
    look(5, 1, false, 200);
    assertThat(look(5, 1, false, 200)).isEqualTo(200);
    assertThat(look(5, 1, false, 200)).isEqualTo(400);
    assertThat(look(5, 1, false, 210)).isEqualTo(610);
  }

  @Test
  void endsWithProgressWithAnAnswerAndWithWork() {
    look(5, 1, false, 200);
    look(5, 1, false, 200);
    assertThat(look(6, 1, false, 200)).as("progress").isZero();
    look(6, 1, false, 200);
    assertThat(look(6, 2, false, 200)).as("an answer").isZero();
    look(6, 2, false, 200);
    assertThat(look(6, 2, true, 200)).as("a thread that runs").isZero();
    assertThat(look(6, 2, false, 200)).isEqualTo(200);
  }

  @Test
  void aWorkerWithNothingToDoMaySleep() {
    look(5, 1, false, 200);
    now += 200 * MILLI;
    assertThat(standstill.look(false, 5, 1, false, now)).isZero();
    assertThat(look(5, 1, false, 200)).isEqualTo(200);
  }

  @Test
  void aPauseOfTheWholeProcessTellsLittle() {
    look(5, 1, false, 200);
    assertThat(look(5, 1, false, 60_000)).isEqualTo(300);
  }
}

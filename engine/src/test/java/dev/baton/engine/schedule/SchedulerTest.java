package dev.baton.engine.schedule;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.schedule.Session.Kind;
import dev.baton.engine.schedule.Session.State;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class SchedulerTest extends SchedulerFixture {

  @Test
  void decodingSessionsGetTheirTokenFirstAndPrefillsShareTheRest() {
    Session decoding = enqueue("decoding", 10);
    assertThat(step()).containsExactly("decoding 10");
    enqueue("long", 100);
    enqueue("next", 50);
    assertThat(step()).containsExactly("decoding 1", "long 20", "next 11");
    assertThat(decoding.length()).isEqualTo(12);
  }

  @Test
  void aPrefillGetsAtMostOneChunkAStepAndItsLastChunkIsShorter() {
    enqueue("a", 45);
    assertThat(step()).containsExactly("a 20");
    assertThat(step()).containsExactly("a 20");
    assertThat(step()).containsExactly("a 5");
    assertThat(step()).containsExactly("a 1");
  }

  @Test
  void thoseWhoCameFirstGoFirst() {
    enqueue("first", 30);
    enqueue("second", 30);
    assertThat(step()).containsExactly("first 20", "second 12");
    assertThat(step()).containsExactly("first 10", "second 18");
  }

  @Test
  void largerPriorityGoesBeforeEarlierArrival() {
    enqueue("early", 30);
    enqueue("urgent", 30, 5, Kind.GENERATE, 50);
    assertThat(step()).containsExactly("urgent 20", "early 12");
  }

  @Test
  void noMoreSessionsRunThanThereAreSlots() {
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 2, 32, _ -> {});
    Session a = enqueue("a", 3);
    enqueue("b", 3);
    enqueue("c", 3);
    assertThat(step()).containsExactly("a 3", "b 3");
    scheduler.end(a);
    assertThat(step()).containsExactly("b 1", "c 3");
  }

  @Test
  void neverMoreSessionsThanTokensOfAStepSoThatAPrefillAlwaysMovesOn() {
    scheduler = new Scheduler(pool, swap, pace, 2, 20, 8, 32, _ -> {});
    enqueue("a", 1);
    enqueue("b", 1);
    enqueue("c", 1);
    assertThat(step()).containsExactly("a 1", "b 1");
    assertThat(step()).containsExactly("a 1", "b 1");
  }

  @Test
  void aSessionIsAdmittedOnlyWithBlocksForItsContextAndTheNextToken() {
    poolOf(2);
    // 32 tokens fill two blocks; the 33rd needs a third, which the pool can never give.
    assertThat(scheduler.canEverFit(session("a", 32, 0, Kind.GENERATE, 2))).isFalse();
    assertThat(scheduler.canEverFit(session("b", 32, 0, Kind.GENERATE, 1))).isTrue();
    Session held = enqueue("held", 15, 0, Kind.PREFILL, 1);
    step();
    scheduler.hold(held);
    enqueue("waits", 16);
    assertThat(step()).isEmpty();
    scheduler.end(held);
    assertThat(step()).containsExactly("waits 16");
  }

  @Test
  void theQueueWaitsBehindItsHead() {
    poolOf(5);
    Session running = enqueue("running", 20, 0, Kind.GENERATE, 10);
    step();
    enqueue("big", 40);
    enqueue("small", 1);
    assertThat(step()).containsExactly("running 1");
    scheduler.end(running);
    assertThat(step()).containsExactly("big 20", "small 1");
  }

  @Test
  void whenBlocksRunOutTheLastToArriveGivesItsBlocksBackAndIsNextInTheQueue() {
    poolOf(5);
    Session first = enqueue("first", 15);
    Session second = enqueue("second", 15);
    Session third = enqueue("third", 1);
    runUntilPreempted();

    assertThat(first.state()).isEqualTo(State.RUNNING);
    assertThat(second.state()).isEqualTo(State.RUNNING);
    assertThat(third.state()).isEqualTo(State.WAITING);
    assertThat(third.table().count()).isZero();
    assertThat(third.computed()).isZero();

    enqueue("fourth", 1);
    scheduler.end(first);
    // Its first block may still be in the prefix cache; what that lacks is computed again.
    int missing = third.length() - BLOCK;
    assertThat(step()).startsWith("second 1", "third " + missing);
  }

  @Test
  void aLowerPriorityIsPreemptedBeforeALaterArrival() {
    poolOf(5);
    Session low = enqueue("low", 15, -1, Kind.GENERATE, 60);
    enqueue("first", 15);
    enqueue("second", 1);
    runUntilPreempted();
    assertThat(low.state()).isEqualTo(State.WAITING);
  }

  @Test
  void prefillsWhoseBlocksAreBeingReadAreNeverPreempted() {
    poolOf(3);
    Session decoding = enqueue("decoding", 15);
    Session prefill = enqueue("prefill", 16, 0, Kind.PREFILL, 1);
    step();
    scheduler.hold(prefill);
    while (decoding.state() == State.RUNNING) {
      step();
    }
    assertThat(decoding.state()).isEqualTo(State.WAITING);
    assertThat(prefill.table().count()).isEqualTo(1);
    scheduler.end(prefill);
    assertThat(step()).isNotEmpty();
  }

  @Test
  void aLargerPriorityTakesTheBlocksOfSmallerOnesAtOnce() {
    poolOf(6);
    Session low = enqueue("low", 30, -1, Kind.GENERATE, 20);
    Session normal = enqueue("normal", 30);
    step();
    step();
    Session urgent = enqueue("urgent", 25, 2, Kind.GENERATE, 10);
    assertThat(step()).startsWith("normal 1", "urgent 20");
    assertThat(low.state()).isEqualTo(State.WAITING);
    assertThat(normal.state()).isEqualTo(State.RUNNING);
    assertThat(urgent.state()).isEqualTo(State.RUNNING);
  }

  @Test
  void aLargerPriorityTakesASlot() {
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 2, 32, _ -> {});
    enqueue("a", 3);
    Session b = enqueue("b", 3);
    step();
    enqueue("equal", 3);
    assertThat(step()).containsExactly("a 1", "b 1");
    enqueue("urgent", 3, 1, Kind.GENERATE, 60);
    assertThat(step()).containsExactly("a 1", "urgent 3");
    assertThat(b.state()).isEqualTo(State.WAITING);
  }

  @Test
  void nobodyIsPreemptedInVain() {
    poolOf(6);
    Session held = enqueue("held", 3 * BLOCK, 5, Kind.PREFILL, 1);
    for (int i = 0; i < 3; i++) {
      step();
    }
    scheduler.hold(held);
    enqueue("low", 10, -1, Kind.GENERATE, 20);
    step();
    enqueue("urgent", 5 * BLOCK, 2, Kind.GENERATE, 5);
    assertThat(step()).containsExactly("low 1");
    assertThat(scheduler.preemptions()).isZero();
  }

  @Test
  void aReservationOfLargerPriorityIsGivenRoom() {
    poolOf(4);
    Session low = enqueue("low", 2 * BLOCK, -1, Kind.GENERATE, 20);
    step();
    Session importer = session("importer", 3 * BLOCK, 0, Kind.HANDOFF, 5);
    assertThat(scheduler.reserve(importer)).isTrue();
    assertThat(low.state()).isEqualTo(State.WAITING);
  }

  @Test
  void aSmallPriorityIsServedThoughLargeOnesNeverStopComing() {
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 1, 32, _ -> {});
    Session low = enqueue("low", 3, 0, Kind.GENERATE, 5);
    int steps = 0;
    for (; low.state() != State.ENDED && steps < 3 * Scheduler.AGING_STEPS; steps++) {
      while (scheduler.waitingSessions() < 3) {
        enqueue("urgent" + sessions.size(), 3, 1, Kind.GENERATE, 4);
      }
      step();
    }
    assertThat(steps).isBetween(Scheduler.AGING_STEPS / 2, Scheduler.AGING_STEPS + 40);
  }

  @Test
  void aShortPromptIsNotBehindAllOfALongOne() {
    scheduler = new Scheduler(pool, swap, pace, 32, 0, 8, 32, _ -> {});
    enqueue("long", 400);
    assertThat(step()).containsExactly("long 32");
    enqueue("short", 10);
    assertThat(step()).containsExactly("long 22", "short 10");
    assertThat(step()).containsExactly("short 1", "long 31");
  }

  @Test
  void besideDecodesAChunkIsAsLongAsThePaceAllows() {
    Pace slow = new Pace(1);
    stepTokens = 64;
    scheduler = new Scheduler(pool, swap, slow, stepTokens, 0, 8, stepTokens, _ -> {});
    enqueue("talks", 10);
    assertThat(step()).containsExactly("talks 10");
    slow.ran(0, 64, 64_000_000);
    enqueue("long", 200);
    assertThat(step()).containsExactly("talks 1", "long " + Pace.LEAST_CHUNK);
  }

  @Test
  void everybodyComesToTheEndInAPoolThatHoldsHardlyMoreThanOne() {
    poolOf(5);
    List<Session> all = new ArrayList<>();
    for (int i = 0; i < 12; i++) {
      all.add(enqueue("s" + i, 1 + 3 * i, i % 3, Kind.GENERATE, 40));
    }
    for (int steps = 0;
        steps < 3000 && scheduler.runningSessions() + scheduler.waitingSessions() > 0;
        steps++) {
      step();
    }
    assertThat(all).allMatch(session -> session.state() == State.ENDED);
    assertThat(scheduler.preemptions()).isPositive();
  }

  @Test
  void aSessionThatEndsFreesItsBlocksAtOnceWhereverItIs() {
    poolOf(4);
    Session running = enqueue("running", 10);
    Session chunked = enqueue("chunked", 30);
    Session waiting = enqueue("waiting", 60);
    step();
    scheduler.end(waiting);
    scheduler.end(chunked);
    scheduler.end(running);
    assertThat(pool.snapshot().owned()).isZero();
    assertThat(scheduler.queuedTokens()).isZero();
    assertThatThrownBy(() -> scheduler.end(running)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aReservationLeavesTheQueuesHeadWhatItWaitsFor() {
    poolOf(6);
    Session held = enqueue("held", 3 * BLOCK, 0, Kind.PREFILL, 1);
    for (int i = 0; i < 3; i++) {
      step();
    }
    scheduler.hold(held);
    enqueue("head", 4 * BLOCK - 1);
    step();

    assertThat(scheduler.reserve(session("importer", BLOCK, 0, Kind.HANDOFF, 1))).isFalse();
    scheduler.end(held);
    assertThat(step()).containsExactly("head 20");
  }

  @Test
  void aReservationTakesASlot() {
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 1, 32, _ -> {});
    Session importer = session("importer", 5, 0, Kind.HANDOFF, 5);
    assertThat(scheduler.reserve(importer)).isTrue();
    assertThat(scheduler.reserve(session("second", 5, 0, Kind.HANDOFF, 5))).isFalse();
    enqueue("waits", 5);
    assertThat(step()).isEmpty();
    scheduler.end(importer);
    assertThat(step()).containsExactly("waits 5");
  }

  @Test
  void aStartedReservationDecodesWithoutAPrefill() {
    Session importer = session("importer", 40, 0, Kind.HANDOFF, 5);
    assertThat(scheduler.reserve(importer)).isTrue();
    assertThat(pool.snapshot().reserved()).isEqualTo(3);
    assertThat(step()).isEmpty();

    scheduler.start(importer, importer.computed());
    importer.append(9);

    assertThat(pool.snapshot().owned()).isEqualTo(3);
    assertThat(step()).containsExactly("importer 1");
  }

  @Test
  void queuedTokensAreThoseStillToBeComputed() {
    enqueue("a", 30);
    enqueue("b", 50);
    assertThat(scheduler.queuedTokens()).isEqualTo(80);
    step();
    assertThat(scheduler.queuedTokens()).isEqualTo(48);
    step();
    step();
    assertThat(scheduler.queuedTokens()).isZero();
  }
}

package dev.baton.engine.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.schedule.Session.Kind;
import dev.baton.engine.schedule.Session.State;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** KV that is copied away and back while others decode. */
class SwappingTest extends SchedulerFixture {

  private final Pace slow = slow();

  /** Blocks copied back. */
  private int brought;

  @Test
  void whatWasCopiedAwayGoesOnWhereItWas() {
    poolOf(5);
    swap = new SwapSpace(100, 1, BLOCK, new NoCopies(), System::nanoTime);
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 8, 32, _ -> {});
    Session first = enqueue("first", 15);
    Session second = enqueue("second", 15);
    Session third = enqueue("third", 1);
    runUntilPreempted();
    assertThat(third.state()).isEqualTo(State.WAITING);
    assertThat(third.computed()).isEqualTo(third.length() - 1);
    assertThat(swap.used()).isEqualTo(Math.ceilDiv(third.computed(), BLOCK));
    assertThat(scheduler.swaps()).isEqualTo(1);

    scheduler.end(first);
    assertThat(step()).containsExactly("second 1", "third 1");
    assertThat(swap.used()).isZero();
    assertThat(second.state()).isEqualTo(State.RUNNING);
  }

  @Test
  void whoIsNextToBePreemptedIsCopiedAheadWhileItGoesOn() {
    Session last = twoOfWhichTheLastIsCopiedAhead();
    assertThat(last.state()).isEqualTo(State.RUNNING);
    int before = swap.used();
    runUntilPreempted();
    assertThat(last.state()).isEqualTo(State.WAITING);
    assertThat(swap.tokens(last.id())).isEqualTo(last.computed());
    assertThat(swap.used()).isEqualTo(Math.ceilDiv(last.computed(), BLOCK));
    assertThat(before).as("full blocks, copied before").isEqualTo(last.computed() / BLOCK);
  }

  @Test
  void whoLeavesWhileItIsCopiedAheadLeavesNothingBehind() {
    Session last = twoOfWhichTheLastIsCopiedAhead();
    scheduler.end(last);
    assertThat(swap.used()).isZero();
    checkIntegrity();
  }

  @Test
  void whereAllHaveRoomToTheirEndNothingIsCopiedAhead() {
    poolOf(9);
    swap = new SwapSpace(100, 1, BLOCK, new NoCopies(), System::nanoTime);
    scheduler = new Scheduler(pool, swap, slow, 256, 0, 8, 256, _ -> {});
    stepTokens = 256;
    Session first = enqueue("first", 3 * BLOCK, 0, Kind.GENERATE, BLOCK + 1);
    Session last = enqueue("last", 4 * BLOCK - 4, 0, Kind.GENERATE, BLOCK + 5);
    while (first.state() != State.ENDED || last.state() != State.ENDED) {
      step();
      assertThat(swap.used()).isZero();
    }
    assertThat(scheduler.preemptions()).isZero();
  }

  /** Copies are so slow that a step has time for one block. */
  private Session twoOfWhichTheLastIsCopiedAhead() {
    poolOf(9);
    swap = new SwapSpace(100, 1, BLOCK, new NoCopies(), System::nanoTime);
    scheduler = new Scheduler(pool, swap, slow, 256, 0, 8, 256, _ -> {});
    stepTokens = 256;
    enqueue("first", 3 * BLOCK);
    Session last = enqueue("last", 4 * BLOCK - 4);
    for (int steps = 0; steps < 12; steps++) {
      step();
    }
    assertThat(scheduler.preemptions()).isZero();
    assertThat(swap.used()).isEqualTo(4);
    return last;
  }

  @Test
  void whoLeavesWhileItsKvIsAwayLeavesNothingBehind() {
    poolOf(5);
    swap = new SwapSpace(100, 1, BLOCK, new NoCopies(), System::nanoTime);
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 8, 32, _ -> {});
    enqueue("first", 15);
    enqueue("second", 15);
    Session third = enqueue("third", 1);
    runUntilPreempted();
    scheduler.end(third);
    assertThat(swap.used()).isZero();
    assertThat(scheduler.queuedTokens()).isZero();
  }

  @Test
  void comesBackABlockAStepWhileOthersDecode() {
    Session last = lastIsAwayAndThereIsRoom();
    int blocks = Math.ceilDiv(last.computed(), BLOCK);
    int pages = swap.used();
    assertThat(step()).containsExactly("talks 1");
    assertThat(last.state()).isEqualTo(State.RETURNING);
    assertThat(brought).isEqualTo(1);
    int left = blocks - last.table().shared() - 1;
    assertThat(left).isGreaterThan(2);
    for (; left > 1; left--) {
      int before = brought;
      assertThat(step()).containsExactly("talks 1");
      assertThat(brought - before).isEqualTo(1);
      assertThat(swap.used()).as("until all is there").isEqualTo(pages);
    }
    assertThat(step()).containsExactly("talks 1", "last 1");
    assertThat(last.state()).isEqualTo(State.RUNNING);
    assertThat(swap.used()).isZero();
    assertThat(scheduler.preemptions()).isEqualTo(1);
  }

  @Test
  void comesBackAtOnceWhenNobodyWaitsForIt() {
    Session last = lastIsAwayAndThereIsRoom();
    scheduler.end(talks());
    assertThat(step()).containsExactly("last 1");
    assertThat(last.state()).isEqualTo(State.RUNNING);
    assertThat(brought).isGreaterThan(2);
  }

  @Test
  void whatIsNotBackYetAtTheEndOfTheOthersComesAtOnce() {
    lastIsAwayAndThereIsRoom();
    step();
    step();
    scheduler.end(talks());
    assertThat(step()).containsExactly("last 1");
    assertThat(swap.used()).isZero();
  }

  @Test
  void aNewPromptIsNotWhyAReturningSessionWaits() {
    lastIsAwayAndThereIsRoom();
    scheduler.end(talks());
    enqueue("new", 10);
    assertThat(step()).containsExactly("last 1", "new 10");
  }

  @Test
  void besideLongStepsMoreComesBack() {
    Session last = lastIsAwayAndThereIsRoom();
    // A step takes as long as 32 copies; an eighth of that is four.
    slow.ran(1, 0, 32_000_000_000L);
    step();
    assertThat(brought).isEqualTo(4);
    assertThat(last.state()).isEqualTo(State.RETURNING);
  }

  @Test
  void nobodyFindsWhatIsNotBackYet() {
    Session last = lastIsAwayAndThereIsRoom();
    step();
    step();
    int shared = last.table().shared();
    Session twin = session("twin", 3 * BLOCK, 0, Kind.PREFILL, 1);
    System.arraycopy(last.tokens(), 0, twin.tokens(), 0, 3 * BLOCK);
    assertThat(shared).isLessThan(3);
    assertThat(scheduler.pin(twin)).isEqualTo(shared * BLOCK);
    while (last.state() == State.RETURNING) {
      step();
    }
    step();
    Session later = session("later twin", 3 * BLOCK, 0, Kind.PREFILL, 1);
    System.arraycopy(last.tokens(), 0, later.tokens(), 0, 3 * BLOCK);
    assertThat(scheduler.pin(later)).isEqualTo(3 * BLOCK);
  }

  @Test
  void whoIsPreemptedOnItsWayBackLosesNothingAndComesBackWhole() {
    Session last = lastIsAwayAndThereIsRoom();
    int computed = last.computed();
    int pages = swap.used();
    step();
    step();
    assertThat(last.state()).isEqualTo(State.RETURNING);
    Session urgent = enqueue("urgent", 6 * BLOCK, 5, Kind.PREFILL, 1);
    assertThat(step()).containsExactly("talks 1", "urgent 96");
    assertThat(last.state()).isEqualTo(State.WAITING);
    assertThat(last.computed()).isEqualTo(computed);
    assertThat(last.table().count()).isZero();
    assertThat(swap.used()).isEqualTo(pages);
    assertThat(scheduler.preemptions()).isEqualTo(2);
    assertThat(scheduler.swaps()).isEqualTo(2);

    scheduler.hold(urgent);
    scheduler.end(urgent);
    int before = brought;
    step();
    int blocks = Math.ceilDiv(computed, BLOCK) - last.table().shared();
    for (int steps = 1; last.state() == State.RETURNING && steps < 20; steps++) {
      step();
    }
    assertThat(last.state()).isEqualTo(State.RUNNING);
    assertThat(brought - before).isEqualTo(blocks);
  }

  @Test
  void whoLeavesOnItsWayBackLeavesNothingBehind() {
    Session last = lastIsAwayAndThereIsRoom();
    step();
    step();
    scheduler.end(last);
    assertThat(swap.used()).isZero();
    checkIntegrity();
    assertThat(step()).containsExactly("talks 1");
  }

  @Test
  void whoIsInDoubtOnItsWayBackLeavesNothingBehind() {
    Session last = lastIsAwayAndThereIsRoom();
    step();
    scheduler.endUntrusted(last);
    assertThat(swap.used()).isZero();
    checkIntegrity();
  }

  @Test
  void ofThoseThatReturnTheFirstInOrderIsServedFirst() {
    List<Session> away = awayAndThereIsRoom(2, 7);
    Session first = away.get(0);
    Session second = away.get(1);
    step();
    assertThat(away).allMatch(session -> session.state() == State.RETURNING);
    int left = swap.leftToBring(second.table());
    while (first.state() == State.RETURNING) {
      assertThat(swap.leftToBring(second.table())).isEqualTo(left);
      assertThat(step()).startsWith("talks 1");
    }
    step();
    assertThat(swap.leftToBring(second.table())).isEqualTo(left - 1);
  }

  @Test
  void oneWhoseCopyTakesLongWaitsForMoreRoomAndNobodyTakesIt() {
    // Forty steps for forty blocks: the other one fills two more blocks of 16 tokens meanwhile.
    Session last = awayAndThereIsRoom(1, 40).getFirst();
    Session held = enqueue("held", 2 * BLOCK, 5, Kind.PREFILL, 1);
    step();
    scheduler.hold(held);
    assertThat(step()).containsExactly("talks 1");
    assertThat(pool.available()).isEqualTo(42);
    assertThat(last.state()).isEqualTo(State.WAITING);
    assertThat(scheduler.reserve(session("importer", 10, 0, Kind.HANDOFF, 2))).isFalse();
    scheduler.end(held);
    step();
    assertThat(last.state()).isEqualTo(State.RETURNING);
  }

  /** A copy of a block takes a second. */
  private static Pace slow() {
    Pace pace = new Pace(0);
    for (int i = 0; i < 200; i++) {
      pace.copied(1, 1_000_000_000);
    }
    return pace;
  }

  private Session talks() {
    return sessions.getFirst();
  }

  private Session lastIsAwayAndThereIsRoom() {
    return awayAndThereIsRoom(1, 7).getFirst();
  }

  /**
   * Sessions whose KV is in the swap space, nearly nothing of it in the prefix cache, and room for
   * all of them, beside one that decodes. A step has time to copy one block.
   */
  private List<Session> awayAndThereIsRoom(int count, int blocksEach) {
    int blocks = blocksEach * count + 2;
    poolOf(blocks + 4);
    swap = new SwapSpace(100, 1, BLOCK, new Counting(), System::nanoTime);
    stepTokens = 400;
    scheduler = new Scheduler(pool, swap, slow, stepTokens, 0, 8, stepTokens, _ -> {});
    enqueue("talks", BLOCK + 4);
    List<Session> away = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      away.add(
          enqueue(
              i == count - 1 ? "last" : "last but " + (count - 1 - i), blocksEach * BLOCK - 12));
    }
    do {
      step();
    } while (away.getLast().isPrefilling());
    Session urgent = enqueue("urgent at first", blocks * BLOCK, 5, Kind.PREFILL, 1);
    step();
    assertThat(away).allMatch(session -> session.state() == State.WAITING);
    assertThat(swap.sessions()).isEqualTo(count);
    scheduler.hold(urgent);
    scheduler.end(urgent);
    brought = 0;
    return away;
  }

  private final class Counting implements SwapSpace.Copier {
    @Override
    public void copyOut(int[] blocks, int from, int to, MemorySegment page) {}

    @Override
    public void copyIn(int[] blocks, int from, int to, MemorySegment page) {
      brought++;
    }
  }
}

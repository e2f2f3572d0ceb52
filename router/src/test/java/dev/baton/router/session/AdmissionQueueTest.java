package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

final class AdmissionQueueTest {

  private final AdmissionQueue queue = new AdmissionQueue(3);
  private final List<String> turns = new ArrayList<>();

  private record Waiting(String name, int priority, long sequence, List<String> turns)
      implements AdmissionQueue.Waiter {
    @Override
    public void turn() {
      turns.add(name);
    }
  }

  private Waiting waiter(String name, int priority, long sequence) {
    return new Waiting(name, priority, sequence, turns);
  }

  @Test
  void turnsGoByPriorityThenByArrival() {
    Waiting first = waiter("first", 0, 1);
    Waiting second = waiter("second", 0, 2);
    Waiting urgent = waiter("urgent", 5, 3);
    queue.park(second, false);
    queue.park(first, false);
    queue.park(urgent, false);
    queue.signal();
    queue.turnOver(urgent);
    queue.turnOver(first);
    assertThat(turns).containsExactly("urgent", "first", "second");
  }

  @Test
  void onlyOneTriesAtATime() {
    queue.park(waiter("a", 0, 1), false);
    queue.park(waiter("b", 0, 2), false);
    queue.signal();
    queue.signal();
    assertThat(turns).containsExactly("a");
  }

  @Test
  void whoFailsItsTurnStaysFirst() {
    Waiting a = waiter("a", 0, 1);
    queue.park(a, false);
    queue.park(waiter("b", 0, 2), false);
    queue.signal();
    assertThat(queue.park(a, false)).isTrue();
    queue.signal();
    assertThat(turns).containsExactly("a", "a");
  }

  @Test
  void fullQueueRefuses() {
    for (int i = 0; i < 3; i++) {
      assertThat(queue.park(waiter("w" + i, 0, i), false)).isTrue();
    }
    assertThat(queue.park(waiter("late", 0, 9), false)).isFalse();
    assertThat(queue.park(waiter("begun", 0, 10), true)).isTrue();
  }

  @Test
  void whoEndsWhileWaitingGetsNoTurn() {
    Waiting gone = waiter("gone", 0, 1);
    queue.park(gone, true);
    queue.turnOver(gone);
    queue.signal();
    assertThat(turns).isEmpty();
    assertThat(queue.busy()).isFalse();
  }
}

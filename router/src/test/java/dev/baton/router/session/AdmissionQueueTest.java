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
    queue.park(second);
    queue.park(first);
    queue.park(urgent);
    queue.signal();
    queue.turnOver(urgent);
    queue.turnOver(first);
    assertThat(turns).containsExactly("urgent", "first", "second");
  }

  @Test
  void onlyOneTriesAtATime() {
    queue.park(waiter("a", 0, 1));
    queue.park(waiter("b", 0, 2));
    queue.signal();
    queue.signal();
    assertThat(turns).containsExactly("a");
  }

  @Test
  void whoFailsItsTurnStaysFirst() {
    Waiting a = waiter("a", 0, 1);
    queue.park(a);
    queue.park(waiter("b", 0, 2));
    queue.signal();
    assertThat(queue.park(a)).isTrue();
    queue.signal();
    assertThat(turns).containsExactly("a", "a");
  }

  @Test
  void fullQueueRefuses() {
    for (int i = 0; i < 3; i++) {
      assertThat(queue.park(waiter("w" + i, 0, i))).isTrue();
    }
    assertThat(queue.park(waiter("late", 0, 9))).isFalse();
  }

  @Test
  void whoEndsWhileWaitingGetsNoTurn() {
    Waiting gone = waiter("gone", 0, 1);
    queue.park(gone);
    queue.turnOver(gone);
    queue.signal();
    assertThat(turns).isEmpty();
    assertThat(queue.busy()).isFalse();
  }
}

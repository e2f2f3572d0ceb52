package dev.baton.engine.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Ops;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.device.Tensor;
import dev.baton.device.reference.ReferenceDevice;
import dev.baton.engine.EngineException;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(300)
class RanksTest {

  private final Device device = ReferenceDevice.open();
  private final List<Ops> ops = device.openRanks(4);
  private final Ranks ranks = new Ranks(ops);

  @AfterEach
  void closeAndCountThreads() {
    ranks.close();
    device.close();
    assertThat(Thread.getAllStackTraces().keySet())
        .noneMatch(thread -> thread.getName().startsWith("baton-rank-"));
  }

  @Test
  void everyRankRunsEveryTaskOnItsOwnThreadAndTheFirstOnTheCallers() {
    Set<String> seen = ConcurrentHashMap.newKeySet();
    for (int round = 0; round < 1000; round++) {
      int number = round;
      ranks.runAll(rank -> seen.add(number + " " + rank + " " + Thread.currentThread().getName()));
    }
    String caller = Thread.currentThread().getName();
    assertThat(seen)
        .hasSize(4000)
        .contains("0 0 " + caller, "999 0 " + caller, "0 1 baton-rank-1", "999 3 baton-rank-3");
  }

  @Test
  void aFailureWakesRanksThatWaitForTheFailedOne() {
    List<Tensor> tensors =
        IntStream.range(0, 4).mapToObj(i -> device.allocate(DType.FLOAT32, 1, 16)).toList();
    AtomicInteger woken = new AtomicInteger();
    assertThatThrownBy(
            () ->
                ranks.runAll(
                    rank -> {
                      if (rank == 2) {
                        throw new IllegalStateException("kernel broke");
                      }
                      try {
                        ops.get(rank).allReduce(tensors.get(rank), 1, 16);
                      } finally {
                        woken.incrementAndGet();
                      }
                    }))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.INTERNAL))
        .hasMessageContaining("rank 2 of 4 failed")
        .hasMessageContaining("kernel broke")
        .hasCauseInstanceOf(IllegalStateException.class);
    assertThat(woken).hasValue(3);
    assertThatThrownBy(() -> ranks.runAll(rank -> {}))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("unusable")
        .hasMessageContaining("kernel broke");
  }

  @Test
  void anErrorWithAMeaningOfItsOwnComesOutAsItIs() {
    EngineException bad = new EngineException(EngineException.Kind.BAD_MODEL, "bad weights");
    assertThatThrownBy(
            () ->
                ranks.runAll(
                    rank -> {
                      throw bad;
                    }))
        .isSameAs(bad);
  }

  @Test
  void memoryThatDoesNotFitIsALackOfCapacity() {
    assertThatThrownBy(
            () ->
                ranks.runAll(
                    rank -> {
                      throw new OutOfDeviceMemoryException("KV: 3 GiB (expected: <= 1 GiB)");
                    }))
        .isInstanceOfSatisfying(
            EngineException.class,
            e -> assertThat(e.kind()).isEqualTo(EngineException.Kind.NO_CAPACITY))
        .hasMessageContaining("3 GiB");
  }

  @Test
  void anInterruptedCallerStillWaitsForAllRanksAndStaysInterrupted() {
    AtomicInteger done = new AtomicInteger();
    Thread caller = Thread.currentThread();
    ranks.runAll(
        rank -> {
          caller.interrupt();
          done.incrementAndGet();
        });
    assertThat(done).hasValue(4);
    assertThat(Thread.interrupted()).isTrue();
    ranks.runAll(rank -> done.incrementAndGet());
    assertThat(done).hasValue(8);
  }

  @Test
  void idleRanksAreParked() {
    ConcurrentLinkedQueue<Thread> threads = new ConcurrentLinkedQueue<>();
    ranks.runAll(rank -> threads.add(Thread.currentThread()));
    threads.remove(Thread.currentThread());
    for (Thread thread : threads) {
      while (thread.getState() != Thread.State.WAITING) {
        Thread.onSpinWait();
      }
    }
    assertThat(threads).hasSize(3);
  }

  @Test
  void closingLetsATaskInProgressEnd() throws InterruptedException {
    CountDownLatch begun = new CountDownLatch(4);
    CountDownLatch go = new CountDownLatch(1);
    AtomicInteger done = new AtomicInteger();
    Thread caller =
        Thread.ofPlatform()
            .start(
                () ->
                    ranks.runAll(
                        rank -> {
                          begun.countDown();
                          await(go);
                          done.incrementAndGet();
                        }));
    begun.await();
    Thread closer = Thread.ofPlatform().start(ranks::close);
    go.countDown();
    closer.join();
    caller.join();
    assertThat(done).hasValue(4);
    assertThatThrownBy(() -> ranks.runAll(rank -> {}))
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("closed");
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}

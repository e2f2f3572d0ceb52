package dev.baton.worker.step;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.worker.fakes.Eventually;
import dev.baton.worker.fakes.FakeEngine;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class StepLoopTest {

  private final FakeEngine engine = new FakeEngine();
  private final Outbox outbox = new Outbox();
  private final AtomicLong clock = new AtomicLong();
  private final List<Throwable> failures = new CopyOnWriteArrayList<>();
  private final StepThread thread = new StepThread();
  private final StepLoop loop =
      new StepLoop(engine, outbox, failures::add, clock::get, thread::wake);

  @BeforeEach
  void start() {
    thread.start(loop);
  }

  @AfterEach
  void close() {
    thread.close();
    outbox.close();
  }

  private void barrier() throws Exception {
    CompletableFuture<Void> reached = new CompletableFuture<>();
    loop.post(() -> reached.complete(null));
    reached.get(60, TimeUnit.SECONDS);
  }

  private CompletableFuture<Void> generate(String id) {
    CompletableFuture<Void> done = new CompletableFuture<>();
    SessionListener listener =
        new SessionListener() {
          @Override
          public void onToken(SampledToken token) {
            if (token.finish() != null) {
              done.complete(null);
            }
          }

          @Override
          public void onFailed(EngineException cause) {
            done.completeExceptionally(cause);
          }
        };
    loop.post(
        () ->
            engine.generate(
                Generation.of(new SessionId(id, 1), new int[] {1, 2, 3}, Sampling.greedy(5)),
                listener));
    return done;
  }

  @Test
  void commandsRunInOrderOnTheStepThread() throws Exception {
    List<String> ran = new CopyOnWriteArrayList<>();
    loop.post(() -> ran.add("first on " + Thread.currentThread().getName()));
    loop.post(() -> ran.add("second"));
    barrier();
    assertThat(ran).containsExactly("first on baton-step", "second");
  }

  @Test
  void sleepsWhenThereIsNothingToRun() throws Exception {
    generate("a").get(60, TimeUnit.SECONDS);
    Eventually.holds("the loop goes idle", () -> engine.integrityChecks() > 0);
    barrier();
    long before = engine.stepCalls();
    for (int i = 0; i < 10; i++) {
      barrier();
    }
    // Each barrier wakes the loop for a try or two; a spinning loop would make thousands.
    assertThat(engine.stepCalls() - before).isLessThanOrEqualTo(40);
  }

  @Test
  void recountsBlocksWhenIdleButOnceASecondAtMost() throws Exception {
    generate("a").get(60, TimeUnit.SECONDS);
    Eventually.holds("first check", () -> engine.integrityChecks() == 1);
    generate("b").get(60, TimeUnit.SECONDS);
    barrier();
    barrier();
    assertThat(engine.integrityChecks()).isEqualTo(1);
    clock.addAndGet(Duration.ofSeconds(1).toNanos());
    barrier();
    Eventually.holds("second check", () -> engine.integrityChecks() == 2);
  }

  @Test
  void aFailedStepIsToldOnceAndNoStepRunsAgain() throws Exception {
    engine.failNextStep();
    barrier();
    Eventually.holds("failure", () -> loop.failed());
    long steps = engine.stepCalls();
    barrier();
    barrier();
    assertThat(engine.stepCalls()).isEqualTo(steps);
    assertThat(failures).singleElement().asString().contains("device: gone");
  }

  @Test
  void closingRunsWhatWasPostedAndClosesTheEngine() {
    List<String> ran = new CopyOnWriteArrayList<>();
    loop.post(() -> ran.add("posted before the close"));
    thread.close();
    assertThat(ran).hasSize(1);
    assertThat(engine.closed()).isTrue();
  }

  @Test
  void anEventThatCannotBeSentDoesNotKeepTheOthers() throws Exception {
    CompletableFuture<Void> sent = new CompletableFuture<>();
    loop.post(
        () -> {
          outbox.add(
              () -> {
                throw new IllegalStateException("call already closed");
              });
          outbox.add(() -> sent.complete(null));
        });
    sent.get(60, TimeUnit.SECONDS);
    assertThat(failures).isEmpty();
  }
}

package dev.baton.worker.registry;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.wire.Failures;
import dev.baton.worker.wire.HostPort;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class RegistryLinkTest {

  private final AtomicLong sequence = new AtomicLong();
  private final CompletableFuture<Failure> refusal = new CompletableFuture<>();

  private RegistryLink link(HostPort router) {
    RegistryLink link =
        new RegistryLink(
            router,
            () -> Registration.newBuilder().setWorkerId("decode-1").build(),
            () -> WorkerStatus.newBuilder().setSequence(sequence.incrementAndGet()).build(),
            refusal::complete,
            new Random(1));
    link.start();
    return link;
  }

  @Test
  void registersAndReportsAtTheIntervalOfTheRouter() throws Exception {
    try (FakeRouter router = FakeRouter.accepting(0);
        RegistryLink link = link(router.address())) {
      assertThat(router.awaitRegistration().getWorkerId()).isEqualTo("decode-1");
      assertThat(router.awaitStatus().getSequence()).isEqualTo(1);
      assertThat(router.awaitStatus().getSequence()).isEqualTo(2);
    }
  }

  @Test
  void comesBackAfterTheRouterWasAway() throws Exception {
    FakeRouter first = FakeRouter.accepting(0);
    HostPort address = first.address();
    try (RegistryLink link = link(address)) {
      first.awaitRegistration();
      first.close();
      try (FakeRouter second = FakeRouter.accepting(address.port())) {
        assertThat(second.awaitRegistration().getWorkerId()).isEqualTo("decode-1");
        second.awaitStatus();
      }
    }
  }

  @Test
  void waitsForARouterThatStartsLater() throws Exception {
    FakeRouter portHolder = FakeRouter.accepting(0);
    HostPort address = portHolder.address();
    portHolder.close();
    try (RegistryLink link = link(address);
        FakeRouter router = FakeRouter.accepting(address.port())) {
      router.awaitStatus();
    }
  }

  @Test
  void aRefusalIsFinal() throws Exception {
    Failure why = Failures.of(ErrorCode.INVALID_REQUEST, "model: other (expected: ours)");
    try (FakeRouter router = FakeRouter.refusing(why);
        RegistryLink link = link(router.address())) {
      assertThat(refusal.get(60, TimeUnit.SECONDS)).isEqualTo(why);
      router.awaitRegistration();
      assertThat(router.registrations.poll(500, TimeUnit.MILLISECONDS)).isNull();
    }
  }

  @Test
  void closingEndsTheStreamInOrder() throws Exception {
    try (FakeRouter router = FakeRouter.accepting(0)) {
      RegistryLink link = link(router.address());
      router.awaitStatus();
      link.close();
      router.ended.get(60, TimeUnit.SECONDS);
    }
  }

  @Test
  void pausesGrowWithJitterUpToTheLimit() {
    Backoff backoff = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(2), new Random(3));
    long step = 100;
    for (int i = 0; i < 20; i++) {
      assertThat(backoff.next().toMillis()).isBetween(step / 2, step);
      step = Math.min(2 * step, 2000);
    }
    backoff.reset();
    assertThat(backoff.next().toMillis()).isBetween(50L, 100L);
  }
}

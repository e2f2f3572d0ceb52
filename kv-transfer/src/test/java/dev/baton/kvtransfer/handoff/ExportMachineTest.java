package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.handoff.ExportMachine.State;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ExportMachineTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 8, 2);
  private static final Duration LEASE = Duration.ofSeconds(10);
  private static final int LAYER_TOKEN = 2 * 8 * 2;
  private static final Manifest MANIFEST = new Manifest(10, 99, 5, 0);

  private final AtomicLong clock = new AtomicLong();
  private final Ticket ticket =
      new Ticket(new Bits128(1, 1), new Bits128(2, 2), "127.0.0.1", 1, 2, 60_000);
  private final Route route = new Route(ticket.transfer(), "s", 4);
  private final ExportMachine machine =
      new ExportMachine(
          ticket,
          route,
          HandoffReason.PREFILL_TO_DECODE,
          GEOMETRY,
          0,
          64 << 10,
          2,
          Duration.ofSeconds(2),
          LEASE,
          clock::get);

  @Test
  void theSecretTravelsInTheHelloOnly() {
    assertThat(machine.begin())
        .singleElement()
        .isInstanceOfSatisfying(
            ExportEffect.Send.class,
            send ->
                assertThat(send.message())
                    .isInstanceOfSatisfying(
                        Message.Hello.class,
                        hello -> assertThat(hello.secret()).isEqualTo(ticket.secret())));
  }

  @Test
  void nothingIsPackedBeforeTheImporterAnswers() {
    machine.computed(6);
    assertThat(machine.hasJob()).isFalse();
    welcome();
    assertThat(machine.hasJob()).isTrue();
    assertThat(machine.nextJob().range()).isEqualTo(new SlabRange(0, 2, 2, 6));
    assertThat(machine.hasJob()).isFalse();
  }

  @Test
  void slabsAreNoLargerThanTheImporterTakes() {
    machine.computed(10);
    machine.message(new Message.Welcome(route, 10, 0, 96, 1 << 20, 1000));
    assertThat(machine.nextJob().bytes()).isLessThanOrEqualTo(96);
  }

  @Test
  void theManifestLeavesAfterTheLastSlab() {
    welcome();
    assertThat(machine.computed(6)).isEmpty();
    int first = machine.nextJob().sequence();
    assertThat(machine.finish(MANIFEST)).isEmpty();
    int second = machine.nextJob().sequence();
    assertThat(machine.packed(second, 1))
        .hasSize(1)
        .first()
        .isInstanceOf(ExportEffect.SendSlab.class);
    List<ExportEffect> last = machine.packed(first, 2);
    assertThat(last).hasSize(3).element(1).isEqualTo(new ExportEffect.Packed());
    assertThat(last.get(2))
        .isEqualTo(
            new ExportEffect.Send(new Message.Finish(route, 2, 2 * 2 * 8 * 2 * 8, MANIFEST)));
    assertThat(machine.state()).isEqualTo(State.FINISHED);
  }

  @Test
  void aContextMayGrowAsFarAsTheImporterHasRoom() {
    machine.computed(10);
    machine.message(new Message.Welcome(route, 10, 3, 64 << 10, 1 << 20, 1000));
    assertThat(machine.computed(12)).isEmpty();
    assertThat(machine.nextJob().range()).isEqualTo(new SlabRange(0, 2, 2, 12));
    assertThat(machine.computed(14).getLast()).isInstanceOf(ExportEffect.Failed.class);
  }

  @Test
  void aManifestThatNamesOtherTokensThanTheImporterLacksFails() {
    machine.message(new Message.Welcome(route, 10, 3, 64 << 10, 1 << 20, 1000));
    machine.computed(12);
    assertThat(machine.finish(new Manifest(12, 1, 5, 0, List.of(7))).getLast())
        .isInstanceOf(ExportEffect.Failed.class);
  }

  @Test
  void aSlabIsReleasedOnceHoweverOftenItIsAcknowledged() {
    sentAll();
    assertThat(machine.message(new Message.SlabAck(route, 0, 1 << 20)))
        .containsExactly(new ExportEffect.Release(0, 8 * 2 * LAYER_TOKEN));
    assertThat(machine.message(new Message.SlabAck(route, 0, 1 << 20))).isEmpty();
    assertThat(machine.message(new Message.SlabAck(route, 77, 1 << 20))).isEmpty();
    assertThat(machine.message(new Message.SlabNack(route, 0, 0))).isEmpty();
  }

  @Test
  void aWrongSlabIsSentAgainOncePerComplaintAndNotForEver() {
    sentAll();
    assertThat(machine.message(new Message.SlabNack(route, 0, 0)))
        .singleElement()
        .isInstanceOfSatisfying(
            ExportEffect.SendSlab.class, send -> assertThat(send.message().attempt()).isEqualTo(1));
    assertThat(machine.message(new Message.SlabNack(route, 0, 0))).as("twice").isEmpty();
    assertThat(machine.message(new Message.SlabNack(route, 0, 1))).hasSize(1);
    assertThat(kind(machine.message(new Message.SlabNack(route, 0, 2)))).isEqualTo(Kind.CORRUPT);
  }

  @Test
  void messagesOfAnotherEpochOrSessionOrRoleChangeNothing() {
    for (Route other :
        List.of(new Route(ticket.transfer(), "s", 3), new Route(ticket.transfer(), "t", 4))) {
      assertThat(machine.message(new Message.Welcome(other, 10, 0, 64 << 10, 1 << 20, 1)))
          .isEmpty();
      assertThat(machine.message(new Message.Abort(other, Kind.CANCELLED, ""))).isEmpty();
    }
    assertThat(machine.message(new Message.Done(route))).isEmpty();
    assertThat(machine.message(new Message.Finish(route, 1, 1, MANIFEST))).isEmpty();
    assertThat(machine.state()).isEqualTo(State.CONNECTING);
  }

  @Test
  void doneBeforeTheManifestIsIgnored() {
    welcome();
    assertThat(machine.message(new Message.Done(route))).isEmpty();
    assertThat(machine.state()).isEqualTo(State.STREAMING);
  }

  @Test
  void afterTheEndNothingFollows() {
    sentAll();
    assertThat(machine.message(new Message.Done(route)))
        .containsExactly(new ExportEffect.Acknowledged());
    assertThat(machine.message(new Message.Done(route))).isEmpty();
    assertThat(machine.abort("late")).isEmpty();
    assertThat(machine.peerLost("late")).isEmpty();
    assertThat(machine.sourceFailed(new IllegalStateException())).isEmpty();
    clock.set(Long.MAX_VALUE / 2);
    assertThat(machine.tick()).isEmpty();
    assertThat(machine.computed(11)).isEmpty();
  }

  @Test
  void anImporterThatDoesNotAnswerIsGivenUpAtTheConnectDeadline() {
    clock.set(Duration.ofMillis(1999).toNanos());
    assertThat(machine.tick()).isEmpty();
    clock.set(Duration.ofMillis(2000).toNanos());
    assertThat(kind(machine.tick())).isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void anImporterThatFallsSilentIsGivenUpAfterALease() {
    sentAll();
    clock.set(LEASE.toNanos() - 1);
    machine.tick();
    assertThat(machine.state()).isEqualTo(State.FINISHED);
    clock.set(LEASE.toNanos());
    assertThat(kind(machine.tick())).isEqualTo(Kind.TIMEOUT);
  }

  @Test
  void aPrefillOfMinutesKeepsItsHandoffByHeartbeatsOfBothSides() {
    machine.message(new Message.Welcome(route, 10, 0, 64 << 10, 1 << 20, 10_000));
    int said = 0;
    for (int second = 1; second <= 600; second++) {
      clock.set(Duration.ofSeconds(second).toNanos());
      said += machine.tick().size();
      if (second % 5 == 0) {
        machine.message(new Message.Heartbeat(route, 1 << 20));
      }
    }
    assertThat(machine.state()).isEqualTo(State.STREAMING);
    assertThat(said).as("one every third second: the ticks come once a second").isEqualTo(200);
  }

  @Test
  void anImporterWithAShortLeaseHearsMoreOften() {
    machine.message(new Message.Welcome(route, 10, 0, 64 << 10, 1 << 20, 400));
    clock.set(Duration.ofMillis(99).toNanos());
    assertThat(machine.tick()).isEmpty();
    clock.set(Duration.ofMillis(100).toNanos());
    assertThat(machine.tick())
        .containsExactly(new ExportEffect.Send(new Message.Heartbeat(route, 0)));
  }

  @Test
  void noMoreSlabsAreUnansweredThanTheImporterGrants() {
    int slab = 2 * LAYER_TOKEN;
    machine.message(new Message.Welcome(route, 10, 0, slab, 3 * slab, 1000));
    machine.computed(10);
    for (int sequence = 0; sequence < 3; sequence++) {
      machine.packed(machine.nextJob().sequence(), 0);
    }
    assertThat(machine.hasJob()).as("the credit is used up").isFalse();
    machine.message(new Message.SlabNack(route, 1, 0));
    assertThat(machine.hasJob()).as("a slab sent again is still unanswered").isFalse();
    machine.message(new Message.SlabAck(route, 0, 3 * slab));
    assertThat(machine.hasJob()).isTrue();
    machine.nextJob();
    machine.message(new Message.SlabAck(route, 1, slab));
    assertThat(machine.hasJob()).as("two are unanswered, the grant is one").isFalse();
    machine.message(new Message.Heartbeat(route, 3 * slab));
    assertThat(machine.hasJob()).isTrue();
  }

  @Test
  void oneSlabAtATimeLeavesWhateverTheGrant() {
    machine.message(new Message.Welcome(route, 10, 0, 64 << 10, 0, 1000));
    machine.computed(4);
    assertThat(machine.hasJob()).isTrue();
    machine.packed(machine.nextJob().sequence(), 0);
    machine.computed(10);
    assertThat(machine.hasJob()).isFalse();
    machine.message(new Message.SlabAck(route, 0, 0));
    assertThat(machine.hasJob()).isTrue();
  }

  @Test
  void aContextOfAnotherLengthThanExpectedFails() {
    welcome();
    assertThat(kind(machine.computed(11))).isEqualTo(Kind.INTERNAL);
  }

  @Test
  void aManifestShorterThanTheContextFails() {
    welcome();
    assertThat(kind(machine.finish(new Manifest(9, 99, 5, 0)))).isEqualTo(Kind.INTERNAL);
  }

  @Test
  void theEndsOfTheOtherSideAreToldApart() {
    assertThat(kind(machine.message(new Message.Abort(route, Kind.CORRUPT, "x"))))
        .isEqualTo(Kind.PEER_ABORTED);
    assertThat(machine.state()).isEqualTo(State.FAILED);
  }

  private void welcome() {
    machine.message(new Message.Welcome(route, 10, 0, 64 << 10, 1 << 20, 1000));
  }

  private void sentAll() {
    welcome();
    machine.finish(MANIFEST);
    machine.packed(machine.nextJob().sequence(), 0);
    assertThat(machine.state()).isEqualTo(State.FINISHED);
  }

  private static Kind kind(List<ExportEffect> effects) {
    return ((ExportEffect.Failed) effects.getLast()).cause().kind();
  }
}

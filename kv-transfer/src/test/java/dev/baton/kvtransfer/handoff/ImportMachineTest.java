package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.handoff.ImportMachine.State;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;

class ImportMachineTest {
  private static final KvGeometry GEOMETRY = new KvGeometry(2, 1, 8, 2);
  private static final int LAYER_TOKEN = 2 * 8 * 2;
  private static final int SLAB_BYTES = 16 * LAYER_TOKEN;
  private static final Manifest MANIFEST = new Manifest(10, 99, 5, 0);
  private static final int RESENDS = 2;
  private static final Duration LEASE = Duration.ofSeconds(10);

  private long credit = 1 << 20;
  private final AtomicLong clock = new AtomicLong();
  private final Ticket ticket =
      new Ticket(new Bits128(1, 1), new Bits128(2, 2), "127.0.0.1", 1, 2, 60_000);
  private final Route route = new Route(ticket.transfer(), "s", 4);
  private final ImportMachine machine =
      new ImportMachine(
          new ImportSpec("s", 4, GEOMETRY, 2, 10, 99),
          ticket,
          SLAB_BYTES,
          RESENDS,
          LEASE,
          () -> credit,
          clock::get);

  @Test
  void aHelloIsAdmittedWithTheRightSecretSessionAndEpochOnly() {
    assertThat(machine.admits(hello(route, ticket.secret()))).isTrue();
    assertThat(machine.admits(hello(route, new Bits128(2, 3)))).isFalse();
    assertThat(machine.admits(hello(route, new Bits128(0, 2)))).isFalse();
    assertThat(machine.admits(hello(new Route(ticket.transfer(), "s", 5), ticket.secret())))
        .isFalse();
    assertThat(machine.admits(hello(new Route(ticket.transfer(), "t", 4), ticket.secret())))
        .isFalse();
  }

  @Test
  void aHelloSaidTwiceIsAnsweredTwice() {
    assertThat(open()).hasSize(1);
    assertThat(open()).hasSize(1);
    assertThat(machine.state()).isEqualTo(State.RECEIVING);
  }

  @Test
  void anotherGeometryFailsBothSides() {
    Message.Hello other =
        new Message.Hello(
            route,
            ticket.secret(),
            HandoffReason.PREFILL_TO_DECODE,
            new KvGeometry(2, 2, 8, 2),
            2,
            SLAB_BYTES,
            1);
    List<ImportEffect> effects = machine.hello(other);
    assertThat(effects.getFirst()).isInstanceOf(ImportEffect.Send.class);
    assertThat(kind(effects)).isEqualTo(Kind.INTERNAL);
  }

  @Test
  void slabsBeforeTheHelloAreRefused() {
    assertThat(slab(0, 0, 0, 2, 2, 10)).containsExactly(new ImportEffect.Refuse());
  }

  @Test
  void completesWhenManifestAndAllSlabsAreVerifiedInAnyOrder() {
    open();
    assertThat(machine.message(finish(2))).isEmpty();
    assertThat(slab(1, 0, 1, 2, 2, 10).getFirst()).isInstanceOf(ImportEffect.Land.class);
    assertThat(slab(0, 0, 0, 1, 2, 10).getFirst()).isInstanceOf(ImportEffect.Land.class);
    assertThat(machine.verified(0))
        .containsExactly(new ImportEffect.Send(new Message.SlabAck(route, 0, 1 << 20)));
    assertThat(machine.verified(1))
        .containsExactly(
            new ImportEffect.Send(new Message.SlabAck(route, 1, 1 << 20)),
            new ImportEffect.Send(new Message.Done(route)),
            new ImportEffect.Completed(MANIFEST));
  }

  @Test
  void aSlabFoundWrongCountsAgainstTheCreditUntilItIsRight() {
    credit = 2L * SLAB_BYTES;
    open();
    slab(0, 0, 0, 1, 2, 4);
    slab(1, 0, 0, 1, 4, 6);
    machine.wrong(0);
    assertThat(slab(2, 0, 0, 1, 6, 8).getFirst()).isEqualTo(new ImportEffect.Refuse());
    assertThat(slab(0, 1, 0, 1, 2, 4).getFirst()).isInstanceOf(ImportEffect.Land.class);
    machine.verified(0);
    assertThat(slab(2, 1, 0, 1, 6, 8).getFirst()).isInstanceOf(ImportEffect.Land.class);
  }

  @Test
  void aSlabSentTwiceLandsOnceAndIsAcknowledgedAgain() {
    open();
    slab(0, 0, 0, 1, 2, 10);
    assertThat(slab(0, 0, 0, 1, 2, 10))
        .containsExactly(
            new ImportEffect.Refuse(),
            new ImportEffect.Send(new Message.Heartbeat(route, 1 << 20)));
    machine.verified(0);
    assertThat(slab(0, 0, 0, 1, 2, 10))
        .containsExactly(
            new ImportEffect.Refuse(),
            new ImportEffect.Send(new Message.SlabAck(route, 0, 1 << 20)));
    assertThat(machine.verified(0)).isEmpty();
    assertThat(machine.slabs()).isEqualTo(1);
  }

  @Test
  void aWrongSlabIsAskedForAgainButNotForEver() {
    open();
    slab(0, 0, 0, 1, 2, 10);
    for (int attempt = 0; attempt < RESENDS; attempt++) {
      assertThat(machine.wrong(0))
          .containsExactly(new ImportEffect.Send(new Message.SlabNack(route, 0, attempt)));
      assertThat(slab(0, attempt, 0, 1, 2, 10))
          .as("the attempt that was wrong")
          .containsExactly(
              new ImportEffect.Refuse(),
              new ImportEffect.Send(new Message.SlabNack(route, 0, attempt)));
      assertThat(slab(0, attempt + 1, 0, 1, 2, 10).getFirst())
          .isInstanceOf(ImportEffect.Land.class);
    }
    assertThat(kind(machine.wrong(0))).isEqualTo(Kind.CORRUPT);
  }

  @Test
  void aSlabThatDoesNotFitIsRefusedAndAskedForAgainThenFails() {
    List<List<ImportEffect>> refusals = new java.util.ArrayList<>();
    open();
    slab(0, 0, 0, 1, 2, 4);
    refusals.add(slab(1, 0, 0, 1, 3, 5)); // overlaps
    refusals.add(slab(1, 0, 0, 3, 4, 5)); // a layer too many
    for (List<ImportEffect> refusal : refusals) {
      assertThat(refusal)
          .containsExactly(
              new ImportEffect.Refuse(), new ImportEffect.Send(new Message.SlabNack(route, 1, 0)));
    }
    assertThat(kind(slab(1, 0, 0, 1, 9, 11))).isEqualTo(Kind.CORRUPT);
  }

  @Test
  void everyFieldOfASlabIsChecked() {
    SlabRange range = new SlabRange(0, 1, 2, 4);
    int good = 2 * LAYER_TOKEN;
    List<Message.Slab> wrong =
        List.of(
            new Message.Slab(route, 0, 0, new SlabRange(0, 1, 1, 3), 2, good, 0),
            new Message.Slab(route, 0, 0, new SlabRange(0, 2, 2, 3), 4, good, 0),
            new Message.Slab(route, 0, 0, range, 2, good - 1, 0),
            new Message.Slab(route, 0, 0, range, 2, Long.MAX_VALUE, 0),
            new Message.Slab(route, 16, 0, range, 2, good, 0),
            new Message.Slab(route, Integer.MAX_VALUE, 0, range, 2, good, 0),
            new Message.Slab(route, 0, RESENDS + 1, range, 2, good, 0),
            new Message.Slab(
                route,
                0,
                0,
                new SlabRange(0, Integer.MAX_VALUE, 2, Integer.MAX_VALUE),
                2,
                good,
                0));
    for (Message.Slab slab : wrong) {
      ImportMachine fresh =
          new ImportMachine(
              new ImportSpec("s", 4, GEOMETRY, 2, 10, 99),
              ticket,
              SLAB_BYTES,
              RESENDS,
              LEASE,
              () -> credit,
              clock::get);
      fresh.hello(hello(route, ticket.secret()));
      assertThat(fresh.slab(slab, slab.length()).getFirst())
          .as("%s", slab)
          .isEqualTo(new ImportEffect.Refuse());
    }
    open();
    Message.Slab slab = new Message.Slab(route, 0, 0, range, 2, good, 0);
    assertThat(machine.slab(slab, good + 1).getFirst()).isEqualTo(new ImportEffect.Refuse());
    assertThat(machine.slab(slab, good).getFirst()).isEqualTo(new ImportEffect.Land(slab));
  }

  @Test
  void aStaleEpochChangesNothing() {
    open();
    Route stale = new Route(ticket.transfer(), "s", 3);
    assertThat(machine.slab(new Message.Slab(stale, 0, 0, new SlabRange(0, 1, 2, 4), 2, 64, 0), 64))
        .containsExactly(new ImportEffect.Refuse());
    assertThat(machine.message(new Message.Finish(stale, 1, 1, MANIFEST))).isEmpty();
    assertThat(machine.message(new Message.Abort(stale, Kind.CANCELLED, ""))).isEmpty();
    assertThat(machine.state()).isEqualTo(State.RECEIVING);
  }

  @Test
  void aManifestOfAnotherContextIsNeverCompleted() {
    long bytes = 2L * 8 * LAYER_TOKEN;
    List<Message.Finish> wrong =
        List.of(
            new Message.Finish(route, 2, bytes, new Manifest(9, 99, 5, 0)),
            new Message.Finish(route, 2, bytes, new Manifest(10, 98, 5, 0)),
            new Message.Finish(route, 2, bytes - 1, MANIFEST),
            new Message.Finish(route, 1, bytes, MANIFEST),
            new Message.Finish(route, 17, bytes, MANIFEST));
    for (Message.Finish finish : wrong) {
      ImportMachine fresh =
          new ImportMachine(
              new ImportSpec("s", 4, GEOMETRY, 2, 10, 99),
              ticket,
              SLAB_BYTES,
              RESENDS,
              LEASE,
              () -> credit,
              clock::get);
      fresh.hello(hello(route, ticket.secret()));
      for (int sequence = 0; sequence < 2; sequence++) {
        fresh.slab(
            new Message.Slab(
                route,
                sequence,
                0,
                new SlabRange(sequence, sequence + 1, 2, 10),
                2,
                8 * LAYER_TOKEN,
                0),
            8 * LAYER_TOKEN);
        fresh.verified(sequence);
      }
      assertThat(kind(fresh.message(finish))).as("%s", finish).isEqualTo(Kind.CORRUPT);
    }
  }

  @Test
  void aContextThatGrewIsCompletedWithTheTokensThatTheManifestNames() {
    ImportMachine growing = growing();
    land(growing, 0, 2, 10);
    land(growing, 1, 10, 13);
    Message.Finish end = grown(13, 7 * 3, List.of(1, 2, 4));
    assertThat(growing.message(end))
        .containsExactly(
            new ImportEffect.Send(new Message.Done(route)),
            new ImportEffect.Completed(end.manifest()));
  }

  @Test
  void aContextMayGrowByNothing() {
    ImportMachine growing = growing();
    land(growing, 0, 2, 10);
    assertThat(growing.message(grown(10, 0, List.of()))).hasSize(2);
  }

  @Test
  void aContextThatDidNotGrowAsTheManifestSaysIsNeverCompleted() {
    for (Message.Finish wrong :
        List.of(
            grown(13, 21, List.of(1, 2, 5)),
            grown(13, 22, List.of(1, 2, 4)),
            grown(13, 3, List.of(1, 2)),
            grown(12, 21, List.of(1, 2, 4)),
            grown(12, 3, List.of(1, 2)),
            grown(14, 21, List.of(1, 2, 4, 0)),
            grown(15, 21, List.of(1, 2, 4, 0, 0)))) {
      ImportMachine growing = growing();
      land(growing, 0, 2, 10);
      land(growing, 1, 10, 13);
      List<ImportEffect> effects = growing.message(wrong);
      assertThat(effects).as("%s", wrong).isNotEmpty();
      assertThat(kind(effects)).as("%s", wrong).isEqualTo(Kind.CORRUPT);
    }
  }

  @Test
  void whatIsBehindTheWindowOfTheEndNeedNotCome() {
    ImportMachine windowed = growing(6);
    // The next token after 12 sees five of them, so 7 is where its window begins.
    assertThat(windowed.hello(helloFrom(7))).hasSize(1);
    land(windowed, 0, 7, 10);
    land(windowed, 1, 10, 12);
    Manifest manifest = new Manifest(12, 3 * 9L, 5, 0, List.of(4, 5));
    assertThat(windowed.message(new Message.Finish(route, 2, 2L * LAYER_TOKEN * 5, manifest)))
        .contains(new ImportEffect.Completed(manifest));
  }

  @Test
  void aManifestThatEndsBeforeTheWindowIsCoveredIsCorrupt() {
    ImportMachine windowed = growing(6);
    assertThat(windowed.hello(helloFrom(9))).hasSize(1);
    land(windowed, 0, 9, 10);
    // Of 10 tokens those from 5 on are seen.
    Manifest manifest = new Manifest(10, 0, 5, 0, List.of());
    assertThat(kind(windowed.message(new Message.Finish(route, 1, 2L * LAYER_TOKEN, manifest))))
        .isEqualTo(Kind.CORRUPT);
  }

  @Test
  void aWindowOfOneStillWantsTheLastToken() {
    assertThat(kind(growing(1).hello(helloFrom(14)))).isEqualTo(Kind.INTERNAL);
    assertThat(growing(1).hello(helloFrom(13))).hasSize(1);
  }

  private Message.Hello helloFrom(int token) {
    return new Message.Hello(
        route, ticket.secret(), HandoffReason.MIGRATION, GEOMETRY, token, SLAB_BYTES, 10_000);
  }

  @Test
  void aSlabBeyondTheRoomIsRefused() {
    ImportMachine growing = growing();
    SlabRange beyond = new SlabRange(0, 2, 10, 15);
    Message.Slab slab = new Message.Slab(route, 0, 0, beyond, 2, GEOMETRY.bytes(beyond), 0);
    assertThat(growing.slab(slab, slab.length()).getFirst()).isEqualTo(new ImportEffect.Refuse());
  }

  /** Knows 10 tokens and has room for 4 more; their hash is three times their sum. */
  private ImportMachine growing() {
    ImportMachine growing = growing(0);
    growing.hello(hello(route, ticket.secret()));
    return growing;
  }

  private ImportMachine growing(int window) {
    return new ImportMachine(
        new ImportSpec(
            "s",
            4,
            GEOMETRY,
            2,
            10,
            4,
            window,
            added -> 3L * added.stream().mapToInt(Integer::intValue).sum()),
        ticket,
        SLAB_BYTES,
        RESENDS,
        LEASE,
        () -> credit,
        clock::get);
  }

  private void land(ImportMachine growing, int sequence, int tokenFrom, int tokenTo) {
    SlabRange range = new SlabRange(0, 2, tokenFrom, tokenTo);
    Message.Slab slab = new Message.Slab(route, sequence, 0, range, 2, GEOMETRY.bytes(range), 0);
    assertThat(growing.slab(slab, slab.length()).getFirst()).isEqualTo(new ImportEffect.Land(slab));
    growing.verified(sequence);
  }

  private Message.Finish grown(int tokens, long hash, List<Integer> added) {
    return new Message.Finish(
        route,
        added.isEmpty() ? 1 : 2,
        2L * LAYER_TOKEN * (tokens - 2),
        new Manifest(tokens, hash, 5, 0, added));
  }

  @Test
  void slabsThatLeaveAGapNeverComplete() {
    open();
    slab(0, 0, 0, 2, 2, 9);
    machine.verified(0);
    assertThat(kind(machine.message(finish(1)))).isEqualTo(Kind.CORRUPT);
  }

  @Test
  void afterTheEndNothingFollows() {
    open();
    slab(0, 0, 0, 2, 2, 10);
    assertThat(kind(machine.cancel("no more"))).isEqualTo(Kind.CANCELLED);
    assertThat(machine.verified(0)).isEmpty();
    assertThat(machine.wrong(0)).isEmpty();
    assertThat(machine.cancel("again")).isEmpty();
    assertThat(machine.peerLost("late")).isEmpty();
    assertThat(machine.message(finish(1))).isEmpty();
    assertThat(slab(1, 0, 0, 1, 2, 3)).containsExactly(new ImportEffect.Refuse());
    assertThat(machine.admits(hello(route, ticket.secret()))).isFalse();
  }

  @Test
  void theLeaseEndsAnImportThatNobodyBegins() {
    clock.set(Duration.ofMillis(60_000).toNanos());
    assertThat(kind(machine.tick())).isEqualTo(Kind.TIMEOUT);
  }

  private List<ImportEffect> open() {
    return machine.hello(hello(route, ticket.secret()));
  }

  private Message.Hello hello(Route by, Bits128 secret) {
    return new Message.Hello(
        by, secret, HandoffReason.PREFILL_TO_DECODE, GEOMETRY, 2, SLAB_BYTES, 1000);
  }

  private List<ImportEffect> slab(
      int sequence, int attempt, int layerFrom, int layerTo, int tokenFrom, int tokenTo) {
    SlabRange range = new SlabRange(layerFrom, layerTo, tokenFrom, tokenTo);
    long length = GEOMETRY.bytes(range);
    return machine.slab(new Message.Slab(route, sequence, attempt, range, 2, length, 0), length);
  }

  private Message.Finish finish(int slabs) {
    return new Message.Finish(route, slabs, 2L * 8 * LAYER_TOKEN, MANIFEST);
  }

  private static Kind kind(List<ImportEffect> effects) {
    return ((ImportEffect.Failed) effects.getLast()).cause().kind();
  }
}

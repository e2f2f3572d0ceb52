package dev.baton.kvtransfer.handoff;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.SlabHolding.Side;
import dev.baton.kvtransfer.SlabLedger;
import dev.baton.kvtransfer.SlabMemory;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Route;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SlabPoolTest {

  private static final int BYTES = 4096;

  private long now = 1_000_000_000L;
  private final SlabPool pool = new SlabPool(BYTES, 4, SlabMemory.host(), () -> now);
  private final Holder anna = new Holder("anna", 2, HandoffReason.MIGRATION);
  private final Holder bert = new Holder("bert", 1, HandoffReason.PREFIX_FETCH);

  /** A hand-off that keeps what it is given until it is told to give it back. */
  private final class Holder implements SlabQueue.User {
    private final Route route;
    private final HandoffReason reason;
    private final List<Slab> slabs = new ArrayList<>();

    Holder(String session, int epoch, HandoffReason reason) {
      this.route = new Route(new Bits128(1, 2), session, epoch);
      this.reason = reason;
    }

    void take() {
      slabs.add(pool.take(this));
    }

    void release() {
      pool.release(this, slabs.removeLast());
    }

    @Override
    public boolean wantsSlab() {
      return false;
    }

    @Override
    public int slabsHeld() {
      return slabs.size();
    }

    @Override
    public Object peer() {
      return this;
    }

    @Override
    public Route route() {
      return route;
    }

    @Override
    public HandoffReason reason() {
      return reason;
    }

    @Override
    public void useSlab(Slab slab) {
      slabs.add(slab);
    }
  }

  @AfterEach
  void close() {
    pool.close();
  }

  @Test
  void statesAddUpToTheCapacityAndTheLastReleaseClosesTheAccount() {
    anna.take();
    anna.take();
    bert.take();
    assertThat(pool.ledger(1)).isEqualTo(new SlabLedger(2, 1, 1, 4, BYTES));
    assertThat(pool.ledger(0).bytesInUse()).isEqualTo(3 * BYTES);
    pool.checkIntegrity();

    anna.release();
    anna.release();
    bert.release();

    pool.checkIntegrity();
    assertThat(pool.ledger(0).closed()).isTrue();
    assertThat(pool.holdings(Side.SENDING)).isEmpty();
  }

  @Test
  void tellsWhoHasSlabsWhyAndSinceWhen() {
    anna.take();
    now += 2_000_000_000L;
    anna.take();
    bert.take();
    assertThat(pool.holdings(Side.LANDING))
        .containsExactlyInAnyOrder(
            new SlabHolding("anna", 2, HandoffReason.MIGRATION, Side.LANDING, 2, 1_000_000_000L),
            new SlabHolding(
                "bert", 1, HandoffReason.PREFIX_FETCH, Side.LANDING, 1, 3_000_000_000L));
  }

  @Test
  void aSlabThatItsHandOffForgotIsNamed() {
    anna.take();
    bert.take();
    now += 1_500_000_000L;
    anna.slabs.clear();

    assertThatThrownBy(pool::checkIntegrity)
        .hasMessageContaining("1 given to session anna epoch 2")
        .hasMessageContaining("MIGRATION, oldest 1.500 s ago")
        .hasMessageContaining("expected: 0");
  }

  @Test
  void aSlabIsGivenBackOnceAndByItsHolderAlone() {
    anna.take();
    Slab slab = anna.slabs.getFirst();
    assertThatThrownBy(() -> pool.release(bert, slab))
        .hasMessageContaining("by session bert epoch 1")
        .hasMessageContaining("of a slab of session anna epoch 2");
    anna.release();
    assertThatThrownBy(() -> pool.release(anna, slab)).hasMessageContaining("of nobody");
    pool.checkIntegrity();
  }

  @Test
  void slabsLieInTheMemoryThatTheirPagesGaveUntilThePoolIsClosed() {
    try (Arena owner = Arena.ofConfined()) {
      MemorySegment pages = owner.allocate(4 * BYTES, 64);
      List<Arena> asked = new ArrayList<>();
      SlabPool placed =
          new SlabPool(
              BYTES,
              4,
              SlabMemory.host(
                  (arena, bytes) -> {
                    asked.add(arena);
                    return pages.asSlice((asked.size() - 1) * bytes, bytes);
                  }),
              () -> now);
      assertThat(placed.take(anna).first(BYTES)).isEqualTo(pages.asSlice(0, BYTES));
      assertThat(placed.take(bert).first(BYTES)).isEqualTo(pages.asSlice(BYTES, BYTES));
      assertThat(asked.get(1)).isSameAs(asked.get(0));
      assertThat(asked.get(0).scope().isAlive()).isTrue();
      placed.close();
      assertThat(asked.get(0).scope().isAlive()).isFalse();
    }
  }
}

package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.WeightFormat;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What is said to be read next. */
class WeightOrderTest {

  private final Arena arena = Arena.ofConfined();
  private final WeightOrder order = new WeightOrder(arena::allocate);
  private final CpuLinearWeight query = weight(64);
  private final CpuLinearWeight key = weight(32);
  private final CpuLinearWeight out = weight(96);

  @AfterEach
  void close() {
    arena.close();
  }

  @Test
  void nothingIsKnownOfTheFirstPass() {
    assertThat(order.begins(new CpuLinearWeight[] {query, key}, 2)).isZero();
    assertThat(order.begins(new CpuLinearWeight[] {out}, 1)).isZero();
  }

  @Test
  void laterPassesAreLikeTheFirst() {
    pass();
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2), out);
    assertReads(order.begins(new CpuLinearWeight[] {out, key}, 1), query, key);
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2), out);
  }

  @Test
  void whatHasFollowedOnceIsForgottenWhenAnotherFollows() {
    pass();
    pass();
    order.begins(new CpuLinearWeight[] {query, key}, 2);
    order.begins(new CpuLinearWeight[] {key}, 1);
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2), key);
  }

  @Test
  void whatComesAfterABreakFollowsNothing() {
    pass();
    order.isBroken();
    pass();
    order.isBroken();
    order.begins(new CpuLinearWeight[] {query, key}, 2);
    assertThat(order.begins(new CpuLinearWeight[] {out}, 1)).isZero();
  }

  private void pass() {
    order.begins(new CpuLinearWeight[] {query, key}, 2);
    order.begins(new CpuLinearWeight[] {out}, 1);
  }

  @SuppressWarnings("restricted") // an address of the arena above
  private static void assertReads(long address, CpuLinearWeight... weights) {
    assertThat(address).isNotZero();
    MemorySegment words =
        MemorySegment.ofAddress(address).reinterpret((1 + 2L * weights.length) * Long.BYTES);
    assertThat(words.getAtIndex(JAVA_LONG, 0)).isEqualTo(weights.length);
    for (int i = 0; i < weights.length; i++) {
      assertThat(words.getAtIndex(JAVA_LONG, 1 + 2L * i)).isEqualTo(weights[i].packed().address());
      assertThat(words.getAtIndex(JAVA_LONG, 2 + 2L * i)).isEqualTo(weights[i].bytes());
    }
  }

  private CpuLinearWeight weight(int outputs) {
    return new CpuLinearWeight(
        outputs,
        32,
        WeightFormat.BFLOAT16,
        1,
        arena.allocate(8),
        1,
        arena.allocate(outputs * 64L, 64));
  }
}

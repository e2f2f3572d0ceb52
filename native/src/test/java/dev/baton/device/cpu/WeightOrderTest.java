package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.Ops;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.host.HostRouting;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** What is said to be read next. */
class WeightOrderTest {

  private final Arena arena = Arena.ofConfined();
  private final WeightOrder order = new WeightOrder(arena::allocate);
  private final CpuLinearWeight query = weight(64);
  private final CpuLinearWeight key = weight(32);
  private final CpuLinearWeight out = weight(96);
  private final List<CpuLinearWeight> gates = Stream.generate(() -> weight(64)).limit(4).toList();
  private final List<CpuLinearWeight> downs = Stream.generate(() -> weight(32)).limit(4).toList();

  private @Nullable Ops ops;

  @AfterEach
  void close() {
    arena.close();
  }

  @Test
  void nothingIsKnownOfTheFirstPass() {
    assertThat(order.begins(new CpuLinearWeight[] {query, key}, 2, 1)).isZero();
    assertThat(order.begins(new CpuLinearWeight[] {out}, 1, 1)).isZero();
  }

  @Test
  void laterPassesAreLikeTheFirst() {
    pass();
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2, 1), out);
    assertReads(order.begins(new CpuLinearWeight[] {out, key}, 1, 1), query, key);
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2, 1), out);
  }

  @Test
  void whatHasFollowedOnceIsForgottenWhenAnotherFollows() {
    pass();
    pass();
    order.begins(new CpuLinearWeight[] {query, key}, 2, 1);
    order.begins(new CpuLinearWeight[] {key}, 1, 1);
    assertReads(order.begins(new CpuLinearWeight[] {query, key}, 2, 1), key);
  }

  @Test
  void manyRowsAskForNothing() {
    pass();
    assertThat(order.begins(new CpuLinearWeight[] {query, key}, 2, 33)).isZero();
    assertReads(order.begins(new CpuLinearWeight[] {out}, 1, 32), query, key);
  }

  @Test
  void ofAMixtureTheChosenExpertsAreRead() {
    try (Device device = CpuDevice.open()) {
      ops = device.openRanks(1).getFirst();
      HostRouting routing = (HostRouting) device.allocateRouting(2, 4, 2);
      mixture(device, routing, 3, 1);
      mixture(device, routing, 0, 2);
      order.begins(new CpuLinearWeight[] {query, key}, 2, 1);
      assertThat(order.begins(new CpuLinearWeight[] {out}, 1, 1)).isZero();
      route(device, routing, 3, 0);
      assertReads(stages(gates, routing), gates.get(0), gates.get(3));
      assertReads(order.begins(routing), downs.get(0), downs.get(3));
      assertReads(stages(downs, routing), downs.get(0), downs.get(3));
      assertReads(order.begins(routing), query, key);
    }
  }

  private void mixture(Device device, HostRouting routing, int... chosen) {
    pass();
    route(device, routing, chosen);
    stages(gates, routing);
    order.begins(routing);
    stages(downs, routing);
    order.begins(routing);
  }

  private long stages(List<CpuLinearWeight> experts, HostRouting routing) {
    return order.stages(experts, expert -> (CpuLinearWeight) expert, routing);
  }

  private void route(Device device, HostRouting routing, int... chosen) {
    Tensor scores = device.allocate(DType.FLOAT32, 1, 4);
    for (int expert : chosen) {
      scores.segment().setAtIndex(JAVA_FLOAT, expert, 1);
    }
    requireNonNull(ops).route(routing, scores, 1, true);
  }

  private void pass() {
    order.begins(new CpuLinearWeight[] {query, key}, 2, 1);
    order.begins(new CpuLinearWeight[] {out}, 1, 1);
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

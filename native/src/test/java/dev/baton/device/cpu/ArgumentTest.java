package dev.baton.device.cpu;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.device.Device;
import dev.baton.device.GatedWeight;
import dev.baton.device.KvCache;
import dev.baton.device.KvShape;
import dev.baton.device.LinearWeight;
import dev.baton.device.Norm;
import dev.baton.device.Ops;
import dev.baton.device.Parallelism;
import dev.baton.device.Projection;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.Tensor;
import dev.baton.device.WeightFormat;
import dev.baton.device.WeightSlice;
import dev.baton.device.reference.ReferenceDevice;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/** No argument may reach a kernel that would let it touch memory outside its tensors. */
class ArgumentTest {

  private final Device device = Tiers.open("");
  private final Ops ops = device.openRanks(1).getFirst();
  private final KvCache cache =
      device.allocateKvCache(new KvShape(2, 4, 32, 0, 2, 8, DType.FLOAT32));
  private final StepBatch batch = device.allocateStepBatch(4, 2, 3);

  @AfterEach
  void close() {
    device.close();
  }

  private Tensor floats(long rows, long columns) {
    return device.allocate(DType.FLOAT32, rows, columns);
  }

  private LinearWeight weight(int outputs, int inputs) {
    return device.packLinear(slice(outputs, inputs), WeightFormat.FLOAT32, Parallelism.ROW);
  }

  private static WeightSlice slice(int outputs, int inputs) {
    return WeightSlice.whole(
        MemorySegment.ofArray(new float[outputs * inputs]), DType.FLOAT32, outputs, inputs);
  }

  private void oneToken(int tokenId, int position, int... blocks) {
    batch.begin();
    batch.addSequence(blocks, blocks.length);
    batch.addToken(tokenId, position, true);
    batch.seal();
  }

  private static void refused(ThrowingCallable call, String message) {
    assertThatThrownBy(call)
        .isInstanceOfAny(IllegalArgumentException.class, IllegalStateException.class)
        .hasMessageContaining(message);
  }

  private void attend(int layer) {
    ops.attention(floats(1, 16), floats(1, 16), cache, layer, batch, 1f, 0);
  }

  @Test
  void tensorsThatAreTooSmallAreNamed() {
    LinearWeight weight = weight(20, 8);
    refused(() -> ops.linear(floats(2, 20), floats(3, 8), weight, null, 3), "out: FLOAT32 [2, 20]");
    refused(() -> ops.linear(floats(3, 20), floats(3, 7), weight, null, 3), "x: FLOAT32 [3, 7]");
    refused(
        () -> ops.linear(floats(3, 20), floats(3, 8), weight, floats(1, 19), 3),
        "bias: FLOAT32 [1, 19]");
    refused(() -> ops.linear(floats(3, 20), floats(3, 8), weight, null, -1), "rows");
    refused(
        () ->
            ops.linear(
                List.of(
                    new Projection(floats(3, 20), weight, null),
                    new Projection(floats(2, 20), weight, null)),
                floats(3, 8),
                null,
                3),
        "out: FLOAT32 [2, 20]");
    refused(() -> ops.linear(List.of(), floats(3, 8), null, 3), "products: none");
    refused(
        () ->
            ops.linear(
                List.of(
                    new Projection(floats(3, 20), weight, null),
                    new Projection(floats(3, 20), weight(20, 7), null)),
                floats(3, 8),
                null,
                3),
        "of 7 inputs (expected: FLOAT32 of 8");
    refused(
        () ->
            ops.linear(
                List.of(new Projection(floats(3, 20), weight, null)),
                floats(3, 8),
                new Norm(floats(1, 9), 0f),
                3),
        "norm: 9 columns (expected: 8");
    refused(
        () -> ops.addLinear(floats(2, 20), floats(3, 8), weight, null, floats(3, 20), 3),
        "stream: FLOAT32 [2, 20]");
    refused(
        () -> ops.addLinear(floats(3, 20), floats(3, 8), weight, null, floats(3, 19), 3),
        "scratch: FLOAT32 [3, 19]");
    GatedWeight gated = device.packGated(slice(20, 8), slice(20, 8), WeightFormat.BFLOAT16);
    refused(
        () -> ops.gated(floats(3, 19), floats(3, 8), null, gated, null, null, 3),
        "out: FLOAT32 [3, 19]");
    refused(
        () -> ops.gated(floats(3, 20), floats(2, 8), null, gated, null, null, 3),
        "x: FLOAT32 [2, 8]");
    refused(
        () -> device.packGated(slice(20, 8), slice(21, 8), WeightFormat.BFLOAT16),
        "gate: [20, 8], up: [21, 8] (expected: the same shape)");
    refused(() -> ops.add(floats(1, 4), floats(1, 4), 1, 5), "x: FLOAT32 [1, 4]");
    refused(() -> ops.allReduce(floats(1, 4), 2, 4), "x: FLOAT32 [1, 4]");
    refused(() -> ops.allGather(floats(1, 4), floats(1, 4), 1, 1, 4), "out: FLOAT32 [1, 4]");
    refused(
        () -> ops.rmsNorm(floats(1, 8), floats(1, 8), floats(1, 3), 0f, 1, 8),
        "width: 8 (expected: a multiple of the group, 3)");
  }

  @Test
  void outputsThatOverlapInputsAreRefused() {
    Tensor x = floats(4, 8);
    refused(() -> ops.linear(x, x, weight(8, 8), null, 4), "out: overlaps x");
  }

  @Test
  void tokensBlocksAndPositionsOutOfRangeAreNamed() {
    oneToken(50, 3, 1);
    refused(() -> ops.embed(floats(1, 8), floats(50, 8), batch), "tokenId: 50 (expected: < 50");
    oneToken(0, 3, 4);
    refused(() -> attend(0), "block: 4 (expected: < 4");
    oneToken(0, 64, 0, 1);
    refused(() -> attend(0), "position: 64 of sequence 0 (expected: < 64");
    oneToken(0, 31, 0, 1);
    refused(() -> attend(2), "layer: 2 (expected: 0 to 1)");
    refused(() -> attend(-1), "layer: -1");
    refused(
        () ->
            ops.ropeStore(
                floats(1, 16),
                floats(1, 16),
                floats(1, 16),
                floats(31, 4),
                floats(32, 4),
                cache,
                0,
                batch),
        "cos: FLOAT32 [31, 4]");
    refused(
        () -> ops.attention(floats(1, 24), floats(1, 24), cache, 0, batch, 1f, 0),
        "q: 24 columns (expected: a multiple of kvHeads * headDim, 2 * 8)");
  }

  @Test
  void theBatchRefusesWhatDoesNotFit() {
    batch.begin();
    refused(() -> batch.addToken(0, 0, false), "sequences: none");
    refused(() -> batch.addSequence(new int[] {1, -2}, 2), "blockTable[1]: -2");
    refused(() -> batch.addSequence(new int[] {1, 2, 3, 0}, 4), "blocks: 4 (expected: 0 to 3)");
    batch.addSequence(new int[] {1}, 1);
    refused(() -> batch.addToken(-1, 0, false), "tokenId: -1");
    batch.addToken(1, 5, false);
    refused(() -> batch.addToken(1, 5, false), "position: 5 (expected: > 5");
    batch.addToken(1, 6, false);
    batch.addToken(1, 7, false);
    batch.addToken(1, 8, false);
    refused(() -> batch.addToken(1, 9, false), "tokens: full");
    refused(() -> ops.embed(floats(4, 8), floats(4, 8), batch), "step batch: open");
    batch.seal();
    refused(() -> batch.addToken(1, 9, false), "step batch: sealed");
  }

  @Test
  void slabsAndTablesAreMeasured() {
    SlabRegion region = new SlabRegion(0, 2, 0, 2, 0, 40, 8, DType.FLOAT32);
    MemorySegment slab = MemorySegment.ofArray(new byte[(int) region.bytes()]);
    refused(() -> device.packKv(cache, new int[] {0}, region, slab), "tokenTo: 40");
    refused(() -> device.packKv(cache, new int[] {0, 4}, region, slab), "blockTable[1]: 4");
    refused(
        () -> device.packKv(cache, new int[] {0, 1}, region, slab.asSlice(1)),
        "slab: 10239 bytes (expected: at least 10240)");
    refused(
        () ->
            device.unpackKv(
                cache, new int[] {0, 1}, new SlabRegion(0, 3, 0, 2, 0, 40, 8, DType.FLOAT32), slab),
        "layerTo: 3");
  }

  @Test
  void weightSlicesThatCutACanonicalRangeAreRefused() {
    MemorySegment data = MemorySegment.ofArray(new float[16]);
    refused(
        () ->
            device.packLinear(
                new WeightSlice(data, DType.FLOAT32, 1, 16, 0, 1, 0, 5),
                WeightFormat.FLOAT32,
                Parallelism.ROW),
        "columns: [0, 5) of 16");
    refused(
        () ->
            device.packLinear(
                new WeightSlice(data, DType.FLOAT32, 1, 16, 0, 1, 2, 6),
                WeightFormat.FLOAT32,
                Parallelism.ROW),
        "columns: [2, 6) of 16");
  }

  @Test
  void whatBelongsToAnotherKindOfDeviceOrToAClosedOneIsRefused() {
    LinearWeight closed;
    Tensor gone;
    try (Device other = Tiers.open("")) {
      closed =
          other.packLinear(
              WeightSlice.whole(MemorySegment.ofArray(new float[8]), DType.FLOAT32, 1, 8),
              WeightFormat.FLOAT32,
              Parallelism.ROW);
      gone = other.allocate(DType.FLOAT32, 1, 8);
    }
    refused(() -> ops.linear(floats(1, 1), floats(1, 8), closed, null, 1), "closed device");
    refused(() -> ops.add(gone, floats(1, 8), 1, 8), "closed device");
    try (Device reference = ReferenceDevice.open()) {
      LinearWeight foreign =
          reference.packLinear(
              WeightSlice.whole(MemorySegment.ofArray(new float[8]), DType.FLOAT32, 1, 8),
              WeightFormat.FLOAT32,
              Parallelism.ROW);
      refused(
          () -> ops.linear(floats(1, 1), floats(1, 8), foreign, null, 1),
          "weight: a ReferenceLinearWeight (expected: a CpuLinearWeight of this device)");
    }
  }

  @Test
  void kvOfAClosedDeviceIsRefusedAndClosingAgainDoesNothing() {
    SlabRegion region = new SlabRegion(0, 2, 0, 2, 0, 16, 8, DType.FLOAT32);
    MemorySegment slab = MemorySegment.ofArray(new byte[(int) region.bytes()]);
    device.packKv(cache, new int[] {0}, region, slab);
    device.close();
    device.close();
    refused(() -> device.packKv(cache, new int[] {0}, region, slab), "device: closed");
  }
}

package dev.baton.engine.checkpoint;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.baton.device.DType;
import dev.baton.device.RandomElements;
import dev.baton.device.host.Bf16;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RandomTensorsTest {

  private static final TensorNames NAMES = new TensorNames(0);

  /** Matrices {@code [172, 64]} between layers. */
  private static final ModelConfig CONFIG = ConfigReader.read(Path.of("../models/stories260K"));

  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16"})
  void matricesHaveElementsOfBothSignsAndAboutUnitGain(DType dtype) {
    try (RandomTensors tensors = new RandomTensors(CONFIG, dtype, 1, false)) {
      CheckpointTensor gate = tensors.get(NAMES.gate());
      assertThat(gate.shape()).containsExactly(172, 64);
      assertThat(gate.dtype()).isEqualTo(dtype);
      double sum = 0;
      double squares = 0;
      for (int i = 0; i < 172 * 64; i++) {
        double value = element(gate, i);
        assertThat(Math.abs(value)).isBetween(1.0 / 64, 2.0 / 8);
        sum += value;
        squares += value * value;
      }
      assertThat(sum / (172 * 64)).isCloseTo(0, within(0.01));
      assertThat(squares / 172).isCloseTo(1, within(0.35));
    }
  }

  @Test
  void normsAreOnes() {
    try (RandomTensors tensors = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false)) {
      CheckpointTensor norm = tensors.get(TensorNames.FINAL_NORM);
      assertThat(norm.dtype()).isEqualTo(DType.FLOAT32);
      for (int i = 0; i < 64; i++) {
        assertThat(element(norm, i)).isEqualTo(1);
      }
    }
  }

  @Test
  void equalSeedsGiveEqualBitsAndTensorsDiffer() {
    try (RandomTensors tensors = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false);
        RandomTensors same = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false);
        RandomTensors other = new RandomTensors(CONFIG, DType.BFLOAT16, 2, false)) {
      assertThat(same.get(NAMES.up()).data().mismatch(tensors.get(NAMES.up()).data()))
          .isEqualTo(-1);
      assertThat(other.get(NAMES.up()).data().mismatch(tensors.get(NAMES.up()).data()))
          .isNotEqualTo(-1);
      assertThat(same.get(NAMES.gate()).data().mismatch(tensors.get(NAMES.up()).data()))
          .isNotEqualTo(-1);
    }
  }

  @Test
  void anOddNumberOfElementsIsFilledToTheEnd() {
    MemorySegment odd = MemorySegment.ofArray(new short[1003]);
    new RandomElements(DType.BFLOAT16, 64, 1).fill(odd);
    for (int i = 0; i < 1003; i++) {
      assertThat(odd.get(JAVA_SHORT_UNALIGNED, 2L * i)).isNotZero();
    }
  }

  @Test
  void aThreadsNextTensorButOneTakesTheSameMemory() {
    try (RandomTensors tensors = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false)) {
      long up = tensors.get(NAMES.up()).data().address();
      assertThat(tensors.get(NAMES.gate()).data().address()).isNotEqualTo(up);
      assertThat(tensors.get(NAMES.up()).data().address()).isEqualTo(up);
    }
  }

  @Test
  void tensorsForADeviceThatMakesThemSayHowAndHoldNothing() {
    try (RandomTensors tensors = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false);
        RandomTensors described = new RandomTensors(CONFIG, DType.BFLOAT16, 1, true)) {
      CheckpointTensor up = described.get(NAMES.up());
      assertThat(up.data().byteSize()).isZero();
      assertThat(up.whole().random()).isEqualTo(up.random());
      MemorySegment made = MemorySegment.ofArray(new short[172 * 64]);
      Objects.requireNonNull(up.random()).fill(made);
      assertThat(made.mismatch(tensors.get(NAMES.up()).data())).isEqualTo(-1);
      assertThat(described.get(TensorNames.FINAL_NORM).random()).isNull();
    }
  }

  @Test
  void refusesATensorThatTheModelDoesNotHave() {
    try (RandomTensors tensors = new RandomTensors(CONFIG, DType.BFLOAT16, 1, false)) {
      assertThatThrownBy(() -> tensors.get("model.nothing"))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("tensor: model.nothing");
    }
  }

  private static double element(CheckpointTensor tensor, int index) {
    return tensor.dtype() == DType.FLOAT32
        ? tensor.data().get(JAVA_FLOAT_UNALIGNED, 4L * index)
        : Bf16.toFloat(tensor.data().get(JAVA_SHORT_UNALIGNED, 2L * index));
  }
}

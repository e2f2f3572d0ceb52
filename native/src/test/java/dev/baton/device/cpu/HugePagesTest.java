package dev.baton.device.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.Trial;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class HugePagesTest {

  @Test
  void everyPieceIsZeroedAlignedAndItsOwnersAlone() {
    Trial trial = Trial.named("huge pages");
    HugePages pages = new HugePages();
    try (Arena arena = Arena.ofShared()) {
      List<MemorySegment> pieces = new ArrayList<>();
      for (int i = 0; i < 60; i++) {
        long bytes =
            switch (trial.between(0, 3)) {
              case 0 -> trial.between(1, 200);
              case 1 -> trial.between(201, 100_000);
              case 2 -> trial.between(1 << 20, 5 << 20);
              default -> HugePages.SHARED / 4 + trial.between(0, 2);
            };
        MemorySegment piece = pages.allocate(arena, bytes);
        assertThat(piece.byteSize()).isEqualTo(bytes);
        assertThat(piece.address() % 64).isZero();
        for (long at : List.of(0L, bytes / 2, bytes - 1)) {
          assertThat(piece.get(JAVA_BYTE, at)).isZero();
        }
        piece.set(JAVA_BYTE, 0, (byte) 1);
        piece.set(JAVA_BYTE, bytes - 1, (byte) 1);
        for (MemorySegment other : pieces) {
          assertThat(other.asOverlappingSlice(piece)).isEmpty();
        }
        pieces.add(piece);
      }
    }
  }
}

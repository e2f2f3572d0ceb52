package dev.baton.worker;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.DeviceOptions.Kind;
import dev.baton.engine.DeviceOptions.Slabs;
import dev.baton.kvtransfer.TransferOptions;
import org.junit.jupiter.api.Test;

class SlabPlacementTest {

  private static SlabPlacement place(Kind kind, Slabs slabs, boolean ucxKnowsCuda) {
    return SlabPlacement.of(DeviceOptions.of(kind).withSlabs(slabs), ucxKnowsCuda);
  }

  @Test
  void slabsLieOnTheGpuWhereUcxCanSendFromThereUnlessTheHostIsAskedFor() {
    assertThat(place(Kind.CUDA, Slabs.AUTO, true).onDevice()).isTrue();
    assertThat(place(Kind.CUDA, Slabs.DEVICE, true).onDevice()).isTrue();
    assertThat(place(Kind.CUDA, Slabs.HOST, true).onDevice()).isFalse();
    assertThat(place(Kind.CUDA, Slabs.AUTO, false))
        .satisfies(
            place -> {
              assertThat(place.onDevice()).isFalse();
              assertThat(place.reason()).contains("CUDA modules");
            });
    assertThat(place(Kind.CPU, Slabs.AUTO, true).onDevice()).isFalse();
  }

  @Test
  void anEmulatedGpusSlabsLieThereWhenAskedForWhateverUcxKnows() {
    assertThat(place(Kind.EMULATED_CUDA, Slabs.DEVICE, false).onDevice()).isTrue();
    assertThat(place(Kind.EMULATED_CUDA, Slabs.AUTO, false).onDevice()).isFalse();
  }

  @Test
  void aGpuThatIsAskedForAndCannotBeIsRefusedWithWhatIsMissing() {
    assertThatThrownBy(() -> place(Kind.CUDA, Slabs.DEVICE, false))
        .hasMessageContaining("kv-slabs: device (expected: a UCX with CUDA's modules");
  }

  @Test
  void slabsOnTheGpuAreLargerAndAsManyInAllBytes() {
    TransferOptions plain = TransferOptions.on("127.0.0.1");
    TransferOptions sized = place(Kind.CUDA, Slabs.AUTO, true).sized(plain);
    assertThat(sized.slabBytes()).isEqualTo(2 << 20);
    assertThat(sized.poolBytes()).isEqualTo(plain.poolBytes());
    assertThat(place(Kind.CUDA, Slabs.HOST, true).sized(plain)).isEqualTo(plain);
  }
}

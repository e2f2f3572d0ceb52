package dev.baton.device.cuda;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

/** Machine code that a driver cannot read is no riddle. */
final class KernelCodeTest {

  @Test
  void codeThatTheDriverRefusesIsToldWithTheWayOut() {
    CudaDriver driver = CudaDriver.open(true);
    KernelCode.Image strange = new KernelCode.Image(new byte[] {'?'});
    try (CudaGpu gpu = new CudaGpu(driver, 0, 0.01)) {
      assertThat(gpu.driver()).isSameAs(driver);
      assertThatThrownBy(() -> KernelCode.module(driver, strange))
          .isInstanceOf(CudaUnavailableException.class)
          .hasMessageContaining("a driver not older than the toolkit")
          .hasMessageContaining("cuModuleLoadData");
    }
  }
}

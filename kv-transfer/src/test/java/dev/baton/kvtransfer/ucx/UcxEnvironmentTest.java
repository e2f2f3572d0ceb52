package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Map;
import org.junit.jupiter.api.Test;

class UcxEnvironmentTest {

  @Test
  void theInterfaceIsTheOneThatHasTheAddress() {
    assertThat(UcxEnvironment.defaults("127.0.0.1")).containsEntry("UCX_NET_DEVICES", "lo");
    assertThatThrownBy(() -> UcxEnvironment.defaults("192.0.2.1"))
        .hasMessageContaining("192.0.2.1");
  }

  @Test
  void theTestsRunWithIt() {
    for (Map.Entry<String, String> setting : UcxEnvironment.defaults("127.0.0.1").entrySet()) {
      assertThat(System.getenv(setting.getKey()))
          .as(setting.getKey())
          .isEqualTo(setting.getValue());
    }
  }
}

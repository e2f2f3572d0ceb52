package dev.baton.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.DisplayName;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

@DisplayName("A byte size")
class ByteSizeTest {

  @ParameterizedTest
  @CsvSource({
    "0,0",
    "1048576,1048576",
    "1K,1024",
    "512M,536870912",
    "1.5g,1610612736",
    "2GiB,2147483648",
    "1TB,1099511627776"
  })
  void isReadAsPeopleWriteIt(String text, long bytes) {
    assertThat(ByteSize.parse(text).bytes()).isEqualTo(bytes);
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "-1", "1P", "M", "1,5G", "999999999999999T", "0x10"})
  void refusesAnythingElse(String text) {
    assertThatThrownBy(() -> ByteSize.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("expected");
  }
}

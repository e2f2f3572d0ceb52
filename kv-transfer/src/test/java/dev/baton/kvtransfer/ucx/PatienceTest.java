package dev.baton.kvtransfer.ucx;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class PatienceTest {
  private final Patience patience = new Patience(100);

  @Test
  void doesNotLookAtAllAtFirst() {
    assertThat(patience.lasts(0)).isFalse();
  }

  @Test
  void looksOnForItsTimeAfterShortWaits() {
    patience.waited(99);

    assertThat(patience.lasts(0)).isTrue();
    assertThat(patience.lasts(99)).isTrue();
    assertThat(patience.lasts(100)).isFalse();
  }

  @Test
  void looksNoMoreAfterALongWait() {
    patience.waited(99);
    patience.waited(100);

    assertThat(patience.lasts(0)).isFalse();
  }
}

package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

/** What the engine takes from a machine, and why it says that it does. */
class MachineSizesTest {

  private static final long GIB = 1L << 30;

  @Test
  void budgetAndBatchGrowWithTheProcessorsUpToABound() {
    MachineSizes small = new MachineSizes(2, 24 * GIB);
    assertThat(small.stepTokens()).isEqualTo(512);
    assertThat(small.maxSessions()).isEqualTo(64);
    assertThat(small.reasonForTokens(512)).isEqualTo("256 for each of 2 processors");
    assertThat(small.reasonForSessions(64)).isEqualTo("32 for each of 2 processors");

    MachineSizes large = new MachineSizes(192, 2048 * GIB);
    assertThat(large.stepTokens()).isEqualTo(4096);
    assertThat(large.maxSessions()).isEqualTo(512);
    assertThat(large.reasonForTokens(4096)).contains("192 processors");
  }

  @Test
  void littleMemoryBoundsThemButLeavesSome() {
    MachineSizes crowded = new MachineSizes(16, 8 * GIB);
    assertThat(crowded.stepTokens()).isEqualTo(512);
    assertThat(crowded.maxSessions()).isEqualTo(128);
    assertThat(crowded.reasonForSessions(128)).contains("8192 MiB of memory");
    MachineSizes tiny = new MachineSizes(1, GIB / 4);
    assertThat(tiny.stepTokens()).isEqualTo(256);
    assertThat(tiny.maxSessions()).isEqualTo(8);
  }

  @Test
  void explicitOptionsWinAndAreNamedAsSuch() {
    EngineOptions options = EngineOptions.of(Path.of("m"));
    assertThat(options.stepTokens()).isEqualTo(MachineSizes.HERE.stepTokens());
    assertThat(options.maxSessions()).isEqualTo(MachineSizes.HERE.maxSessions());
    assertThat(options.blockTokens()).isEqualTo(32);
    assertThat(options.withStepTokens(7).stepTokens()).isEqualTo(7);
    assertThat(options.withMaxSessions(3).withStepTokens(7).maxSessions()).isEqualTo(3);
    assertThat(MachineSizes.HERE.reasonForTokens(7)).isEqualTo("as asked for");
    assertThat(MachineSizes.HERE.reasonForSessions(3)).isEqualTo("as asked for");
    assertThat(MachineSizes.HERE.reasonForBlocks(64)).isEqualTo("as asked for");
  }
}

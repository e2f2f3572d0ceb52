package dev.baton.simulation.sabotage;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.simulation.Campaign;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SabotageTest {

  private static final int SEEDS = 1000;

  @ParameterizedTest
  @EnumSource(Sabotage.class)
  void isFoundWithinAThousandSeeds(Sabotage sabotage) throws Exception {
    assertThat(find(sabotage, 1)).as("seeds that find %s", sabotage).isNotEmpty();
  }

  @Test
  void theWorkerNamesTheSessionWhoseBlocksWereForgotten() throws Exception {
    assertThat(find(Sabotage.BLOCKS_LEAKED, 5))
        .anyMatch(what -> what.matches(".* leaks \\d+ blocks of session s\\d+.*/\\d+ for .*"));
  }

  @Test
  void aWorkerThatDoesNotNoticeTheRoutersDeathIsFoundByThat() throws Exception {
    assertThat(find(Sabotage.END_OF_CALLS_NOT_NOTICED, 60))
        .anyMatch(what -> what.matches(".*, 1000 ms after its router died"));
  }

  @Test
  void theWorkerNamesTheSessionWhoseSlabsWereForgotten() throws Exception {
    assertThat(find(Sabotage.SLABS_LEAKED, 5))
        .anyMatch(
            what -> what.matches(".* leaks \\d+ sending slabs of session s\\d+.*/\\d+ for .*"));
  }

  private static List<String> find(Sabotage sabotage, int most) throws Exception {
    List<String> found = new ArrayList<>();
    Campaign.run(
        1,
        SEEDS,
        Math.min(4, Runtime.getRuntime().availableProcessors()),
        most,
        sabotage::seams,
        verdict -> found.add(verdict.seed() + ": " + verdict.violation().orElseThrow()),
        _ -> {});
    return found;
  }
}

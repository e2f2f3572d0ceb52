package dev.baton.simulation.sabotage;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.simulation.Campaign;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SabotageTest {

  private static final int SEEDS = 1000;

  @ParameterizedTest
  @EnumSource(Sabotage.class)
  void isFoundWithinAThousandSeeds(Sabotage sabotage) throws Exception {
    List<String> found = new ArrayList<>();
    Campaign.run(
        1,
        SEEDS,
        Math.min(4, Runtime.getRuntime().availableProcessors()),
        1,
        sabotage::seams,
        verdict -> found.add(verdict.seed() + ": " + verdict.violation().orElseThrow()),
        _ -> {});
    assertThat(found).as("seeds that find %s", sabotage).isNotEmpty();
  }
}

package dev.baton.router.session;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.router.session.PrefixPlanner.Choice;
import dev.baton.router.session.PrefixPlanner.Peer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class PrefixPlannerTest {

  private static final String SALT = "";
  private static final long MILLI = 1_000_000;
  private static final Peer TARGET = new Peer("target", 64, true);
  private static final Peer HOLDER = new Peer("holder", 64, true);
  private static final List<Peer> PEERS = List.of(TARGET, HOLDER);

  private final PrefixPlanner planner = new PrefixPlanner();

  private static int[] tokens(int count) {
    int[] tokens = new int[count];
    Arrays.setAll(tokens, i -> 7 * i);
    return tokens;
  }

  private static Choice chosen(@Nullable Choice choice) {
    if (choice == null) {
      throw new AssertionError("nothing chosen (expected: a source)");
    }
    return choice;
  }

  /** A token takes the target 1 ms to compute and a tenth of that to move. */
  private void measured() {
    planner.computed("target", 1000, 1000 * MILLI);
    planner.moved(1000, 100 * MILLI, false);
  }

  @Test
  void aPrefixIsFetchedWhenMovingItIsCheaperThanComputingIt() {
    measured();
    planner.holds("holder", SALT, tokens(512));
    Choice choice = chosen(planner.choose(PEERS, TARGET, SALT, tokens(600)));
    assertThat(choice.worker()).isEqualTo("holder");
    assertThat(choice.tokens()).isEqualTo(512);
    assertThat(choice.gainSeconds()).isBetween(0.4, 0.47);
  }

  @Test
  void nothingIsFetchedWhileARateIsUnknown() {
    planner.holds("holder", SALT, tokens(512));
    planner.moved(1000, 100 * MILLI, false);
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(600))).isNull();
    PrefixPlanner other = new PrefixPlanner();
    other.holds("holder", SALT, tokens(512));
    other.computed("target", 1000, 1000 * MILLI);
    assertThat(other.choose(PEERS, TARGET, SALT, tokens(600))).isNull();
  }

  @Test
  void aWorkerThatWasNeverMeasuredIsTakenForOneLikeTheOthers() {
    planner.computed("somebody", 1000, 1000 * MILLI);
    planner.moved(1000, 100 * MILLI, false);
    planner.holds("holder", SALT, tokens(512));
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(600))).isNotNull();
  }

  @Test
  void aSlowWireOrAFastProcessorComputes() {
    planner.computed("target", 1000, 50 * MILLI);
    planner.moved(1000, 100 * MILLI, false);
    planner.holds("holder", SALT, tokens(4096));
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(5000))).isNull();
  }

  @Test
  void whatIsHereAlreadyAndWhatIsShortIsNotFetched() {
    measured();
    planner.holds("holder", SALT, tokens(512));
    planner.holds("target", SALT, tokens(512));
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(600))).isNull();
    assertThat(planner.choose(PEERS, TARGET, "other salt", tokens(600))).isNull();
    PrefixPlanner few = new PrefixPlanner();
    few.computed("target", 1000, 100 * MILLI);
    few.moved(1000, 50 * MILLI, false);
    few.holds("holder", SALT, tokens(64));
    assertThat(few.choose(PEERS, TARGET, SALT, tokens(600)))
        .as("64 tokens in 6 ms cost less than two calls")
        .isNull();
  }

  @Test
  void theLastTokenIsLeftToBeComputedAndBlocksAreWholeOnBothSides() {
    measured();
    planner.holds("holder", SALT, tokens(576));
    Choice whole = chosen(planner.choose(PEERS, TARGET, SALT, tokens(576)));
    assertThat(whole.tokens()).isEqualTo(512);
    Peer other = new Peer("target", 96, true);
    Choice common = chosen(planner.choose(List.of(HOLDER), other, SALT, tokens(700)));
    assertThat(common.tokens()).as("a multiple of 192").isEqualTo(576);
  }

  @Test
  void whoDoesNotServePrefixesIsNotAsked() {
    measured();
    planner.holds("holder", SALT, tokens(512));
    Peer without = new Peer("holder", 64, false);
    assertThat(planner.choose(List.of(without), TARGET, SALT, tokens(600))).isNull();
    Peer deaf = new Peer("target", 64, false);
    assertThat(planner.choose(PEERS, deaf, SALT, tokens(600))).isNull();
  }

  @Test
  void whatAHolderHasGivenUpIsForgotten() {
    measured();
    planner.holds("holder", SALT, tokens(512));
    planner.holdsOnly("holder", SALT, tokens(512), 256);
    Choice rest = chosen(planner.choose(PEERS, TARGET, SALT, tokens(600)));
    assertThat(rest.tokens()).isEqualTo(256);
  }

  @Test
  void aHandOffThatWaitedForItsTokensOnlyBoundsTheCost() {
    planner.computed("target", 1000, 1000 * MILLI);
    planner.holds("holder", SALT, tokens(512));
    planner.moved(1000, 2000 * MILLI, true);
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(600))).isNull();
    planner.moved(1000, 100 * MILLI, true);
    planner.moved(1000, 2000 * MILLI, true);
    assertThat(planner.choose(PEERS, TARGET, SALT, tokens(600))).isNotNull();
  }

  @Test
  void theIndexKnowsBeginningsAndForgetsTheOldest() {
    PrefixIndex index = new PrefixIndex(4);
    index.add("a", SALT, tokens(200));
    index.add("b", SALT, tokens(64));
    int[] changed = tokens(200);
    changed[100]++;
    assertThat(index.find(SALT, changed)).isEqualTo(Map.of("a", 64, "b", 64));
    assertThat(index.find(SALT, tokens(200))).isEqualTo(Map.of("a", 192, "b", 64));
    int[] other = tokens(256);
    other[0]++;
    index.add("c", SALT, other);
    assertThat(index.find(SALT, tokens(200))).isEmpty();
    assertThat(index.find(SALT, other)).isEqualTo(Map.of("c", 256));
  }
}

package dev.baton.router.text;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

final class StopStringsTest {

  @Test
  void beginningOfAStopStringIsHeldBackUntilItIsNone() {
    StopStrings stops = new StopStrings(List.of("END"));
    assertThat(stops.take("the E")).isEqualTo("the ");
    assertThat(stops.take("N")).isEmpty();
    assertThat(stops.take("EN")).isEqualTo("EN");
    assertThat(stops.end()).isEqualTo("EN");
    assertThat(stops.found()).isNull();
  }

  @Test
  void stopStringAcrossPiecesCutsTheText() {
    StopStrings stops = new StopStrings(List.of("\n\nUser:"));
    assertThat(stops.take("Hello.\n")).isEqualTo("Hello.");
    assertThat(stops.take("\nUs")).isEmpty();
    assertThat(stops.take("er: hi")).isEmpty();
    assertThat(stops.found()).isEqualTo("\n\nUser:");
    assertThat(stops.end()).isEmpty();
  }

  @Test
  void ofSeveralStopStringsTheFirstInTheTextCuts() {
    StopStrings stops = new StopStrings(List.of("later", "a", "soon"));
    assertThat(stops.take("very soon later")).isEqualTo("very ");
    assertThat(stops.found()).isEqualTo("soon");
  }

  @Test
  void randomTextsAreCutWhereAPlainSearchCutsThem() {
    long seed = HuggingFaceTextModelTest.seed();
    Random random = new Random(seed);
    for (int round = 0; round < 20_000; round++) {
      List<String> stops =
          Stream.generate(() -> letters(random, 1 + random.nextInt(5)))
              .limit(1 + random.nextInt(3))
              .toList();
      StopStrings watched = new StopStrings(stops);
      StringBuilder seen = new StringBuilder();
      StringBuilder shown = new StringBuilder();
      while (seen.length() < 30 && watched.found() == null) {
        String piece = letters(random, random.nextInt(4));
        seen.append(piece);
        shown.append(watched.take(piece));
        assertThat(shown.length()).as("seed %d", seed).isLessThanOrEqualTo(cut(seen, stops));
      }
      shown.append(watched.end());
      assertThat(shown.toString())
          .as("seed %d, round %d, stops %s, text %s", seed, round, stops, seen)
          .isEqualTo(seen.substring(0, cut(seen, stops)));
      String rest = seen.substring(cut(seen, stops));
      assertThat(watched.found())
          .matches(stop -> stop == null ? rest.isEmpty() : rest.startsWith(stop));
    }
  }

  @Test
  void emptyOrIllFormedStopStringsAreRefused() {
    assertThatThrownBy(() -> new StopStrings(List.of("")))
        .isInstanceOf(IllegalArgumentException.class);
    assertThatThrownBy(() -> new StopStrings(List.of("\uDE42")))
        .isInstanceOf(IllegalArgumentException.class);
  }

  private static int cut(CharSequence text, List<String> stops) {
    int cut = text.length();
    for (String stop : stops) {
      int at = text.toString().indexOf(stop);
      cut = at >= 0 ? Math.min(cut, at) : cut;
    }
    return cut;
  }

  private static String letters(Random random, int length) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < length; i++) {
      text.append((char) ('a' + random.nextInt(3)));
    }
    return text.toString();
  }
}

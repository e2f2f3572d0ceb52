package dev.baton.router.text;

import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Watches a text, given in pieces, for stop strings. Text that may be the beginning of one is held
 * back; what is passed on is never taken back. Of several found in one piece, the one that begins
 * first cuts the text. Work is a few steps a character and stop string, whatever their length
 * (Knuth, Morris, Pratt: Fast Pattern Matching in Strings, 1977). Single-threaded.
 */
final class StopStrings {

  private final Matcher[] matchers;
  private final StringBuilder held = new StringBuilder();
  private @Nullable String found;

  StopStrings(List<String> stops) {
    matchers = stops.stream().map(Matcher::new).toArray(Matcher[]::new);
  }

  /** The stop string that cut the text; null while none did. */
  @Nullable String found() {
    return found;
  }

  /** Takes more text and returns what of the text so far is now safe to show. */
  String take(String text) {
    if (matchers.length == 0) {
      return text;
    }
    int before = held.length();
    held.append(text);
    int cut = Integer.MAX_VALUE;
    int keep = 0;
    for (Matcher matcher : matchers) {
      int at = matcher.scan(held, before);
      if (at < cut) {
        cut = at;
        found = matcher.stop;
      }
      keep = Math.max(keep, matcher.matched);
    }
    int safe = found != null ? cut : held.length() - keep;
    String passed = held.substring(0, safe);
    held.delete(0, safe);
    return passed;
  }

  /** The text has ended: what was held back, unless it began a stop string that was found. */
  String end() {
    String rest = found != null ? "" : held.toString();
    held.setLength(0);
    return rest;
  }

  /** One stop string and how much of it the text's end matches. */
  private static final class Matcher {
    private final String stop;

    /** fallback[n]: length of the longest proper prefix that also ends the first n characters. */
    private final int[] fallback;

    private int matched;

    Matcher(String stop) {
      if (stop.isEmpty() || Surrogates.anyLone(stop)) {
        throw new IllegalArgumentException("stop: '" + stop + "' (expected: well-formed text)");
      }
      this.stop = stop;
      fallback = new int[stop.length() + 1];
      int length = 0;
      for (int i = 1; i < stop.length(); i++) {
        length = advance(length, stop.charAt(i));
        fallback[i + 1] = length;
      }
    }

    private int advance(int length, char c) {
      while (length > 0 && (length == stop.length() || stop.charAt(length) != c)) {
        length = fallback[length];
      }
      return stop.charAt(length) == c ? length + 1 : 0;
    }

    /** Where the stop string begins in the text, or MAX_VALUE; reads from {@code start} on. */
    int scan(CharSequence text, int start) {
      for (int i = start; i < text.length(); i++) {
        matched = advance(matched, text.charAt(i));
        if (matched == stop.length()) {
          return i + 1 - matched;
        }
      }
      return Integer.MAX_VALUE;
    }
  }
}

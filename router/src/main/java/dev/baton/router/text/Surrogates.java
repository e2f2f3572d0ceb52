package dev.baton.router.text;

/** Lone surrogates: JSON can carry them in strings, UTF-8 cannot. */
final class Surrogates {

  private Surrogates() {}

  /** The text with each lone surrogate replaced by U+FFFD. */
  static String repair(String text) {
    int bad = firstLone(text, 0);
    if (bad < 0) {
      return text;
    }
    StringBuilder repaired = new StringBuilder(text);
    while (bad >= 0) {
      repaired.setCharAt(bad, '\uFFFD');
      bad = firstLone(repaired, bad + 1);
    }
    return repaired.toString();
  }

  static boolean anyLone(String text) {
    return firstLone(text, 0) >= 0;
  }

  private static int firstLone(CharSequence text, int from) {
    for (int i = from; i < text.length(); i++) {
      char c = text.charAt(i);
      if (!Character.isSurrogate(c)) {
        continue;
      }
      boolean paired =
          Character.isHighSurrogate(c)
              && i + 1 < text.length()
              && Character.isLowSurrogate(text.charAt(i + 1));
      if (!paired) {
        return i;
      }
      i++;
    }
    return -1;
  }
}

package dev.baton.cli;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A number of bytes as people write it: {@code 1048576}, {@code 512M}, {@code 1.5G}; K, M, G and T
 * are powers of 1024.
 */
public record ByteSize(long bytes) {

  private static final Pattern FORM =
      Pattern.compile("(\\d{1,15}(?:\\.\\d{1,6})?)([KMGT])?(?:I?B)?");

  public static ByteSize parse(String text) {
    Matcher matcher = FORM.matcher(text.toUpperCase(Locale.ROOT));
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "%s (expected: bytes, or a number with K, M, G or T, such as 512M)".formatted(text));
    }
    String unit = matcher.group(2);
    int shift = unit == null ? 0 : 10 * ("KMGT".indexOf(unit) + 1);
    double bytes = Double.parseDouble(matcher.group(1)) * (1L << shift);
    if (bytes >= Long.MAX_VALUE) {
      throw new IllegalArgumentException("%s (expected: less than 8 EiB)".formatted(text));
    }
    return new ByteSize((long) bytes);
  }

  /** One decimal and a unit, such as {@code 1.5 GiB}. */
  public static String format(long bytes) {
    if (bytes < 1 << 20) {
      return "%.1f KiB".formatted(bytes / 1024.0);
    }
    if (bytes < 1 << 30) {
      return "%.1f MiB".formatted(bytes / (1024.0 * 1024.0));
    }
    return "%.1f GiB".formatted(bytes / (1024.0 * 1024.0 * 1024.0));
  }

  @Override
  public String toString() {
    return Long.toString(bytes);
  }
}

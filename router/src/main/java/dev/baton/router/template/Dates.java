package dev.baton.router.template;

import java.time.ZonedDateTime;
import java.time.format.TextStyle;
import java.util.Locale;

/** C's strftime in the C locale, with GNU's {@code %-d} for no padding. */
final class Dates {

  private Dates() {}

  static String format(String format, ZonedDateTime time) {
    StringBuilder text = new StringBuilder();
    for (int i = 0; i < format.length(); i++) {
      char c = format.charAt(i);
      if (c != '%' || i + 1 == format.length()) {
        text.append(c);
        continue;
      }
      c = format.charAt(++i);
      boolean padded = c != '-';
      if (!padded && i + 1 < format.length()) {
        c = format.charAt(++i);
      }
      text.append(field(c, padded, time));
    }
    return text.toString();
  }

  private static String field(char c, boolean padded, ZonedDateTime time) {
    int hour12 = (time.getHour() + 11) % 12 + 1;
    return switch (c) {
      case 'd' -> number(time.getDayOfMonth(), 2, padded);
      case 'e' -> String.format("%2d", time.getDayOfMonth());
      case 'm' -> number(time.getMonthValue(), 2, padded);
      case 'y' -> number(time.getYear() % 100, 2, padded);
      case 'Y' -> Integer.toString(time.getYear());
      case 'H' -> number(time.getHour(), 2, padded);
      case 'I' -> number(hour12, 2, padded);
      case 'M' -> number(time.getMinute(), 2, padded);
      case 'S' -> number(time.getSecond(), 2, padded);
      case 'f' -> number(time.getNano() / 1000, 6, true);
      case 'j' -> number(time.getDayOfYear(), 3, padded);
      case 'p' -> time.getHour() < 12 ? "AM" : "PM";
      case 'b', 'h' -> time.getMonth().getDisplayName(TextStyle.SHORT, Locale.ENGLISH);
      case 'B' -> time.getMonth().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
      case 'a' -> time.getDayOfWeek().getDisplayName(TextStyle.SHORT, Locale.ENGLISH);
      case 'A' -> time.getDayOfWeek().getDisplayName(TextStyle.FULL, Locale.ENGLISH);
      case 'w' -> Integer.toString(time.getDayOfWeek().getValue() % 7);
      case 'F' -> format("%Y-%m-%d", time);
      case 'T' -> format("%H:%M:%S", time);
      case 'n' -> "\n";
      case 't' -> "\t";
      case '%' -> "%";
      // Python's datetime.now() knows no zone, and prints none.
      case 'z', 'Z' -> "";
      default -> throw new TemplateException("strftime_now: unsupported field '%" + c + "'");
    };
  }

  private static String number(int value, int width, boolean padded) {
    return padded ? String.format("%0" + width + "d", value) : Integer.toString(value);
  }
}

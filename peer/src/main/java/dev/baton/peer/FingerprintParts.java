package dev.baton.peer;

import java.util.ArrayList;
import java.util.List;

/**
 * What a model's fingerprint is made of: a hash over everything that decides which KV a token
 * sequence gives, 64 hexadecimal digits, then a dot and {@link #DIGITS} digits for each part alone.
 * So two workers that must not exchange KV can be told in what they differ.
 */
public final class FingerprintParts {

  /** What enters, in the order of the text. */
  public static final List<String> NAMES =
      List.of("numerics", "dtype", "quantization", "kv_dtype", "config", "tokenizer", "weights");

  /** Of each part. */
  public static final int DIGITS = 6;

  private static final int WHOLE_DIGITS = 64;

  private FingerprintParts() {}

  /**
   * Says that a fingerprint is not the one it must be, and in what they differ.
   *
   * @param field that has it
   * @param whose the one that it must be is
   */
  public static String mismatch(String field, String given, String expected, String whose) {
    return "%s: %s (expected: %s, %s; the difference: %s)"
        .formatted(field, given, expected, whose, String.join(", ", differences(given, expected)));
  }

  /**
   * The names of the parts in which two fingerprints differ. Empty when they are equal; {@code
   * fingerprint} alone when one of them is no such text.
   */
  public static List<String> differences(String one, String other) {
    if (one.equals(other)) {
      return List.of();
    }
    int length = WHOLE_DIGITS + 1 + NAMES.size() * DIGITS;
    List<String> names = new ArrayList<>();
    if (one.length() == length && other.length() == length) {
      for (int i = 0; i < NAMES.size(); i++) {
        int at = WHOLE_DIGITS + 1 + i * DIGITS;
        if (!one.regionMatches(at, other, at, DIGITS)) {
          names.add(NAMES.get(i));
        }
      }
    }
    return names.isEmpty() ? List.of("fingerprint") : names;
  }
}

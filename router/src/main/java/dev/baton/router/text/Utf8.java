package dev.baton.router.text;

/**
 * Bytes to text, a byte at a time, for byte-level tokens and byte tokens. What is not UTF-8 becomes
 * U+FFFD, one for each maximal part of a valid sequence (Unicode 3.9, table 3-7), as in Rust's
 * lossy decoding; the JDK's decoder gives fewer for encoded surrogates.
 */
final class Utf8 {

  private static final char REPLACEMENT = '\uFFFD';

  private int codePoint;
  private int missing;

  /** Bounds of the next byte of a sequence; narrower than 80..BF after E0, ED, F0, F4. */
  private int low = 0x80;

  private int high = 0xBF;

  /** Adds to the text what the byte completes. */
  void take(byte next, StringBuilder text) {
    int b = next & 0xFF;
    if (missing > 0) {
      if (b >= low && b <= high) {
        low = 0x80;
        high = 0xBF;
        codePoint = codePoint << 6 | b & 0x3F;
        missing--;
        if (missing == 0) {
          text.appendCodePoint(codePoint);
        }
        return;
      }
      end(text);
    }
    if (b < 0x80) {
      text.append((char) b);
    } else if (b >= 0xC2 && b <= 0xDF) {
      begin(1, b & 0x1F);
    } else if (b >= 0xE0 && b <= 0xEF) {
      begin(2, b & 0x0F);
      low = b == 0xE0 ? 0xA0 : 0x80;
      high = b == 0xED ? 0x9F : 0xBF;
    } else if (b >= 0xF0 && b <= 0xF4) {
      begin(3, b & 0x07);
      low = b == 0xF0 ? 0x90 : 0x80;
      high = b == 0xF4 ? 0x8F : 0xBF;
    } else {
      text.append(REPLACEMENT);
    }
  }

  private void begin(int more, int bits) {
    missing = more;
    codePoint = bits;
  }

  /** No more bytes: an unfinished character becomes U+FFFD. */
  void end(StringBuilder text) {
    if (missing > 0) {
      text.append(REPLACEMENT);
      missing = 0;
      low = 0x80;
      high = 0xBF;
    }
  }
}

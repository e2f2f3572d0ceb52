package dev.baton.router.text;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * The alphabet of byte-level BPE (GPT-2): each byte is written as one printable character. Bytes
 * that are printable in Latin-1 are themselves, the others follow from U+0100 in order.
 */
final class ByteAlphabet {

  private static final int FIRST_SHIFTED = 0x100;
  private static final short[] BYTES = new short[FIRST_SHIFTED + 68];

  static {
    Arrays.fill(BYTES, (short) -1);
    int shifted = FIRST_SHIFTED;
    for (int b = 0; b < 256; b++) {
      boolean printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xFF && b != 0xAD);
      BYTES[printable ? b : shifted++] = (short) b;
    }
  }

  private ByteAlphabet() {}

  /** The bytes of a token; one with characters outside the alphabet stands for its own UTF-8. */
  static byte[] bytes(String token) {
    byte[] bytes = new byte[token.length()];
    for (int i = 0; i < bytes.length; i++) {
      char c = token.charAt(i);
      if (c >= BYTES.length || BYTES[c] < 0) {
        return token.getBytes(StandardCharsets.UTF_8);
      }
      bytes[i] = (byte) BYTES[c];
    }
    return bytes;
  }
}

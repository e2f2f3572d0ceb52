package dev.baton.router.text;

import java.util.function.Consumer;

/**
 * One step of a running decoder: takes token strings and passes on text, as soon as no later token
 * can change it. Stateful, for one text, single-threaded. Each does what the step of the same name
 * does in the Rust tokenizers library, where it sees all tokens at once; {@link ByteFallback} says
 * where it differs.
 */
sealed interface DecodeStep {

  void take(String piece, Consumer<String> next);

  /** The text has ended: passes on what was held back. */
  void end(Consumer<String> next);

  /** Replaces a string by another within each token. */
  record Replace(String pattern, String content) implements DecodeStep {
    @Override
    public void take(String piece, Consumer<String> next) {
      next.accept(piece.replace(pattern, content));
    }

    @Override
    public void end(Consumer<String> next) {}
  }

  /**
   * Turns tokens such as {@code <0xE2>} into text, a character as soon as it is whole: scripts
   * without tokens of their own come as bytes alone, and would else come all at the end. The Rust
   * library, which sees the end, makes every byte of a run of bytes U+FFFD when any of it is no
   * UTF-8; here the rest of the run stays text, as in sentencepiece.
   */
  final class ByteFallback implements DecodeStep {
    private final Utf8 utf8 = new Utf8();

    /** The byte that a token such as {@code <0xE2>} stands for, or -1. */
    static int byteOf(String token) {
      if (token.length() != 6 || !token.startsWith("<0x") || token.charAt(5) != '>') {
        return -1;
      }
      int high = Character.digit(token.charAt(3), 16);
      int low = Character.digit(token.charAt(4), 16);
      return high < 0 || low < 0 ? -1 : high << 4 | low;
    }

    @Override
    public void take(String piece, Consumer<String> next) {
      int value = byteOf(piece);
      if (value < 0) {
        end(next);
        next.accept(piece);
        return;
      }
      StringBuilder text = new StringBuilder();
      utf8.take((byte) value, text);
      if (!text.isEmpty()) {
        next.accept(text.toString());
      }
    }

    @Override
    public void end(Consumer<String> next) {
      StringBuilder text = new StringBuilder();
      utf8.end(text);
      if (!text.isEmpty()) {
        next.accept(text.toString());
      }
    }
  }

  /** Drops up to {@code count} leading characters of the whole text, or of each token. */
  final class Strip implements DecodeStep {
    private final int content;
    private final int count;
    private final boolean eachToken;
    private int left;

    Strip(int content, int count, boolean eachToken, boolean textBefore) {
      this.content = content;
      this.count = count;
      this.eachToken = eachToken;
      this.left = textBefore ? 0 : count;
    }

    @Override
    public void take(String piece, Consumer<String> next) {
      if (eachToken) {
        left = count;
      }
      int start = 0;
      while (left > 0 && start < piece.length()) {
        if (piece.codePointAt(start) != content) {
          left = 0;
          break;
        }
        left--;
        start += Character.charCount(content);
      }
      next.accept(piece.substring(start));
    }

    @Override
    public void end(Consumer<String> next) {}
  }

  /**
   * Turns the word mark into a space; the first token's marks are dropped if a prefix was added.
   */
  final class Metaspace implements DecodeStep {
    private final String mark;
    private boolean dropMarks;

    Metaspace(String mark, boolean dropFirst) {
      this.mark = mark;
      this.dropMarks = dropFirst;
    }

    @Override
    public void take(String piece, Consumer<String> next) {
      next.accept(piece.replace(mark, dropMarks ? "" : " "));
      dropMarks = false;
    }

    @Override
    public void end(Consumer<String> next) {}
  }

  /** Maps each character of a token to the byte it stands for, and the bytes to text. */
  final class ByteLevel implements DecodeStep {
    private final Utf8 utf8 = new Utf8();

    @Override
    public void take(String piece, Consumer<String> next) {
      StringBuilder text = new StringBuilder();
      for (byte b : ByteAlphabet.bytes(piece)) {
        utf8.take(b, text);
      }
      next.accept(text.toString());
    }

    @Override
    public void end(Consumer<String> next) {
      StringBuilder text = new StringBuilder();
      utf8.end(text);
      next.accept(text.toString());
    }
  }
}

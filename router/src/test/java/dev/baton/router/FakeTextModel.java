package dev.baton.router;

import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * A text model whose tokens are characters: id = character, below {@link #VOCABULARY}; BOS is 1. A
 * chat is its contents, each in brackets.
 */
public final class FakeTextModel implements TextModel {

  public static final int VOCABULARY = 256;
  static final int BOS = 1;

  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    int[] chars = text.chars().map(c -> Math.min(c, VOCABULARY - 1)).toArray();
    if (!addSpecialTokens) {
      return chars;
    }
    int[] ids = new int[chars.length + 1];
    ids[0] = BOS;
    System.arraycopy(chars, 0, ids, 1, chars.length);
    return ids;
  }

  @Override
  public String decode(int[] tokenIds, boolean skipSpecialTokens) {
    StringBuilder text = new StringBuilder();
    for (int id : tokenIds) {
      if (id != BOS) {
        text.append((char) id);
      }
    }
    return text.toString();
  }

  @Override
  public TokenText token(int tokenId) {
    String text = String.valueOf((char) tokenId);
    return new TokenText(text, text.getBytes(StandardCharsets.UTF_8));
  }

  @Override
  public int vocabularySize() {
    return VOCABULARY;
  }

  @Override
  public String renderChat(ChatInput input) {
    StringBuilder text = new StringBuilder();
    input
        .messages()
        .forEach(message -> text.append('[').append(message.get("content")).append(']'));
    return text.toString();
  }

  @Override
  public boolean hasChatTemplate() {
    return true;
  }

  @Override
  public TextStream stream(int[] promptTokens, List<String> stops, boolean skipSpecialTokens) {
    return new TextStream() {
      private final StringBuilder all = new StringBuilder();
      private @Nullable String found;

      @Override
      public String append(int tokenId) {
        int before = all.length();
        all.append((char) tokenId);
        for (String stop : stops) {
          int at = all.indexOf(stop);
          if (at >= 0) {
            found = stop;
            return at > before ? all.substring(before, at) : "";
          }
        }
        return all.substring(before);
      }

      @Override
      public String appendUnwatched(int tokenId) {
        return String.valueOf((char) tokenId);
      }

      @Override
      public @Nullable String stopString() {
        return found;
      }

      @Override
      public String finish() {
        return "";
      }
    };
  }

  @Override
  public Map<String, Double> generationDefaults() {
    return Map.of();
  }

  @Override
  public void close() {}
}

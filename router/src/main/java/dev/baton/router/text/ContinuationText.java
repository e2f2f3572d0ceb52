package dev.baton.router.text;

import java.util.List;
import org.jspecify.annotations.Nullable;

/** The text of one continuation: vocabulary, then decoder, then stop strings. */
final class ContinuationText implements TextStream {

  private final Vocabulary vocabulary;
  private final TokenDecoder.Running decoder;
  private final StopStrings stops;
  private final boolean skipSpecialTokens;
  private boolean finished;

  ContinuationText(
      Vocabulary vocabulary,
      TokenDecoder.Running decoder,
      List<String> stops,
      boolean skipSpecialTokens) {
    this.vocabulary = vocabulary;
    this.decoder = decoder;
    this.stops = new StopStrings(stops);
    this.skipSpecialTokens = skipSpecialTokens;
  }

  @Override
  public String append(int tokenId) {
    String text = decode(tokenId);
    return text.isEmpty() ? text : stops.take(text);
  }

  @Override
  public String appendUnwatched(int tokenId) {
    return decode(tokenId);
  }

  private String decode(int tokenId) {
    if (stops.found() != null || finished) {
      throw new IllegalStateException("text stream: token after its end");
    }
    String token = vocabulary.string(tokenId);
    return token == null || (skipSpecialTokens && vocabulary.isSpecial(tokenId))
        ? ""
        : decoder.take(token);
  }

  @Override
  public @Nullable String stopString() {
    return stops.found();
  }

  @Override
  public String finish() {
    if (finished || stops.found() != null) {
      finished = true;
      return "";
    }
    finished = true;
    String text = stops.take(decoder.end());
    return text + stops.end();
  }
}

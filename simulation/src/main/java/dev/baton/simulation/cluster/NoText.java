package dev.baton.simulation.cluster;

import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextStream;
import dev.baton.simulation.model.HashModel;
import java.util.List;
import java.util.Map;

/** The text side of a model that has none: sessions are of token ids. */
final class NoText implements TextModel {

  private static UnsupportedOperationException none() {
    return new UnsupportedOperationException("text (expected: token ids only)");
  }

  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    throw none();
  }

  @Override
  public String decode(int[] tokenIds, boolean skipSpecialTokens) {
    throw none();
  }

  @Override
  public TokenText token(int tokenId) {
    throw none();
  }

  @Override
  public int vocabularySize() {
    return HashModel.VOCABULARY;
  }

  @Override
  public String renderChat(ChatInput input) {
    throw none();
  }

  @Override
  public boolean hasChatTemplate() {
    return false;
  }

  @Override
  public TextStream stream(
      int[] promptTokens, List<String> stopStrings, boolean skipSpecialTokens) {
    throw none();
  }

  @Override
  public Map<String, Double> generationDefaults() {
    return Map.of();
  }

  @Override
  public void close() {
    // nothing is held
  }
}

package dev.baton.router.text;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.json.JsonMapper;

/**
 * The text side of a Hugging Face model directory. Text becomes tokens by the Rust tokenizer;
 * tokens become text by {@link TokenDecoder}, which decodes piece by piece what the Rust library
 * only decodes whole. tokenizer.json must be there, the other files may be missing.
 *
 * <p>transformers' clean_up_tokenization_spaces is not applied: it rewrites text that the model did
 * write (" ." becomes "."), and no server does it.
 */
public final class HuggingFaceTextModel implements TextModel {

  private final TextEncoder encoder;
  private final Vocabulary vocabulary;
  private final TokenDecoder decoder;
  private final ChatTemplates chatTemplates;
  private final Map<String, Double> generationDefaults;

  private HuggingFaceTextModel(
      TextEncoder encoder,
      Vocabulary vocabulary,
      TokenDecoder decoder,
      ChatTemplates chatTemplates,
      Map<String, Double> generationDefaults) {
    this.encoder = encoder;
    this.vocabulary = vocabulary;
    this.decoder = decoder;
    this.chatTemplates = chatTemplates;
    this.generationDefaults = generationDefaults;
  }

  /**
   * Loads what the directory has. The Rust tokenizer is built on a second thread meanwhile.
   *
   * @throws TextModelException naming the file at fault
   */
  public static HuggingFaceTextModel load(Path modelDirectory) {
    ModelDirectory directory = new ModelDirectory(modelDirectory, JsonMapper.shared());
    String tokenizerJson =
        directory
            .text("tokenizer.json")
            .orElseThrow(
                () -> new TextModelException(modelDirectory + ": tokenizer.json: missing"));
    CompletableFuture<TextEncoder> encoder =
        CompletableFuture.supplyAsync(
            () -> TextEncoder.of(directory.mapper(), tokenizerJson),
            task -> Thread.ofPlatform().name("tokenizer-load").daemon().start(task));
    try {
      Vocabulary vocabulary = Vocabulary.parse(directory.mapper(), tokenizerJson);
      TokenDecoder decoder = TokenDecoder.of(vocabulary.decoder());
      ChatTemplates templates = ChatTemplates.read(directory, Clock.systemDefaultZone());
      Map<String, Double> defaults = GenerationDefaults.read(directory);
      return new HuggingFaceTextModel(encoder.join(), vocabulary, decoder, templates, defaults);
    } catch (JacksonException e) {
      encoder.thenAccept(TextEncoder::close);
      throw new TextModelException(
          modelDirectory + ": tokenizer.json: " + ModelDirectory.reason(e), e);
    } catch (CompletionException e) {
      throw new TextModelException(modelDirectory + ": " + cause(e).getMessage(), cause(e));
    } catch (TextModelException e) {
      encoder.thenAccept(TextEncoder::close);
      String message = String.valueOf(e.getMessage());
      throw message.startsWith(modelDirectory.toString())
          ? e
          : new TextModelException(modelDirectory + ": " + message, e);
    }
  }

  private static Throwable cause(CompletionException e) {
    Throwable cause = e.getCause();
    return cause == null ? e : cause;
  }

  @Override
  public int[] encode(String text, boolean addSpecialTokens) {
    return encoder.encode(text, addSpecialTokens);
  }

  @Override
  public String decode(int[] tokenIds, boolean skipSpecialTokens) {
    TextStream stream = stream(new int[0], List.of(), skipSpecialTokens);
    StringBuilder text = new StringBuilder();
    for (int id : tokenIds) {
      text.append(stream.append(id));
    }
    return text.append(stream.finish()).toString();
  }

  @Override
  public TokenText token(int tokenId) {
    String token = vocabulary.string(tokenId);
    if (token == null) {
      return new TokenText("", new byte[0]);
    }
    byte[] bytes =
        vocabulary.isAdded(tokenId) ? token.getBytes(StandardCharsets.UTF_8) : decoder.bytes(token);
    return new TokenText(new String(bytes, StandardCharsets.UTF_8), bytes);
  }

  @Override
  public int vocabularySize() {
    return vocabulary.size();
  }

  @Override
  public String renderChat(ChatInput input) {
    return chatTemplates.render(input);
  }

  @Override
  public boolean hasChatTemplate() {
    return chatTemplates.present();
  }

  @Override
  public TextStream stream(
      int[] promptTokens, List<String> stopStrings, boolean skipSpecialTokens) {
    boolean textBefore = false;
    for (int id : promptTokens) {
      if (vocabulary.string(id) != null && !vocabulary.isSpecial(id)) {
        textBefore = true;
        break;
      }
    }
    return new ContinuationText(
        vocabulary, decoder.start(textBefore), stopStrings, skipSpecialTokens);
  }

  @Override
  public Map<String, Double> generationDefaults() {
    return generationDefaults;
  }

  @Override
  public void close() {
    encoder.close();
  }
}

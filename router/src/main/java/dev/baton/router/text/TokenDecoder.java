package dev.baton.router.text;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.JsonNode;

/**
 * The decoder of tokenizer.json: from token strings to text. Immutable; {@link #start} gives a
 * running one for one text. A step that it does not know fails at load, since guessing gives wrong
 * text.
 */
final class TokenDecoder {

  /** Makes a fresh step. */
  private interface Step {
    DecodeStep start(boolean textBefore);
  }

  private final List<Step> steps = new ArrayList<>();
  private boolean byteFallback;
  private boolean byteLevel;
  private boolean fused;

  private TokenDecoder() {}

  /**
   * @param description the "decoder" part of tokenizer.json
   */
  static TokenDecoder of(@Nullable JsonNode description) {
    TokenDecoder decoder = new TokenDecoder();
    if (description == null) {
      throw unsupported("none");
    }
    decoder.add(description);
    return decoder;
  }

  private void add(JsonNode step) {
    String type = step.path("type").asString("");
    if (fused && !type.equals("Strip")) {
      throw unsupported(type + " after Fuse");
    }
    switch (type) {
      case "Sequence" -> {
        if (!step.path("decoders").isArray()) {
          throw unsupported(step.toString());
        }
        step.path("decoders").forEach(this::add);
      }
      case "Replace" -> {
        JsonNode pattern = step.path("pattern").path("String");
        JsonNode content = step.path("content");
        if (!pattern.isString() || pattern.stringValue().isEmpty() || !content.isString()) {
          throw unsupported("Replace with pattern " + step.path("pattern"));
        }
        DecodeStep replace = new DecodeStep.Replace(pattern.stringValue(), content.stringValue());
        steps.add(textBefore -> replace);
      }
      case "ByteFallback" -> {
        byteFallback = true;
        steps.add(textBefore -> new DecodeStep.ByteFallback());
      }
      case "Fuse" -> fused = true;
      case "Strip" -> addStrip(step);
      case "Metaspace" -> addMetaspace(step);
      case "ByteLevel" -> {
        byteLevel = true;
        steps.add(textBefore -> new DecodeStep.ByteLevel());
      }
      default -> throw unsupported(type);
    }
  }

  private void addStrip(JsonNode step) {
    String content = step.path("content").asString("");
    int start = step.path("start").asInt(-1);
    if (start < 0
        || step.path("stop").asInt(-1) != 0
        || content.codePointCount(0, content.length()) != 1) {
      throw unsupported(step.toString());
    }
    boolean eachToken = !fused;
    steps.add(
        textBefore -> new DecodeStep.Strip(content.codePointAt(0), start, eachToken, textBefore));
  }

  private void addMetaspace(JsonNode step) {
    String mark = step.path("replacement").asString("\u2581");
    if (mark.codePointCount(0, mark.length()) != 1) {
      throw unsupported(step.toString());
    }
    boolean prefixed =
        step.has("prepend_scheme")
            ? !step.path("prepend_scheme").asString("").equals("never")
            : step.path("add_prefix_space").asBoolean(true);
    steps.add(textBefore -> new DecodeStep.Metaspace(mark, prefixed && !textBefore));
  }

  private static TextModelException unsupported(String what) {
    return new TextModelException(
        "tokenizer.json: decoder: "
            + what
            + " (expected: ByteLevel, Metaspace, or a sequence of Replace, ByteFallback, Fuse,"
            + " Strip)");
  }

  /**
   * A decoder for one text.
   *
   * @param textBefore whether the text continues another, so that nothing is taken off its start
   */
  Running start(boolean textBefore) {
    return new Running(steps.stream().map(step -> step.start(textBefore)).toList());
  }

  /** The bytes that a token adds within a text. */
  byte[] bytes(String token) {
    if (byteLevel) {
      return ByteAlphabet.bytes(token);
    }
    int value = byteFallback ? DecodeStep.ByteFallback.byteOf(token) : -1;
    if (value >= 0) {
      return new byte[] {(byte) value};
    }
    Running running = start(true);
    return (running.take(token) + running.end()).getBytes(StandardCharsets.UTF_8);
  }

  /** Decodes one text token by token; single-threaded. */
  static final class Running {
    private final List<DecodeStep> steps;
    private final StringBuilder text = new StringBuilder();

    private Running(List<DecodeStep> steps) {
      this.steps = steps;
    }

    /** Text that is final with this token. */
    String take(String token) {
      from(0).accept(token);
      return drain();
    }

    /** The rest of the text. */
    String end() {
      for (int i = 0; i < steps.size(); i++) {
        steps.get(i).end(from(i + 1));
      }
      return drain();
    }

    private Consumer<String> from(int step) {
      return step == steps.size()
          ? text::append
          : piece -> steps.get(step).take(piece, from(step + 1));
    }

    private String drain() {
      String drained = text.toString();
      text.setLength(0);
      return drained;
    }
  }
}

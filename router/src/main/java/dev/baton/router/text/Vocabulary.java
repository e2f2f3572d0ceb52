package dev.baton.router.text;

import java.util.BitSet;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * What tokenizer.json says about single tokens: the string of each id, which are added and which
 * special, and the decoder's description. Immutable. The merges, most of the file, are passed over.
 */
final class Vocabulary {

  /** Ids beyond this are a damaged file, not a vocabulary: the table is indexed by id. */
  private static final int MAX_ID = 1 << 24;

  private String[] strings = new String[1024];
  private int size;
  private final BitSet added = new BitSet();
  private final BitSet special = new BitSet();
  private @Nullable JsonNode decoder;

  private Vocabulary() {}

  /**
   * @param tokenizerJson content of tokenizer.json
   */
  static Vocabulary parse(JsonMapper mapper, String tokenizerJson) {
    Vocabulary vocabulary = new Vocabulary();
    JsonNode addedTokens = null;
    try (JsonParser parser = mapper.createParser(tokenizerJson)) {
      if (parser.nextToken() != JsonToken.START_OBJECT) {
        throw new TextModelException("tokenizer.json: not an object");
      }
      while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
        String name = parser.currentName();
        JsonToken value = parser.nextToken();
        switch (name) {
          case "added_tokens" -> addedTokens = parser.readValueAsTree();
          case "decoder" -> vocabulary.decoder = parser.readValueAsTree();
          case "model" -> vocabulary.readModel(parser, value);
          default -> parser.skipChildren();
        }
      }
    }
    if (addedTokens != null) {
      // After the model's own: an added token's content wins over what the model calls its id.
      for (JsonNode token : addedTokens) {
        int id = token.path("id").asInt(-1);
        vocabulary.put(token.path("content").asString(""), id);
        vocabulary.added.set(id);
        vocabulary.special.set(id, token.path("special").asBoolean(false));
      }
    }
    return vocabulary;
  }

  private void readModel(JsonParser parser, JsonToken start) {
    if (start != JsonToken.START_OBJECT) {
      throw new TextModelException("tokenizer.json: model: not an object");
    }
    while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
      String name = parser.currentName();
      JsonToken value = parser.nextToken();
      if (!name.equals("vocab")) {
        parser.skipChildren();
      } else if (value == JsonToken.START_OBJECT) {
        while (parser.nextToken() == JsonToken.PROPERTY_NAME) {
          String token = parser.currentName();
          parser.nextToken();
          put(token, parser.getIntValue());
        }
      } else {
        // Unigram: a list of [token, score], the id is the place.
        int id = 0;
        for (JsonNode pair : parser.<JsonNode>readValueAsTree()) {
          put(pair.path(0).asString(""), id++);
        }
      }
    }
  }

  private void put(String token, int id) {
    if (id < 0 || id > MAX_ID) {
      throw new TextModelException(
          "tokenizer.json: id of token '"
              + token
              + "': "
              + id
              + " (expected: 0 to "
              + MAX_ID
              + ")");
    }
    if (id >= strings.length) {
      strings = java.util.Arrays.copyOf(strings, Math.max(id + 1, strings.length * 2));
    }
    strings[id] = token;
    size = Math.max(size, id + 1);
  }

  /** One more than the highest id. */
  int size() {
    return size;
  }

  /** The token as the vocabulary writes it; null for an id that no token has. */
  @Nullable String string(int id) {
    return id >= 0 && id < size ? strings[id] : null;
  }

  boolean isAdded(int id) {
    return id >= 0 && added.get(id);
  }

  boolean isSpecial(int id) {
    return id >= 0 && special.get(id);
  }

  /** The "decoder" part of tokenizer.json; null when it is missing or null. */
  @Nullable JsonNode decoder() {
    return decoder == null || decoder.isNull() ? null : decoder;
  }
}

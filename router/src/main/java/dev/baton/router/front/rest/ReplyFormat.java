package dev.baton.router.front.rest;

import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.Usage;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.router.generation.Ending;
import dev.baton.router.generation.Piece;
import dev.baton.router.text.TextModel;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** The JSON of a reply: what both endpoints write alike, and what each writes its own way. */
abstract sealed class ReplyFormat permits ChatFormat, CompletionFormat {

  static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private static final JsonMapper MAPPER = JsonMapper.builder().build();

  /** JSON has no infinity; this is how vLLM writes the logarithm of nothing. */
  private static final double NO_CHANCE = -9999.0;

  final RestRequest request;
  private final String id;
  private final String object;
  private final String chunkObject;
  private final String model;
  private final String fingerprint;
  private final long created;

  ReplyFormat(
      RestRequest request,
      String id,
      String object,
      String chunkObject,
      String model,
      String fingerprint,
      long created) {
    this.request = request;
    this.id = id;
    this.object = object;
    this.chunkObject = chunkObject;
    this.model = model;
    this.fingerprint = fingerprint;
    this.created = created;
  }

  /** What the stream sends before a choice's first text; null when nothing. */
  abstract @Nullable ObjectNode opening(Choice choice);

  /**
   * A chunk of a stream; null when there is nothing to tell.
   *
   * @param ending null unless it is the choice's last chunk
   */
  @Nullable ObjectNode chunk(Choice choice, Piece piece, @Nullable Ending ending) {
    boolean silent =
        piece.text().isEmpty()
            && ending == null
            && !(request.returnTokenIds() && !piece.tokens().isEmpty())
            && piece.tokens().stream().noneMatch(SampledToken::hasLogprobs);
    if (silent) {
      return null;
    }
    return chunkOf(choiceNode(choice, piece.text(), piece.tokens(), ending, true));
  }

  /** The chunk that ends a stream with usage. */
  ObjectNode usageChunk(List<Choice> choices) {
    ObjectNode chunk = head(chunkObject);
    chunk.set("choices", NODES.arrayNode());
    chunk.set("usage", usage(choices));
    return chunk;
  }

  /** The whole reply. */
  ObjectNode whole(List<Choice> choices) {
    ObjectNode reply = head(object);
    ArrayNode nodes = reply.putArray("choices");
    for (Choice choice : choices) {
      nodes.add(choiceNode(choice, choice.text.toString(), choice.tokens, choice.ending, false));
    }
    reply.set("usage", usage(choices));
    return reply;
  }

  /** A choice with everything that the piece brings. */
  abstract ObjectNode choiceNode(
      Choice choice,
      String text,
      List<SampledToken> tokens,
      @Nullable Ending ending,
      boolean streaming);

  static byte[] bytes(ObjectNode node) {
    return MAPPER.writeValueAsBytes(node);
  }

  final ObjectNode chunkOf(ObjectNode choice) {
    ObjectNode chunk = head(chunkObject);
    chunk.putArray("choices").add(choice);
    if (request.includeUsage()) {
      chunk.putNull("usage");
    }
    return chunk;
  }

  /** OpenAI's reason, and vLLM's: the stop string or the id of the stop token that was met. */
  final void putEnding(ObjectNode choice, @Nullable Ending ending) {
    if (ending == null) {
      choice.putNull("finish_reason");
    } else if (request.promptOnly()) {
      // Nobody asked for the token that would say otherwise.
      choice.put("finish_reason", "length").putNull("stop_reason");
    } else {
      choice.put("finish_reason", ending.reason().name().toLowerCase(Locale.ROOT));
      if (ending.stopString() != null) {
        choice.put("stop_reason", ending.stopString());
      } else {
        choice.put("stop_reason", ending.stopTokenId());
      }
    }
  }

  /** vLLM's list of how likely the prompt's tokens were, when asked for. */
  final void putPromptLogprobs(ObjectNode node, Choice choice) {
    if (request.promptLogprobs() >= 0 && choice.promptLogprobs != null) {
      node.set(
          "prompt_logprobs",
          PromptScores.list(
              text(choice),
              choice.prepared.promptTokens(),
              choice.promptLogprobs,
              request.promptLogprobs()));
    }
  }

  static ArrayNode ids(int[] ids) {
    ArrayNode node = NODES.arrayNode();
    for (int id : ids) {
      node.add(id);
    }
    return node;
  }

  static ArrayNode ids(List<SampledToken> tokens) {
    ArrayNode node = NODES.arrayNode();
    tokens.forEach(token -> node.add(token.getTokenId()));
    return node;
  }

  static double finite(float logprob) {
    return Float.isFinite(logprob) ? logprob : NO_CHANCE;
  }

  static TextModel text(Choice choice) {
    return choice.prepared.model().text();
  }

  static TokenLogprob chosen(SampledToken token) {
    return TokenLogprob.newBuilder()
        .setTokenId(token.getTokenId())
        .setLogprob(token.getLogprobs().getLogprob())
        .build();
  }

  private ObjectNode head(String kind) {
    ObjectNode node = NODES.objectNode();
    node.put("id", id);
    node.put("object", kind);
    node.put("created", created);
    node.put("model", model);
    node.put("system_fingerprint", fingerprint);
    return node;
  }

  /** Each prompt counts once, however many continuations it has; energy is all of them. */
  private ObjectNode usage(List<Choice> choices) {
    int prompt = 0;
    int cached = 0;
    int completion = 0;
    double joules = 0;
    boolean measured = true;
    for (Choice choice : choices) {
      Usage usage = choice.ending == null ? Usage.getDefaultInstance() : choice.ending.usage();
      joules += usage.getJoules();
      measured &= usage.hasJoules();
      completion += request.promptOnly() ? 0 : usage.getCompletionTokens();
      if (choice.index % request.n() == 0) {
        prompt += usage.getPromptTokens();
        cached += usage.getCachedTokens();
      }
    }
    ObjectNode node = NODES.objectNode();
    node.put("prompt_tokens", prompt);
    node.put("completion_tokens", completion);
    node.put("total_tokens", prompt + completion);
    node.putObject("prompt_tokens_details").put("cached_tokens", cached);
    if (measured) {
      node.put("energy_joules", joules);
    }
    return node;
  }
}

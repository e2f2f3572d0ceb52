package dev.baton.router.front.rest;

import dev.baton.router.generation.Generator;
import dev.baton.router.registry.ServedModel;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Text to token ids and back, without the model; requests and replies are vLLM's. */
final class TokenizerRoutes {

  private final Generator generator;

  TokenizerRoutes(Generator generator) {
    this.generator = generator;
  }

  /** POST /tokenize: of a prompt, or of messages as a chat would send them; on a virtual thread. */
  void tokenize(Exchange exchange, JsonFields body) {
    ServedModel model = generator.directory().model(body.string("model").orElse(""));
    if (body.has("prompt") == body.has("messages")) {
      throw JsonFields.invalid(
          "prompt", body.has("prompt") ? "given with messages" : "absent", "a prompt or messages");
    }
    int[] ids =
        body.has("prompt")
            ? generator.tokenize(
                model, body.string("prompt").orElseThrow(), body.bool("add_special_tokens", true))
            : generator.tokenize(model, ChatRequestReader.chat(body));
    ObjectNode reply = JsonNodeFactory.instance.objectNode();
    reply.put("count", ids.length);
    reply.put("max_model_len", model.contextLength());
    reply.set("tokens", ReplyFormat.ids(ids));
    if (body.bool("return_token_strs", false)) {
      ArrayNode strings = reply.putArray("token_strs");
      for (int id : ids) {
        strings.add(model.text().token(id).text());
      }
    } else {
      reply.putNull("token_strs");
    }
    exchange.run(() -> exchange.json(200, reply));
  }

  /** POST /detokenize; on a virtual thread. */
  void detokenize(Exchange exchange, JsonFields body) {
    ServedModel model = generator.directory().model(body.string("model").orElse(""));
    int[] ids = body.integers("tokens");
    if (ids == null) {
      throw JsonFields.invalid("tokens", "absent", "a list of token ids");
    }
    ObjectNode reply =
        JsonNodeFactory.instance.objectNode().put("prompt", generator.detokenize(model, ids));
    exchange.run(() -> exchange.json(200, reply));
  }
}

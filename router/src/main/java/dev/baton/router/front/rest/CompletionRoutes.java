package dev.baton.router.front.rest;

import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Generator;
import dev.baton.router.generation.PreparedRequest;
import dev.baton.router.registry.ServedModel;
import io.vertx.core.Vertx;
import java.util.ArrayList;
import java.util.List;

/** Turns the bodies of both completion endpoints into running {@link Reply}s. */
final class CompletionRoutes {

  private static final int FINGERPRINT_CHARS = 12;

  private final Vertx vertx;
  private final RestServer.Settings settings;
  private final Generator generator;

  CompletionRoutes(Vertx vertx, RestServer.Settings settings, Generator generator) {
    this.vertx = vertx;
    this.settings = settings;
    this.generator = generator;
  }

  /** POST /v1/chat/completions; on a virtual thread. */
  void chat(Exchange exchange, JsonFields body) {
    prepare(
        exchange,
        ChatRequestReader.read(body, exchange.requestId(), settings.maxChoices()),
        ChatFormat::new);
  }

  /** POST /v1/completions; on a virtual thread. */
  void complete(Exchange exchange, JsonFields body) {
    prepare(
        exchange,
        CompletionRequestReader.read(body, exchange.requestId(), settings.maxChoices()),
        CompletionFormat::new);
  }

  private interface FormatMaker {
    ReplyFormat make(
        RestRequest request, String requestId, String model, String fingerprint, long created);
  }

  /** Checks and tokenizes all prompts, then lets the event loop start them. */
  private void prepare(Exchange exchange, RestRequest request, FormatMaker formats) {
    if ((long) request.prompts().size() * request.n() > settings.maxChoices()) {
      throw JsonFields.invalid(
          "n",
          request.n() + " for " + request.prompts().size() + " prompts",
          "at most " + settings.maxChoices() + " choices in all");
    }
    List<PreparedRequest> prompts = new ArrayList<>();
    for (GenerationRequest prompt : request.prompts()) {
      prompts.add(generator.prepare(prompt));
    }
    ServedModel model = prompts.getFirst().model();
    ReplyFormat format =
        formats.make(
            request,
            exchange.requestId(),
            model.name(),
            "fp_" + shortened(model.identity().getFingerprint()),
            System.currentTimeMillis() / 1000);
    exchange.run(
        () -> {
          Reply reply =
              request.stream()
                  ? new StreamedReply(exchange, format, prompts, vertx, settings.idleMillis())
                  : new WholeReply(exchange, format, prompts);
          reply.start(generator);
        });
  }

  private static String shortened(String fingerprint) {
    return fingerprint.length() <= FINGERPRINT_CHARS
        ? fingerprint
        : fingerprint.substring(0, FINGERPRINT_CHARS);
  }
}

package dev.baton.router.front.rest;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.Role;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.generation.Generator;
import dev.baton.router.registry.ServedModel;
import dev.baton.router.registry.Worker;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import io.vertx.core.buffer.Buffer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** What the server tells of itself: models, health, metrics, version. */
final class SystemRoutes {

  private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

  private final Generator generator;
  private final PrometheusRegistry metrics;
  private final PrometheusTextFormatWriter writer = PrometheusTextFormatWriter.create();
  private final String version;

  SystemRoutes(Generator generator, PrometheusRegistry metrics, String version) {
    this.generator = generator;
    this.metrics = metrics;
    this.version = version;
  }

  void models(Exchange exchange) {
    ObjectNode body = NODES.objectNode().put("object", "list");
    ArrayNode data = body.putArray("data");
    generator.directory().models().forEach(model -> data.add(node(model)));
    exchange.json(200, body);
  }

  void model(Exchange exchange, String encodedName) {
    try {
      String name =
          // In a path, plus is itself.
          URLDecoder.decode(encodedName.replace("+", "%2B"), StandardCharsets.UTF_8);
      ServedModel model =
          generator.directory().models().stream()
              .filter(served -> served.name().equals(name))
              .findFirst()
              .orElseThrow(
                  () ->
                      new FailureException(
                          Failures.of(
                              ErrorCode.MODEL_NOT_FOUND,
                              "model: \"" + name + "\" (expected: one of GET /v1/models)",
                              "model")));
      exchange.json(200, node(model));
    } catch (FailureException e) {
      exchange.fail(e.failure());
    }
  }

  void live(Exchange exchange) {
    exchange.json(200, NODES.objectNode().put("status", "live"));
  }

  void ready(Exchange exchange) {
    List<ServedModel> ready = generator.ready();
    if (generator.sessions().draining()) {
      exchange.fail(Failures.of(ErrorCode.DRAINING, "the router is shutting down"));
    } else if (ready.isEmpty()) {
      exchange.fail(Failures.of(ErrorCode.NO_WORKER, reason()));
    } else {
      ObjectNode body = NODES.objectNode().put("status", "ready");
      ArrayNode names = body.putArray("models");
      ready.forEach(model -> names.add(model.name()));
      ObjectNode workers = body.putObject("workers");
      for (Role role : List.of(Role.PREFILL, Role.DECODE, Role.BOTH)) {
        workers.put(role.name().toLowerCase(Locale.ROOT), count(role));
      }
      exchange.json(200, body);
    }
  }

  void metrics(Exchange exchange) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      writer.write(out, metrics.scrape());
    } catch (IOException e) {
      throw new UncheckedIOException("writing to memory", e);
    }
    exchange
        .response()
        .putHeader("content-type", writer.getContentType())
        .end(Buffer.buffer(out.toByteArray()));
  }

  void version(Exchange exchange) {
    exchange.json(200, NODES.objectNode().put("version", version));
  }

  private String reason() {
    long prefill = count(Role.PREFILL);
    long decode = count(Role.DECODE);
    return decode == 0 && count(Role.BOTH) == 0
        ? "not ready: no decode worker (" + prefill + " prefill workers)"
        : "not ready: no prefill worker (" + decode + " decode workers)";
  }

  private long count(Role role) {
    return generator.directory().workers().stream()
        .filter(Worker::open)
        .filter(worker -> worker.role() == role)
        .count();
  }

  private static ObjectNode node(ServedModel model) {
    return NODES
        .objectNode()
        .put("id", model.name())
        .put("object", "model")
        .put("created", model.createdSeconds())
        .put("owned_by", "baton")
        .put("root", model.name())
        .putNull("parent")
        .put("max_model_len", model.contextLength());
  }
}

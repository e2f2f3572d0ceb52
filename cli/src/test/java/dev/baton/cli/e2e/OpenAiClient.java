package dev.baton.cli.e2e;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;

/** The HTTP API as a client without a library sees it. */
final class OpenAiClient {

  private static final ObjectMapper JSON = new ObjectMapper();
  private static final HttpClient CLIENT =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

  private final String base;

  OpenAiClient(String base) {
    this.base = base;
  }

  /** An answer; {@code body} is missing when it was not JSON. */
  record Answer(int status, JsonNode body) {}

  Answer get(String path) {
    return send(HttpRequest.newBuilder(URI.create(base + path)).build());
  }

  Answer post(String path, Map<String, ?> body) {
    return post(path, JSON.writeValueAsString(body));
  }

  Answer post(String path, String body) {
    return send(request(path, body));
  }

  private static Answer send(HttpRequest request) {
    try {
      HttpResponse<String> response = CLIENT.send(request, HttpResponse.BodyHandlers.ofString());
      return new Answer(response.statusCode(), JSON.readTree(response.body()));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  private HttpRequest request(String path, String body) {
    return HttpRequest.newBuilder(URI.create(base + path))
        .timeout(Duration.ofSeconds(240))
        .header("content-type", "application/json")
        .POST(HttpRequest.BodyPublishers.ofString(body))
        .build();
  }

  /** Opens a stream of server-sent events; the body should say {@code "stream": true}. */
  EventStream stream(String path, Map<String, ?> body) {
    try {
      HttpResponse<InputStream> response =
          CLIENT.send(
              request(path, JSON.writeValueAsString(body)),
              HttpResponse.BodyHandlers.ofInputStream());
      return new EventStream(response.statusCode(), response.body());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new AssertionError(e);
    }
  }

  /** Events of one answer, read one by one; closing it early disconnects the client. */
  static final class EventStream implements AutoCloseable {

    private final int status;
    private final InputStream body;
    private final BufferedReader lines;
    private boolean done;

    private EventStream(int status, InputStream body) {
      this.status = status;
      this.body = body;
      this.lines = new BufferedReader(new InputStreamReader(body, StandardCharsets.UTF_8));
    }

    int status() {
      return status;
    }

    /** Whether the end of the stream was marked by [DONE]. */
    boolean done() {
      return done;
    }

    /** The next event's data, or null at the end of the stream. */
    JsonNode next() throws IOException {
      String line;
      while ((line = lines.readLine()) != null) {
        if (line.equals("data: [DONE]")) {
          done = true;
        } else if (line.startsWith("data: ")) {
          return JSON.readTree(line.substring("data: ".length()));
        }
      }
      return null;
    }

    List<JsonNode> rest() throws IOException {
      List<JsonNode> events = new ArrayList<>();
      JsonNode event;
      while ((event = next()) != null) {
        events.add(event);
      }
      return events;
    }

    @Override
    public void close() throws IOException {
      body.close();
    }
  }
}

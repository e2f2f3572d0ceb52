package dev.baton.router;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.worker.v1.Role;
import dev.baton.router.text.TextModel;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A router with one worker of both roles that pretends to have a model, and ways to ask it. */
final class RunningRouter implements AutoCloseable {

  static final JsonMapper JSON = JsonMapper.builder().build();

  final RouterServer server;
  final FakeWorker worker;
  private final HttpClient http =
      HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  private final List<ManagedChannel> channels = new ArrayList<>();

  RunningRouter(TextModel text) throws IOException {
    server = RouterServer.start(RouterOptions.defaults().withPorts(0, 0), directory -> text);
    worker = new FakeWorker("b", Role.BOTH, server.grpcPort());
  }

  /** Sends a body, in which single quotes stand for double ones, and expects status 200. */
  JsonNode ok(String path, String body) {
    HttpResponse<String> response = post(path, body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return JSON.readTree(response.body());
  }

  /** Sends a body that asks for a stream, as above; the choice of each chunk. */
  List<JsonNode> streamed(String path, String body) {
    return post(path, body)
        .body()
        .lines()
        .filter(line -> line.startsWith("data: {"))
        .map(line -> JSON.readTree(line.substring(6)).at("/choices/0"))
        .toList();
  }

  HttpResponse<String> post(String path, String body, String... headers) {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(uri(path))
            .POST(HttpRequest.BodyPublishers.ofString(body.replace('\'', '"')));
    if (headers.length > 0) {
      request.headers(headers);
    }
    return http.sendAsync(request.build(), BodyHandlers.ofString()).join();
  }

  HttpResponse<String> send(String method, String path) {
    return http.sendAsync(
            HttpRequest.newBuilder(uri(path))
                .method(method, HttpRequest.BodyPublishers.noBody())
                .build(),
            BodyHandlers.ofString())
        .join();
  }

  /** Writes bytes as they are and reads until the server closes. */
  String raw(String request) throws IOException {
    try (Socket socket = new Socket("127.0.0.1", server.port())) {
      socket.setSoTimeout(60_000);
      socket.getOutputStream().write(request.getBytes(StandardCharsets.UTF_8));
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  ManagedChannel channel() {
    ManagedChannel channel =
        NettyChannelBuilder.forAddress("127.0.0.1", server.grpcPort()).usePlaintext().build();
    channels.add(channel);
    return channel;
  }

  private URI uri(String path) {
    return URI.create("http://127.0.0.1:" + server.port() + path);
  }

  @Override
  public void close() {
    channels.forEach(ManagedChannel::shutdownNow);
    worker.close();
    server.close();
    http.close();
  }
}

package dev.baton.cli;

import com.google.protobuf.InvalidProtocolBufferException;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.TokenIds;
import dev.baton.worker.wire.HostPort;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import java.io.PrintStream;
import java.util.Iterator;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The client behind {@link GenerateCommand}. */
final class GenerateClient {

  private static final Metadata.Key<byte[]> FAILURE =
      Metadata.Key.of("baton-failure-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private GenerateClient() {}

  /** Prints the continuation; throws {@link CommandFailure} with the server's own words. */
  static void run(GenerateCommand command, PrintStream out) {
    ManagedChannel channel =
        Grpc.newChannelBuilder(command.server.toString(), InsecureChannelCredentials.create())
            .build();
    StringBuilder held = new StringBuilder();
    try {
      Iterator<GenerateResponse> responses =
          InferenceGrpc.newBlockingStub(channel).generate(request(command));
      while (responses.hasNext()) {
        GenerateResponse response = responses.next();
        String piece = piece(command, response);
        if (command.stream) {
          out.print(piece);
          out.flush();
        } else {
          held.append(piece);
        }
      }
      if (command.sampling.logprobs == null) {
        out.println(held);
      } else {
        out.print(held);
      }
    } catch (StatusRuntimeException e) {
      throw CommandFailure.failed(explain(e, command.server));
    } finally {
      channel.shutdownNow();
    }
  }

  private static String piece(GenerateCommand command, GenerateResponse response) {
    if (command.sampling.logprobs != null) {
      return LogprobLines.of(response);
    }
    return command.showTokens ? ids(response) : response.getText();
  }

  private static String ids(GenerateResponse response) {
    return response.getTokenIdsList().stream().map(id -> id + " ").collect(Collectors.joining());
  }

  private static GenerateRequest request(GenerateCommand command) {
    GenerateRequest.Builder request =
        GenerateRequest.newBuilder()
            .setModel(command.model)
            .setSampling(command.sampling.parameters());
    if (command.tokens != null) {
      request.setTokenIds(TokenIds.newBuilder().addAllIds(command.tokens));
    } else {
      request.setText(command.prompt);
    }
    return request.build();
  }

  private static String explain(StatusRuntimeException e, HostPort server) {
    Failure failure = failure(e.getTrailers());
    if (failure != null) {
      return failure.getMessage();
    }
    return switch (e.getStatus().getCode()) {
      case UNAVAILABLE ->
          "nothing answers at %s (start a system with ./baton up, or name one with --server)"
              .formatted(server);
      default -> "%s: %s".formatted(server, e.getStatus());
    };
  }

  private static @Nullable Failure failure(@Nullable Metadata trailers) {
    byte[] bytes = trailers == null ? null : trailers.get(FAILURE);
    try {
      return bytes == null ? null : Failure.parseFrom(bytes);
    } catch (InvalidProtocolBufferException e) {
      // A peer of another kind; its status still says something.
      return null;
    }
  }
}

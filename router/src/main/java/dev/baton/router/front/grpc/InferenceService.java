package dev.baton.router.front.grpc;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.ChatMessage;
import dev.baton.proto.inference.v1.GenerateRequest;
import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.proto.inference.v1.ListModelsRequest;
import dev.baton.proto.inference.v1.ListModelsResponse;
import dev.baton.proto.inference.v1.Model;
import dev.baton.proto.inference.v1.TokenizeRequest;
import dev.baton.proto.inference.v1.TokenizeResponse;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.generation.GenerationRequest;
import dev.baton.router.generation.Generator;
import dev.baton.router.generation.PreparedRequest;
import dev.baton.router.generation.Prompt;
import dev.baton.router.registry.ServedModel;
import dev.baton.router.text.TextModel;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** The Inference service. Its methods may block; the server runs them on virtual threads. */
public final class InferenceService extends InferenceGrpc.InferenceImplBase {

  private static final Logger LOG = LoggerFactory.getLogger(InferenceService.class);

  private final Generator generator;
  private final int maxChoices;

  /**
   * @param maxChoices most continuations of one call
   */
  public InferenceService(Generator generator, int maxChoices) {
    this.generator = generator;
    this.maxChoices = maxChoices;
  }

  @Override
  public void generate(GenerateRequest request, StreamObserver<GenerateResponse> responses) {
    var client = (ServerCallStreamObserver<GenerateResponse>) responses;
    GenerateStream stream = new GenerateStream(client);
    answering(
        client,
        () -> {
          int n = choices(request);
          PreparedRequest prepared = generator.prepare(read(request));
          stream.begin(prepared.promptTokens(), n);
          start(stream, prepared, n);
        });
  }

  @Override
  public void listModels(ListModelsRequest request, StreamObserver<ListModelsResponse> responses) {
    ListModelsResponse.Builder models = ListModelsResponse.newBuilder();
    for (ServedModel model : generator.directory().models()) {
      models.addModels(
          Model.newBuilder()
              .setName(model.name())
              .setContextLength(model.contextLength())
              .setCreated(model.createdSeconds()));
    }
    responses.onNext(models.build());
    responses.onCompleted();
  }

  @Override
  public void tokenize(TokenizeRequest request, StreamObserver<TokenizeResponse> responses) {
    answering(
        responses,
        () -> {
          int[] ids =
              generator.tokenize(
                  generator.directory().model(request.getModel()),
                  request.getText(),
                  request.getAddSpecialTokens());
          TokenizeResponse.Builder response = TokenizeResponse.newBuilder();
          for (int id : ids) {
            response.addTokenIds(id);
          }
          responses.onNext(response.build());
          responses.onCompleted();
        });
  }

  private void start(GenerateStream stream, PreparedRequest prepared, int n) {
    try {
      for (int index = 0; index < n; index++) {
        stream.running(generator.start(prepared, index, stream.listener(index)));
      }
    } catch (FailureException e) {
      stream.fail(e.failure());
    }
  }

  private int choices(GenerateRequest request) {
    if (request.getN() < 0 || request.getN() > maxChoices) {
      throw FailureException.invalid(
          "n", "n: " + request.getN() + " (expected: 1 to " + maxChoices + ")");
    }
    return Math.max(1, request.getN());
  }

  private static GenerationRequest read(GenerateRequest request) {
    Prompt prompt =
        switch (request.getPromptCase()) {
          case TEXT -> new Prompt.Text(request.getText(), true);
          case TOKEN_IDS ->
              new Prompt.Tokens(
                  request.getTokenIds().getIdsList().stream().mapToInt(id -> id).toArray());
          case CHAT -> new Prompt.Chat(chat(request.getChat().getMessagesList()), false);
          case PROMPT_NOT_SET ->
              throw FailureException.invalid(
                  "prompt", "prompt: unset (expected: text, token_ids or chat)");
        };
    return new GenerationRequest(
        "grpc-" + HexFormat.of().toHexDigits(ThreadLocalRandom.current().nextLong()),
        request.getModel(),
        prompt,
        request.getSampling(),
        "max_tokens",
        0,
        request.getStopList(),
        true,
        request.getTimeoutMillis(),
        request.getCacheSalt(),
        0);
  }

  private static TextModel.ChatInput chat(List<ChatMessage> messages) {
    if (messages.isEmpty()) {
      throw FailureException.invalid("chat", "chat: no messages (expected: at least one)");
    }
    List<Map<String, @Nullable Object>> maps = new ArrayList<>();
    for (ChatMessage message : messages) {
      if (!Prompt.Chat.ROLES.contains(message.getRole())) {
        throw FailureException.invalid(
            "chat",
            "chat: role \""
                + message.getRole()
                + "\" (expected: system, developer, user, assistant or tool)");
      }
      Map<String, @Nullable Object> map = new LinkedHashMap<>();
      map.put("role", message.getRole());
      map.put("content", message.getContent());
      maps.add(map);
    }
    return new TextModel.ChatInput(maps, null, true, Map.of());
  }

  /** Runs the work; whatever it throws ends the call as a failure. */
  private static void answering(StreamObserver<?> client, Runnable work) {
    try {
      work.run();
    } catch (FailureException e) {
      fail(client, e.failure());
    } catch (RuntimeException e) {
      LOG.error("a gRPC call broke", e);
      fail(client, Failures.internal(e));
    }
  }

  static void fail(StreamObserver<?> client, Failure failure) {
    if (failure.getCode() != ErrorCode.CANCELLED) {
      client.onError(Failures.grpcStatus(failure).asRuntimeException(Failures.trailers(failure)));
    }
  }
}

package dev.baton.router.failure;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.ErrorsProto;
import dev.baton.proto.errors.v1.Failure;
import io.grpc.Metadata;
import io.grpc.Status;
import java.util.EnumMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Makes failures and tells how each error code shows at a front. The mapping is read from the
 * options of errors.proto, its only source.
 */
public final class Failures {

  /** How a code shows: gRPC status, HTTP status, and the two fixed fields of an OpenAI error. */
  public record Shape(
      Status.Code grpcStatus, int httpStatus, String openAiType, @Nullable String openAiCode) {}

  private static final Metadata.Key<byte[]> TRAILER =
      Metadata.Key.of("baton-failure-bin", Metadata.BINARY_BYTE_MARSHALLER);

  private static final Map<ErrorCode, Shape> SHAPES = readShapes();

  private Failures() {}

  public static Failure of(ErrorCode code, String message) {
    return Failure.newBuilder().setCode(code).setMessage(message).build();
  }

  public static Failure of(ErrorCode code, String message, String field) {
    return Failure.newBuilder().setCode(code).setMessage(message).setField(field).build();
  }

  /** A failure that is worth trying again after a while. */
  public static Failure retryable(ErrorCode code, String message, long retryAfterMillis) {
    return Failure.newBuilder()
        .setCode(code)
        .setMessage(message)
        .setRetryAfterMillis(retryAfterMillis)
        .build();
  }

  /**
   * A fault of ours. The exception's class is named, its message may quote a request and is not.
   */
  public static Failure internal(Throwable fault) {
    return of(ErrorCode.INTERNAL, "internal error: " + fault.getClass().getSimpleName());
  }

  /** How the code shows; one that this build does not know shows as an internal error. */
  public static Shape shape(ErrorCode code) {
    Shape shape = SHAPES.get(code);
    return shape != null ? shape : java.util.Objects.requireNonNull(SHAPES.get(ErrorCode.INTERNAL));
  }

  /** The status that ends a gRPC call; {@link #trailers} goes with it. */
  public static Status grpcStatus(Failure failure) {
    return shape(failure.getCode()).grpcStatus().toStatus().withDescription(failure.getMessage());
  }

  /** The trailers that carry the failure itself. */
  public static Metadata trailers(Failure failure) {
    Metadata trailers = new Metadata();
    trailers.put(TRAILER, failure.toByteArray());
    return trailers;
  }

  private static Map<ErrorCode, Shape> readShapes() {
    Map<ErrorCode, Shape> shapes = new EnumMap<>(ErrorCode.class);
    for (ErrorCode code : ErrorCode.values()) {
      if (code == ErrorCode.UNRECOGNIZED) {
        continue;
      }
      var options = code.getValueDescriptor().getOptions();
      shapes.put(
          code,
          new Shape(
              Status.Code.valueOf(options.getExtension(ErrorsProto.grpcStatus)),
              options.getExtension(ErrorsProto.httpStatus),
              options.getExtension(ErrorsProto.openaiType),
              options.hasExtension(ErrorsProto.openaiCode)
                  ? options.getExtension(ErrorsProto.openaiCode)
                  : null));
    }
    return shapes;
  }
}

package dev.baton.router.registry;

import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.router.failure.FailureException;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a registration must hold before the router uses any of it. A worker may be of another
 * version, or no worker at all: names go into logs and metrics, numbers into sums.
 */
final class RegistrationRules {

  private static final Pattern NAME = Pattern.compile("[!-~]{1,128}");
  private static final Pattern MODEL_NAME = Pattern.compile("[^\\p{Cntrl}]{1,256}");
  private static final Pattern ADDRESS = Pattern.compile("[!-~]{1,255}:(\\d{1,5})");

  /** Positions that fit a long however they are counted. */
  private static final long MOST_BLOCKS = 1L << 40;

  private RegistrationRules() {}

  /**
   * Checks a registration by itself.
   *
   * @throws FailureException naming the field at fault
   */
  static void check(Registration registration) {
    require(
        NAME.matcher(registration.getWorkerId()).matches(),
        "worker_id",
        registration.getWorkerId(),
        "1 to 128 printable ASCII characters");
    require(
        registration.getRole() != Role.ROLE_UNSPECIFIED
            && registration.getRole() != Role.UNRECOGNIZED,
        "role",
        registration.getRole(),
        "PREFILL, DECODE or BOTH");
    require(
        isAddress(registration.getGrpcAddress()),
        "grpc_address",
        registration.getGrpcAddress(),
        "host:port");
    require(
        registration.getBlockTokens() >= 1 && registration.getBlockTokens() <= 1 << 20,
        "block_tokens",
        registration.getBlockTokens(),
        "1 to 1048576");
    require(
        registration.getBlockCapacity() >= 1 && registration.getBlockCapacity() <= MOST_BLOCKS,
        "block_capacity",
        registration.getBlockCapacity(),
        "1 to " + MOST_BLOCKS);
    require(
        registration.getMaxSessions() >= 0,
        "max_sessions",
        registration.getMaxSessions(),
        ">= 0, 0 = any number");
    require(
        registration.getTensorParallel() >= 0,
        "tensor_parallel",
        registration.getTensorParallel(),
        ">= 0");
    check(registration.getModel());
  }

  private static void check(ModelIdentity model) {
    require(
        MODEL_NAME.matcher(model.getName()).matches(),
        "model.name",
        model.getName(),
        "1 to 256 characters");
    require(
        NAME.matcher(model.getFingerprint()).matches(),
        "model.fingerprint",
        model.getFingerprint(),
        "1 to 128 printable ASCII characters");
    require(
        model.getContextLength() >= 1, "model.context_length", model.getContextLength(), ">= 1");
    require(
        model.getVocabularySize() >= 1, "model.vocabulary_size", model.getVocabularySize(), ">= 1");
  }

  private static boolean isAddress(String address) {
    Matcher parts = ADDRESS.matcher(address);
    if (!parts.matches()) {
      return false;
    }
    int port = Integer.parseInt(parts.group(1));
    return port >= 1 && port <= 65535;
  }

  private static void require(boolean holds, String field, Object value, String expected) {
    if (!holds) {
      throw FailureException.invalid(
          field, "%s: %s (expected: %s)".formatted(field, shown(value), expected));
    }
  }

  /** A value of strangers, fit for one line of a log. */
  private static String shown(Object value) {
    if (!(value instanceof String text)) {
      return String.valueOf(value);
    }
    String line = text.replaceAll("\\p{Cntrl}", "?");
    return "\"" + (line.length() <= 100 ? line : line.substring(0, 100) + "...") + "\"";
  }
}

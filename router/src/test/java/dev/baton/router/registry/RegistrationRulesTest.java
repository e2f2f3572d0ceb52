package dev.baton.router.registry;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.router.failure.FailureException;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class RegistrationRulesTest {

  @Test
  void completeRegistrationIsTaken() {
    assertThatCode(() -> RegistrationRules.check(valid().build())).doesNotThrowAnyException();
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "a b", "line\nbreak", "\u0000", "\u00e9"})
  void workerIdsThatWouldSpoilALogAreRefused(String id) {
    refused("worker_id", r -> r.setWorkerId(id));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "nowhere", "host:", ":1", "host:0", "host:65536", "a b:1", "h\n:1"})
  void addressesThatCannotBeCalledAreRefused(String address) {
    refused("grpc_address", r -> r.setGrpcAddress(address));
  }

  @Test
  void numbersOutOfRangeAreRefused() {
    refused("role", Registration.Builder::clearRole);
    refused("block_tokens", r -> r.setBlockTokens(0));
    refused("block_tokens", r -> r.setBlockTokens(Integer.MAX_VALUE));
    refused("block_capacity", r -> r.setBlockCapacity(-1));
    refused("block_capacity", r -> r.setBlockCapacity(Long.MAX_VALUE));
    refused("max_sessions", r -> r.setMaxSessions(-1));
    refused("tensor_parallel", r -> r.setTensorParallel(-8));
  }

  @Test
  void modelsWithoutIdentityAreRefused() {
    refused("model.name", r -> r.getModelBuilder().clearName());
    refused("model.name", r -> r.getModelBuilder().setName("m".repeat(257)));
    refused("model.fingerprint", r -> r.getModelBuilder().clearFingerprint());
    refused("model.context_length", r -> r.getModelBuilder().setContextLength(-1));
    refused("model.vocabulary_size", r -> r.getModelBuilder().clearVocabularySize());
  }

  @Test
  void longOrBrokenValuesAreShownOnOneShortLine() {
    assertThatThrownBy(
            () -> RegistrationRules.check(valid().setWorkerId("x\n".repeat(1 << 20)).build()))
        .satisfies(
            e -> {
              assertThat(e.getMessage()).hasSizeLessThan(300);
              assertThat(e.getMessage()).doesNotContain("\n");
            });
  }

  private static void refused(String field, Consumer<Registration.Builder> change) {
    Registration.Builder registration = valid();
    change.accept(registration);
    assertThatThrownBy(() -> RegistrationRules.check(registration.build()))
        .isInstanceOf(FailureException.class)
        .hasMessageContaining(" " + field + ": ");
  }

  private static Registration.Builder valid() {
    return Registration.newBuilder()
        .setWorkerId("decode-7f3a9c")
        .setRole(Role.DECODE)
        .setGrpcAddress("127.0.0.1:9090")
        .setBlockTokens(16)
        .setBlockCapacity(100)
        .setModel(
            ModelIdentity.newBuilder()
                .setName("a model")
                .setFingerprint("f")
                .setContextLength(128)
                .setVocabularySize(256));
  }
}

package dev.baton.worker.wire;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.device.DType;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SampledToken;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Sample;
import java.util.List;
import org.junit.jupiter.api.Test;

class WireTest {

  private static final ModelInfo MODEL =
      new ModelInfo("m", "m", "f00d", 100, 100, 2, 2, 4, DType.BFLOAT16, List.of(0));

  @Test
  void aSessionIsReadWithAllItsFields() {
    SessionSpec.Builder spec =
        Sample.session("a", 3, 9).toBuilder()
            .setEpoch(2)
            .addGenerated(5)
            .setCacheSalt("tenant")
            .setPriority(4);
    spec.getSamplingBuilder()
        .setTemperature(0.5f)
        .setTopK(3)
        .setTopP(0.9f)
        .setLogprobs(2)
        .addStopTokenIds(8);
    Generation read = SessionSpecs.generation(spec.build(), Sample.model());
    assertThat(read.session().toString()).isEqualTo("a/2");
    assertThat(read.prompt()).hasSize(3);
    assertThat(read.generated()).containsExactly(5);
    assertThat(read.cacheSalt()).isEqualTo("tenant");
    assertThat(read.priority()).isEqualTo(4);
    assertThat(read.sampling().maxTokens()).isEqualTo(9);
    assertThat(read.sampling().temperature()).isEqualTo(0.5f);
    assertThat(read.sampling().topK()).isEqualTo(3);
    assertThat(read.sampling().topP()).isEqualTo(0.9f);
    assertThat(read.sampling().seed()).isEqualTo(7);
    assertThat(read.sampling().logprobs()).isEqualTo(2);
    assertThat(read.sampling().ignoreEos()).isTrue();
    assertThat(read.sampling().stopTokenIds()).containsExactly(8);
  }

  @Test
  void logprobsThatWereNotAskedForAreOff() {
    Generation read = SessionSpecs.generation(Sample.session("a", 3, 9), Sample.model());
    assertThat(read.sampling().logprobs()).isEqualTo(-1);
  }

  @Test
  void everyFieldOutOfRangeIsNamedAsThePublicApiNamesIt() {
    assertRefused(spec -> spec.getSamplingBuilder().setTopP(0), "top_p");
    assertRefused(spec -> spec.getSamplingBuilder().setTopK(-1), "top_k");
    assertRefused(spec -> spec.getSamplingBuilder().setTemperature(Float.NaN), "temperature");
    assertRefused(spec -> spec.getSamplingBuilder().setLogprobs(21), "logprobs");
    assertRefused(spec -> spec.getSamplingBuilder().clearMaxTokens(), "max_tokens");
    assertRefused(spec -> spec.getSamplingBuilder().clearSeed(), "seed");
    assertRefused(SessionSpec.Builder::clearPrompt, "prompt");
    assertRefused(spec -> spec.addPrompt(-1), "prompt");
    assertRefused(spec -> spec.setDeadlineMillis(-1), "");
    assertRefused(spec -> spec.setEpoch(0), "session");
  }

  private static void assertRefused(
      java.util.function.Consumer<SessionSpec.Builder> change, String field) {
    SessionSpec.Builder spec = Sample.session("a", 3, 9).toBuilder();
    change.accept(spec);
    assertThatThrownBy(() -> SessionSpecs.generation(spec.build(), Sample.model()))
        .isInstanceOfSatisfying(
            RefusedException.class,
            e -> {
              assertThat(e.failure().getCode()).isEqualTo(ErrorCode.INVALID_REQUEST);
              assertThat(e.failure().getField()).isEqualTo(field);
              assertThat(e.failure().getMessage()).contains("(expected: ");
            });
  }

  @Test
  void everyKindOfExceptionHasACode() {
    for (EngineException.Kind kind : EngineException.Kind.values()) {
      assertThat(Failures.of(new EngineException(kind, "why")).getCode())
          .isEqualTo(
              switch (kind) {
                case INVALID -> ErrorCode.INVALID_REQUEST;
                case TOO_LONG -> ErrorCode.CONTEXT_LENGTH_EXCEEDED;
                case NO_CAPACITY -> ErrorCode.OVERLOADED;
                case BAD_MODEL, INTERNAL -> ErrorCode.INTERNAL;
              });
    }
    for (HandoffException.Kind kind : HandoffException.Kind.values()) {
      assertThat(Failures.of(new HandoffException(kind, "why")).getCode())
          .isEqualTo(
              switch (kind) {
                case CANCELLED -> ErrorCode.CANCELLED;
                case PEER_LOST -> ErrorCode.WORKER_LOST;
                case PEER_ABORTED, CORRUPT, TIMEOUT -> ErrorCode.HANDOFF_FAILED;
                case INTERNAL -> ErrorCode.INTERNAL;
              });
    }
  }

  @Test
  void aTicketComesBackAsItWent() {
    Ticket ticket = new Ticket(new Bits128(1, 2), new Bits128(3, 4), "::1", 99, 16, 5000);
    HandoffTicket wire = Tickets.write(ticket, MODEL);
    assertThat(wire.getAddress()).isEqualTo("[::1]:99");
    assertThat(Tickets.read(wire, 17)).isEqualTo(ticket);
    assertThat(wire.getFingerprint()).isEqualTo("f00d");
    assertThat(Tickets.kvDtype(wire, DType.FLOAT32)).isEqualTo(DType.BFLOAT16);
  }

  @Test
  void aTicketSaysInWhichDtypeTheImporterWantsKv() {
    for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.INT8)) {
      HandoffTicket wire = HandoffTicket.newBuilder().setKvBytesPerElement(dtype.bytes()).build();
      assertThat(Tickets.kvDtype(wire, DType.FLOAT32)).isEqualTo(dtype);
    }
    HandoffTicket silent = HandoffTicket.getDefaultInstance();
    assertThat(Tickets.kvDtype(silent, DType.INT8)).isEqualTo(DType.INT8);
    HandoffTicket three = HandoffTicket.newBuilder().setKvBytesPerElement(3).build();
    assertThatThrownBy(() -> Tickets.kvDtype(three, DType.INT8))
        .isInstanceOf(RefusedException.class)
        .hasMessageContaining("ticket.kv_bytes_per_element: 3");
  }

  @Test
  void aMalformedTicketIsRefused() {
    HandoffTicket good =
        Tickets.write(new Ticket(new Bits128(1, 2), new Bits128(3, 4), "h", 99, 16, 5000), MODEL);
    assertThatThrownBy(() -> Tickets.read(good, 16)).hasMessageContaining("first_token: 16");
    assertThatThrownBy(() -> Tickets.read(good.toBuilder().setAddress("h").build(), 17))
        .isInstanceOf(RefusedException.class);
    assertThatThrownBy(() -> Tickets.read(good.toBuilder().clearToken().build(), 17))
        .isInstanceOf(RefusedException.class);
  }

  @Test
  void addressesAreReadStrictly() {
    assertThat(HostPort.parse("localhost:80")).isEqualTo(new HostPort("localhost", 80));
    assertThat(HostPort.parse("[fe80::1]:80")).isEqualTo(new HostPort("fe80::1", 80));
    for (String bad : List.of("", "localhost", ":80", "localhost:x", "localhost:70000", "::1:80")) {
      assertThatThrownBy(() -> HostPort.parse(bad)).isInstanceOf(IllegalArgumentException.class);
    }
  }

  @Test
  void theContextHashIsTheHeadOfSha256OverLittleEndianIds() {
    // printf '\x01\x00\x00\x00\x02\x00\x00\x00' | sha256sum
    assertThat(ContextHash.of(new int[] {1, 2})).isEqualTo(0x34FB5C825DE7CA4AL);
  }

  @Test
  void aTokenKeepsItsLogprobsAndItsEnd() {
    SampledToken token =
        new SampledToken(
            7,
            3,
            new SampledToken.Logprobs(-0.5f, List.of(new SampledToken.Logprobs.Entry(7, -0.5f))),
            SampledToken.FinishReason.STOP);
    var wire = Tokens.write(token, 12);
    assertThat(wire.getTokenId()).isEqualTo(7);
    assertThat(wire.getIndex()).isEqualTo(3);
    assertThat(wire.getLogprobs().getTop(0).getTokenId()).isEqualTo(7);
    assertThat(wire.getFinishReason()).isEqualTo(FinishReason.STOP);
    assertThat(wire.getCachedTokens()).isZero();
    assertThat(Tokens.write(new SampledToken(7, 0, null, null), 12).getCachedTokens())
        .isEqualTo(12);
  }
}

package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.proto.worker.v1.SuspendReply;
import dev.baton.proto.worker.v1.SuspendRequest;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.TestWorker;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A running session goes from one decode worker to another, with its KV or without. */
@Timeout(120)
class MoveTest {

  private static final EngineOptions ENGINE =
      EngineOptions.of(Path.of("..", "models", "stories260K"))
          .withPrecision(Precision.FLOAT32)
          .withKvCacheBytes(16 << 20)
          .withPrefillChunk(64);
  private static final long SEED = Long.getLong("seed", System.nanoTime());

  private final Random random = new Random(SEED);
  private final List<AutoCloseable> open = new ArrayList<>();

  @AfterEach
  void closeAll() throws Exception {
    for (AutoCloseable each : open.reversed()) {
      each.close();
    }
  }

  private TestWorker worker(EngineOptions options) throws Exception {
    FakeRouter router = FakeRouter.accepting(0);
    open.add(router);
    TestWorker worker =
        new TestWorker(
            Role.DECODE,
            router.address(),
            Engine.load(options, progress -> {}),
            KvTransferFactory.open(TransferOptions.on("127.0.0.1")),
            DecodeService::create);
    open.add(worker);
    return worker;
  }

  /** Draws everything that a sampler can be asked for. */
  private SessionSpec session(String id, int promptTokens, int maxTokens) {
    SessionSpec.Builder spec = SessionSpec.newBuilder().setSessionId(id).setEpoch(1).addPrompt(1);
    for (int i = 1; i < promptTokens; i++) {
      spec.addPrompt(3 + random.nextInt(509));
    }
    return spec.setSampling(
            SamplingParameters.newBuilder()
                .setMaxTokens(maxTokens)
                .setMinTokens(random.nextInt(maxTokens))
                .setTemperature(random.nextInt(3) == 0 ? 0f : 0.9f)
                .setTopK(random.nextBoolean() ? 0 : 40)
                .setTopP(random.nextBoolean() ? 1f : 0.95f)
                .setMinP(random.nextBoolean() ? 0f : 0.02f)
                .setRepetitionPenalty(random.nextBoolean() ? 1f : 1.3f)
                .setFrequencyPenalty(random.nextBoolean() ? 0f : 0.6f)
                .setPresencePenalty(random.nextBoolean() ? 0f : 0.4f)
                .putLogitBias(3 + random.nextInt(509), 1.5f)
                .setLogprobs(random.nextInt(4))
                .setSeed(random.nextLong())
                .setIgnoreEos(random.nextBoolean())
                .addStopTokenIds(3 + random.nextInt(509)))
        .build();
  }

  private static Events<DecodeRequest, DecodeEvent> decode(
      TestWorker worker, SessionSpec spec, boolean awaitHandoff) {
    Events<DecodeRequest, DecodeEvent> events = new Events<>();
    DecodeWorkerGrpc.newStub(worker.channel())
        .decode(
            DecodeRequest.newBuilder().setSession(spec).setAwaitHandoff(awaitHandoff).build(),
            events);
    return events;
  }

  /** Tokens with their log probabilities and the end's reason. */
  private static List<SampledToken> tokens(List<DecodeEvent> events) {
    assertThat(events.getLast().hasFinished()).as("%s", events.getLast()).isTrue();
    return events.stream()
        .filter(DecodeEvent::hasToken)
        .map(event -> event.getToken().toBuilder().clearCachedTokens().build())
        .toList();
  }

  private static SessionSpec after(SessionSpec spec, List<SampledToken> tokens, int epoch) {
    return spec.toBuilder()
        .setEpoch(epoch)
        .addAllGenerated(tokens.stream().map(SampledToken::getTokenId).toList())
        .build();
  }

  @Test
  void sessionCutAtAnyTokenGoesOnFromItsTokensWithTheSameRest() throws Exception {
    TestWorker first = worker(ENGINE);
    TestWorker second = worker(ENGINE.withTensorParallel(2).withBlockTokens(96));
    for (int round = 0; round < 6; round++) {
      SessionSpec spec = session("s" + round, 1 + random.nextInt(120), 2 + random.nextInt(24));
      List<SampledToken> all = tokens(decode(first, spec, false).await());
      List<Events<DecodeRequest, DecodeEvent>> rests = new ArrayList<>();
      for (int cut = 1; cut < all.size(); cut++) {
        rests.add(decode(second, named(after(spec, all.subList(0, cut), 1), cut), false));
      }
      for (int cut = 1; cut < all.size(); cut++) {
        assertThat(tokens(rests.get(cut - 1).await()))
            .as("round %d cut at %d of -Dseed=%d", round, cut, SEED)
            .isEqualTo(all.subList(cut, all.size()));
      }
    }
    first.awaitClosedLedger();
    second.awaitClosedLedger();
  }

  private static SessionSpec named(SessionSpec spec, int cut) {
    return spec.toBuilder().setSessionId(spec.getSessionId() + " cut " + cut).build();
  }

  @Test
  void suspendedSessionGoesOnAtAnotherWorkerWithItsKv() throws Exception {
    move(ENGINE, ENGINE);
  }

  @Test
  void workersOfOtherRanksAndBlocksTakeItOver() throws Exception {
    move(ENGINE.withTensorParallel(2), ENGINE.withTensorParallel(4).withBlockTokens(96));
    move(ENGINE.withTensorParallel(4).withBlockTokens(64), ENGINE);
    EngineOptions eight = ENGINE.withKvPrecision(KvPrecision.INT8);
    move(eight, eight.withTensorParallel(2).withBlockTokens(64));
  }

  private void move(EngineOptions from, EngineOptions to) throws Exception {
    TestWorker source = worker(from);
    TestWorker target = worker(to);
    // The first call loads classes for longer than a session lasts.
    assertThat(suspend(source, "nobody").hasRefused()).isTrue();
    for (int round = 0; round < 4; round++) {
      SessionSpec spec = session("m" + round, 1 + random.nextInt(100), 400);
      spec =
          spec.toBuilder()
              .setSampling(spec.getSampling().toBuilder().setIgnoreEos(true).clearStopTokenIds())
              .build();
      List<SampledToken> expected =
          tokens(
              decode(
                      target,
                      spec.toBuilder().setSessionId("plain").setCacheSalt("x").build(),
                      false)
                  .await());

      Events<DecodeRequest, DecodeEvent> begun = decode(source, spec, false);
      List<SampledToken> seen = new ArrayList<>();
      for (int i = 0; i <= round * 7; i++) {
        seen.add(begun.next().getToken());
      }
      SuspendReply suspended = suspend(source, spec.getSessionId());
      assertThat(suspended.hasRefused()).as("%s", suspended).isFalse();
      DecodeEvent event = begun.next();
      for (; event.hasToken(); event = begun.next()) {
        seen.add(event.getToken());
      }
      assertThat(event.getSuspended().getGeneratedTokens()).isEqualTo(seen.size());

      Events<DecodeRequest, DecodeEvent> rest =
          decode(target, after(spec, seen.subList(0, seen.size() - 1), 2), true);
      HandoffTicket ticket = rest.next().getReserved();
      HandOverReply over =
          DecodeWorkerGrpc.newBlockingStub(source.channel())
              .handOver(
                  HandOverRequest.newBuilder()
                      .setSessionId(spec.getSessionId())
                      .setEpoch(1)
                      .setTicket(ticket)
                      .setImporterEpoch(2)
                      .build());
      assertThat(over.hasHandedOff()).as("%s", over).isTrue();
      source.awaitClosedLedger();

      seen.addAll(
          rest.await().stream().filter(DecodeEvent::hasToken).map(DecodeEvent::getToken).toList());
      assertThat(seen.stream().map(t -> t.toBuilder().clearCachedTokens().build()).toList())
          .as("round %d of -Dseed=%d", round, SEED)
          .isEqualTo(expected);
      target.awaitClosedLedger();
    }
  }

  private static SuspendReply suspend(TestWorker worker, String session) {
    return DecodeWorkerGrpc.newBlockingStub(worker.channel())
        .suspend(SuspendRequest.newBuilder().setSessionId(session).setEpoch(1).build());
  }

  @Test
  void suspendedSessionThatNobodyTakesIsFreedWithItsCall() throws Exception {
    TestWorker source = worker(ENGINE);
    SessionSpec spec = session("a", 20, 400);
    spec =
        spec.toBuilder()
            .setSampling(spec.getSampling().toBuilder().setIgnoreEos(true).clearStopTokenIds())
            .build();
    assertThat(suspend(source, "nobody").hasRefused()).isTrue();
    Events<DecodeRequest, DecodeEvent> begun = decode(source, spec, false);
    begun.next();
    assertThat(suspend(source, "a").hasRefused()).isFalse();
    assertThat(source.ledger().owned()).isPositive();
    begun.cancel();
    source.awaitClosedLedger();
    assertThat(suspend(source, "a").getRefused().getMessage())
        .contains("not here under that epoch");
  }
}

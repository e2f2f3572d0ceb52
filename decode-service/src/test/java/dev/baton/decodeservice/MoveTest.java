package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.peer.ContextHash;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.KvSettled;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.TestWorker;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A running session goes from one decode worker to another, with its KV or without. */
@Timeout(300)
class MoveTest {

  private static final EngineOptions ENGINE =
      EngineOptions.of(Path.of("..", "models", "stories260K"))
          .withPrecision(Precision.FLOAT32)
          .withKvCacheBytes(16 << 20)
          .withPrefillChunk(64);
  private static final int ROOM = 256;
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
    return worker(Engine.load(options, progress -> {}));
  }

  /** A worker whose sessions last long enough to be moved. */
  private TestWorker slowWorker(EngineOptions options) throws Exception {
    Engine engine = Engine.load(options, progress -> {});
    return worker(
        (Engine)
            Proxy.newProxyInstance(
                Engine.class.getClassLoader(),
                new Class<?>[] {Engine.class},
                (proxy, method, arguments) -> {
                  if (method.getName().equals("step")) {
                    LockSupport.parkNanos(2_000_000);
                  }
                  try {
                    return method.invoke(engine, arguments);
                  } catch (InvocationTargetException e) {
                    throw e.getCause();
                  }
                }));
  }

  private TestWorker worker(Engine engine) throws Exception {
    return worker(engine, KvTransferFactory.open(TransferOptions.on("127.0.0.1")));
  }

  private TestWorker worker(Engine engine, KvTransfer transfer) throws Exception {
    FakeRouter router = FakeRouter.accepting(0);
    open.add(router);
    TestWorker worker =
        new TestWorker(Role.DECODE, router.address(), engine, transfer, DecodeService::create);
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
    TestWorker source = slowWorker(from);
    TestWorker target = worker(to);
    // The first call loads classes for longer than a session lasts.
    assertThat(handOver(source, "nobody", HandoffTicket.getDefaultInstance(), 1).hasFailure())
        .isTrue();
    for (int round = 0; round < 2; round++) {
      SessionSpec spec = endless("m" + round, 1 + random.nextInt(100));
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
      int known = spec.getPromptCount() + seen.size() - 1;
      Events<DecodeRequest, DecodeEvent> rest =
          takeOver(target, after(spec, seen.subList(0, seen.size() - 1), 2), ROOM);
      HandoffTicket ticket = rest.next().getReserved();
      HandOverReply over = handOver(source, spec.getSessionId(), ticket, known);
      assertThat(over.hasHandedOff()).as("%s", over).isTrue();
      DecodeEvent event = begun.next();
      for (; event.hasToken(); event = begun.next()) {
        seen.add(event.getToken());
      }
      assertThat(event.getSuspended().getGeneratedTokens()).isEqualTo(seen.size());
      assertThat(seen.size() - 1 + spec.getPromptCount())
          .isBetween(known, known + ticket.getRoomTokens());
      KvSettled settled = rest.next().getKvSettled();
      assertThat(settled.getContextHash())
          .isEqualTo(
              ContextHash.of(
                  IntStream.concat(
                          spec.getPromptList().stream().mapToInt(i -> i),
                          seen.stream().limit(seen.size() - 1).mapToInt(SampledToken::getTokenId))
                      .toArray()));
      source.awaitClosedLedger();

      seen.addAll(
          rest.await().stream().filter(DecodeEvent::hasToken).map(DecodeEvent::getToken).toList());
      assertThat(seen.stream().map(t -> t.toBuilder().clearCachedTokens().build()).toList())
          .as("round %d of -Dseed=%d", round, SEED)
          .isEqualTo(expected);
      target.awaitClosedLedger();
    }
  }

  /** A transfer whose slabs arrive, but are not verified before the latch is open. */
  private static KvTransfer waiting(CountDownLatch announced, CountDownLatch verify) {
    KvTransfer transfer = KvTransferFactory.open(TransferOptions.on("127.0.0.1"));
    return (KvTransfer)
        Proxy.newProxyInstance(
            KvTransfer.class.getClassLoader(),
            new Class<?>[] {KvTransfer.class},
            (proxy, method, arguments) -> {
              if (method.getName().equals("expect")) {
                KvSink sink = (KvSink) arguments[1];
                arguments[1] =
                    (KvSink)
                        (range, slab) -> {
                          announced.countDown();
                          awaitOpen(verify);
                          sink.unpack(range, slab);
                        };
              }
              try {
                return method.invoke(transfer, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }

  private static void awaitOpen(CountDownLatch latch) {
    try {
      assertThat(latch.await(30, TimeUnit.SECONDS)).isTrue();
    } catch (InterruptedException e) {
      throw new AssertionError(e);
    }
  }

  @Test
  void sessionThatIsPreemptedWhileItIsCopiedMovesWithTheKvOfItsNewBlocks() throws Exception {
    // Two of its sessions do not fit: 8 blocks of 5 layers, keys and values of 4 heads of 8 floats.
    TestWorker source =
        slowWorker(
            ENGINE
                .withBlockTokens(64)
                .withKvCacheBytes(8 * 64 * 5 * 2 * 4 * 8 * 4)
                .withSwapBytes(0));
    CountDownLatch announced = new CountDownLatch(1);
    CountDownLatch verify = new CountDownLatch(1);
    TestWorker target = worker(Engine.load(ENGINE, progress -> {}), waiting(announced, verify));
    SessionSpec spec = endless("moved", 20);
    List<SampledToken> expected =
        tokens(decode(target, spec.toBuilder().setSessionId("plain").build(), false).await());

    Events<DecodeRequest, DecodeEvent> begun = decode(source, spec, false);
    List<SampledToken> seen = new ArrayList<>();
    seen.add(begun.next().getToken());
    Events<DecodeRequest, DecodeEvent> rest =
        takeOver(target, spec.toBuilder().setEpoch(2).setCacheSalt("y").build(), ROOM);
    HandoffTicket ticket = rest.next().getReserved();
    try (ExecutorService caller = Executors.newSingleThreadExecutor()) {
      Future<HandOverReply> over =
          caller.submit(() -> handOver(source, spec.getSessionId(), ticket, 20));
      awaitOpen(announced);
      SessionSpec larger = session("preempts", 450, 3).toBuilder().setPriority(1).build();
      tokens(decode(source, larger, false).await());
      int before = begun.received();
      while (seen.size() <= before) {
        seen.add(begun.next().getToken());
      }
      verify.countDown();
      assertThat(over.get().hasHandedOff()).as("%s", over.get()).isTrue();
    }
    DecodeEvent event = begun.next();
    for (; event.hasToken(); event = begun.next()) {
      seen.add(event.getToken());
    }
    assertThat(event.hasSuspended()).as("%s", event).isTrue();
    rest.await().stream()
        .filter(DecodeEvent::hasToken)
        .map(DecodeEvent::getToken)
        .forEach(seen::add);
    assertThat(seen.stream().map(t -> t.toBuilder().clearCachedTokens().build()).toList())
        .as("-Dseed=%d", SEED)
        .isEqualTo(expected);
    source.awaitClosedLedger();
    target.awaitClosedLedger();
  }

  private static Events<DecodeRequest, DecodeEvent> takeOver(
      TestWorker worker, SessionSpec spec, int room) {
    Events<DecodeRequest, DecodeEvent> events = new Events<>();
    DecodeWorkerGrpc.newStub(worker.channel())
        .decode(
            DecodeRequest.newBuilder()
                .setSession(spec)
                .setAwaitHandoff(true)
                .setRoomTokens(room)
                .build(),
            events);
    return events;
  }

  private static HandOverReply handOver(
      TestWorker source, String session, HandoffTicket ticket, int importerTokens) {
    return DecodeWorkerGrpc.newBlockingStub(source.channel())
        .handOver(
            HandOverRequest.newBuilder()
                .setSessionId(session)
                .setEpoch(1)
                .setTicket(ticket)
                .setImporterEpoch(2)
                .setImporterTokens(importerTokens)
                .build());
  }

  private SessionSpec endless(String id, int promptTokens) {
    SessionSpec spec = session(id, promptTokens, 400);
    return spec.toBuilder()
        .setSampling(spec.getSampling().toBuilder().setIgnoreEos(true).clearStopTokenIds())
        .build();
  }
}

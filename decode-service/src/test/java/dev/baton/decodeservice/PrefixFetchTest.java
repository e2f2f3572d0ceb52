package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.prefillservice.PrefixService;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.ExportPrefixEvent;
import dev.baton.proto.worker.v1.ExportPrefixRequest;
import dev.baton.proto.worker.v1.FetchPrefixEvent;
import dev.baton.proto.worker.v1.FetchPrefixRequest;
import dev.baton.proto.worker.v1.PrefixWorkerGrpc;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.fakes.Events;
import dev.baton.worker.fakes.FakeRouter;
import dev.baton.worker.fakes.Sample;
import dev.baton.worker.fakes.TestWorker;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Two real workers, of which one has a prefix cached that the other one is going to need. */
@Timeout(300)
class PrefixFetchTest {

  private static final EngineOptions ENGINE =
      EngineOptions.of(Path.of("..", "models", "stories260K"))
          .withPrecision(Precision.FLOAT32)
          .withKvCacheBytes(16 << 20)
          .withPrefillChunk(64);
  private static final int PROMPT = 200;
  private static final int PREFIX = 192;

  @BeforeAll
  static void needsUcx() {
    assumeTrue(
        List.of("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib")
            .stream()
            .anyMatch(d -> Files.exists(Path.of(d, "libucp.so.0"))),
        "UCX is not installed (expected: libucx0)");
  }

  /** The two workers, and what a router asks of them. */
  private record Both(FakeRouter router, TestWorker source, TestWorker target)
      implements AutoCloseable {

    static Both start(EngineOptions source, EngineOptions target) throws Exception {
      FakeRouter router = FakeRouter.accepting(0);
      return new Both(router, worker(router, source), worker(router, target));
    }

    private static TestWorker worker(FakeRouter router, EngineOptions options) throws Exception {
      return new TestWorker(
          Role.DECODE,
          router.address(),
          Engine.load(options, _ -> {}),
          KvTransferFactory.open(TransferOptions.on("127.0.0.1")),
          DecodeService::create,
          PrefixService::create);
    }

    Events<FetchPrefixRequest, FetchPrefixEvent> fetch(SessionSpec prefix) {
      Events<FetchPrefixRequest, FetchPrefixEvent> events = new Events<>();
      PrefixWorkerGrpc.newStub(target.channel())
          .fetchPrefix(FetchPrefixRequest.newBuilder().setSession(prefix).build(), events);
      return events;
    }

    Events<ExportPrefixRequest, ExportPrefixEvent> export(
        SessionSpec prefix, FetchPrefixEvent reserved) {
      assertThat(reserved.hasReserved()).as("%s", reserved).isTrue();
      Events<ExportPrefixRequest, ExportPrefixEvent> events = new Events<>();
      PrefixWorkerGrpc.newStub(source.channel())
          .exportPrefix(
              ExportPrefixRequest.newBuilder()
                  .setSession(prefix)
                  .setTicket(reserved.getReserved())
                  .build(),
              events);
      return events;
    }

    static List<DecodeEvent> run(TestWorker worker, SessionSpec spec) throws Exception {
      Events<DecodeRequest, DecodeEvent> events = new Events<>();
      DecodeWorkerGrpc.newStub(worker.channel())
          .decode(DecodeRequest.newBuilder().setSession(spec).build(), events);
      return events.await();
    }

    void awaitClosedLedgers() {
      source.awaitClosedLedger();
      target.awaitClosedLedger();
    }

    @Override
    public void close() throws Exception {
      source.close();
      target.close();
      router.close();
    }
  }

  private static SessionSpec named(SessionSpec spec, String id) {
    return spec.toBuilder().setSessionId(id).build();
  }

  private static SessionSpec prefix(int tokens) {
    SessionSpec spec = Sample.session("s/prefix", PROMPT, 1);
    return spec.toBuilder()
        .clearPrompt()
        .addAllPrompt(spec.getPromptList().subList(0, tokens))
        .build();
  }

  private static int cached(List<DecodeEvent> events) {
    return events.getFirst().getToken().getCachedTokens();
  }

  private static void assertFetchedTokensAreTheSame(EngineOptions source, EngineOptions target)
      throws Exception {
    try (Both both = Both.start(source, target)) {
      SessionSpec spec = Sample.session("s", PROMPT, 20);
      List<Integer> expected = WorkerPair.tokens(Both.run(both.source, named(spec, "first")), 0);
      Events<FetchPrefixRequest, FetchPrefixEvent> fetch = both.fetch(prefix(PREFIX));
      List<ExportPrefixEvent> exported = both.export(prefix(PREFIX), fetch.next()).await();
      assertThat(exported.getLast().hasHandedOff()).as("%s", exported).isTrue();
      assertThat(fetch.await().getLast().getHeld().getTokens()).isEqualTo(PREFIX);
      List<DecodeEvent> events = Both.run(both.target, spec);
      assertThat(cached(events)).isEqualTo(PREFIX);
      assertThat(WorkerPair.tokens(events, 0)).isEqualTo(expected);
      both.awaitClosedLedgers();
    }
  }

  @Test
  void aFetchedPrefixGivesTheSameTokensWithoutBeingComputed() throws Exception {
    assertFetchedTokensAreTheSame(ENGINE, ENGINE);
  }

  @Test
  void ranksBlocksAndEightBitsAreNoMatter() throws Exception {
    EngineOptions eight = ENGINE.withKvPrecision(KvPrecision.INT8);
    assertFetchedTokensAreTheSame(
        eight.withTensorParallel(2).withBlockTokens(64), eight.withBlockTokens(96));
  }

  @Test
  void whatIsNotCachedAnyMoreIsSaidAndNothingMoves() throws Exception {
    try (Both both = Both.start(ENGINE, ENGINE)) {
      SessionSpec spec = Sample.session("s", 100, 4);
      Both.run(both.source, spec);
      Events<FetchPrefixRequest, FetchPrefixEvent> fetch = both.fetch(prefix(PREFIX));
      List<ExportPrefixEvent> exported = both.export(prefix(PREFIX), fetch.next()).await();
      assertThat(exported.getLast().getShortOf().getTokens()).isEqualTo(96);
      fetch.cancel();
      both.awaitClosedLedgers();
      assertThat(both.target.worker().status().getLedger().getCached()).isZero();
      assertThat(cached(Both.run(both.target, named(spec, "late")))).isZero();
    }
  }

  @Test
  void aSourceThatDiesLeavesTheTargetToComputeTheSameTokens() throws Exception {
    try (Both both = Both.start(ENGINE, ENGINE)) {
      SessionSpec spec = Sample.session("s", PROMPT, 10);
      List<Integer> expected = WorkerPair.tokens(Both.run(both.source, named(spec, "first")), 0);
      Events<FetchPrefixRequest, FetchPrefixEvent> fetch = both.fetch(prefix(PREFIX));
      assertThat(fetch.next().hasReserved()).isTrue();
      both.source.close();
      fetch.cancel();
      assertThat(WorkerPair.tokens(Both.run(both.target, spec), 0)).isEqualTo(expected);
      both.target.awaitClosedLedger();
    }
  }

  @Test
  void anotherModelsPrefixIsRefusedBeforeAByteMoves() throws Exception {
    try (Both both = Both.start(ENGINE.withPrecision(Precision.BFLOAT16), ENGINE)) {
      Both.run(both.source, Sample.session("s", PROMPT, 2));
      Events<FetchPrefixRequest, FetchPrefixEvent> fetch = both.fetch(prefix(PREFIX));
      ExportPrefixEvent refused = both.export(prefix(PREFIX), fetch.next()).next();
      assertThat(refused.getFailure().getCode()).isEqualTo(ErrorCode.FINGERPRINT_MISMATCH);
      fetch.cancel();
      both.awaitClosedLedgers();
    }
  }
}

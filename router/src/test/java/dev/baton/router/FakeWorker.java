package dev.baton.router;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.inference.v1.PromptLogprobs;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.TokenLogprobs;
import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.DrainProgress;
import dev.baton.proto.worker.v1.DrainRequest;
import dev.baton.proto.worker.v1.ExportPrefixEvent;
import dev.baton.proto.worker.v1.ExportPrefixRequest;
import dev.baton.proto.worker.v1.FetchPrefixEvent;
import dev.baton.proto.worker.v1.FetchPrefixRequest;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.proto.worker.v1.PrefixHeld;
import dev.baton.proto.worker.v1.PrefixWorkerGrpc;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.RegistryReply;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionFinished;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerRegistryGrpc;
import dev.baton.proto.worker.v1.WorkerReport;
import dev.baton.proto.worker.v1.WorkerStatus;
import io.grpc.ManagedChannel;
import io.grpc.Server;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A worker without a model, over real sockets: its tokens are the letters from 'a' on, shifted by
 * the seed. Tokens beyond the first go out one per permit of {@link #pace}. Statuses are sent until
 * {@link #fallSilent}.
 */
public final class FakeWorker implements AutoCloseable {

  static final int CONTEXT = 128;

  /** One permit a token; plenty unless a test drains it. */
  final Semaphore pace = new Semaphore(1_000_000);

  final List<SessionSpec> sessions = new CopyOnWriteArrayList<>();

  /** Ids of sessions whose call was cancelled. */
  final LinkedBlockingQueue<String> cancelled = new LinkedBlockingQueue<>();

  /** What the next calls are refused with. */
  final LinkedBlockingQueue<Failure> refusals = new LinkedBlockingQueue<>();

  final CompletableFuture<RegistryReply> reply = new CompletableFuture<>();

  /** Prefixes that were asked of it, to be taken in and to be given. */
  final LinkedBlockingQueue<SessionSpec> fetches = new LinkedBlockingQueue<>();

  final LinkedBlockingQueue<SessionSpec> exports = new LinkedBlockingQueue<>();

  /** Orders to drain, which come to no end. */
  final LinkedBlockingQueue<DrainRequest> drains = new LinkedBlockingQueue<>();

  /** Prefill calls are taken and never answered. */
  volatile boolean hangs;

  /** Prefixes are reserved for and never come. */
  volatile boolean prefixesHang;

  /** Prompt tokens that its next statuses say are before a new session. */
  volatile long queued;

  /** Until the first token of a prompt. */
  volatile long computeNanos;

  /** Why the next sessions end with their last token. */
  volatile FinishReason lastReason = FinishReason.LENGTH;

  private final Server server;
  private final ManagedChannel router;
  private final StreamObserver<WorkerReport> reports;
  private final ScheduledExecutorService statuses =
      Executors.newSingleThreadScheduledExecutor(
          Thread.ofPlatform().name("fake-status").daemon().factory());
  private long sequence;

  FakeWorker(String id, Role role, int registryPort) throws IOException {
    this(id, role, registryPort, "f1", 0);
  }

  FakeWorker(String id, Role role, int registryPort, String fingerprint, int maxSessions)
      throws IOException {
    this(id, role, registryPort, fingerprint, maxSessions, false);
  }

  /**
   * @param prefixes moves cached prefixes
   */
  FakeWorker(
      String id, Role role, int registryPort, String fingerprint, int maxSessions, boolean prefixes)
      throws IOException {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .executor(Executors.newVirtualThreadPerTaskExecutor())
            .addService(new Decoder())
            .addService(new Prefiller())
            .addService(new Prefixer())
            .addService(new Controller())
            .build()
            .start();
    router = NettyChannelBuilder.forAddress("127.0.0.1", registryPort).usePlaintext().build();
    reports =
        WorkerRegistryGrpc.newStub(router)
            .register(
                new StreamObserver<>() {
                  @Override
                  public void onNext(RegistryReply value) {
                    reply.complete(value);
                  }

                  @Override
                  public void onError(Throwable cause) {
                    reply.completeExceptionally(cause);
                  }

                  @Override
                  public void onCompleted() {}
                });
    reports.onNext(
        WorkerReport.newBuilder()
            .setRegistration(
                Registration.newBuilder()
                    .setWorkerId(id)
                    .setRole(role)
                    .setGrpcAddress("127.0.0.1:" + server.getPort())
                    .setModel(
                        ModelIdentity.newBuilder()
                            .setName("letters")
                            .setFingerprint(fingerprint)
                            .setContextLength(CONTEXT)
                            .setVocabularySize(FakeTextModel.VOCABULARY)
                            .setDtype("float32"))
                    .setTensorParallel(1)
                    .setBlockTokens(16)
                    .setBlockCapacity(1000)
                    .setMaxSessions(maxSessions)
                    .setPrefixFetch(prefixes)
                    .setModelDirectory("letters"))
            .build());
    reply.join();
    statuses.scheduleAtFixedRate(this::sendStatus, 0, 100, TimeUnit.MILLISECONDS);
  }

  /** Each token tells so many joules more; 0 = none tells. */
  volatile double joulesEach;

  /** The process hangs: the sockets stay open, nothing is said any more. */
  void fallSilent() {
    statuses.shutdownNow();
    pace.drainPermits();
  }

  /** The process is gone. */
  void die() {
    statuses.shutdownNow();
    server.shutdownNow();
    router.shutdownNow();
  }

  @Override
  public void close() {
    die();
  }

  private synchronized void sendStatus() {
    sequence++;
    reports.onNext(
        WorkerReport.newBuilder()
            .setStatus(
                WorkerStatus.newBuilder()
                    .setSequence(sequence)
                    .setQueuedPromptTokens(queued)
                    .setLedger(BlockLedger.newBuilder().setFree(1000)))
            .build());
  }

  private SampledToken token(SessionSpec session, int index) {
    SampledToken.Builder token =
        SampledToken.newBuilder()
            .setIndex(index)
            .setTokenId('a' + (int) Math.floorMod(session.getSampling().getSeed() + index, 26L));
    if (index == session.getSampling().getMaxTokens() - 1) {
      token.setFinishReason(lastReason);
    }
    if (joulesEach > 0) {
      token.setJoules((float) (joulesEach * (index + 1)));
    }
    if (session.getSampling().hasLogprobs()) {
      token.setLogprobs(
          TokenLogprobs.newBuilder()
              .setLogprob(-0.5f)
              .addTop(
                  TokenLogprob.newBuilder()
                      .setTokenId(token.getTokenId())
                      .setLogprob(Float.NEGATIVE_INFINITY)));
    }
    if (index == 0 && session.getSampling().hasPromptLogprobs()) {
      token.setPromptLogprobs(promptLogprobs(session));
    }
    return token.build();
  }

  /** The likeliest in each place is the token before, then '~'; the prompt's own are third. */
  private static PromptLogprobs promptLogprobs(SessionSpec session) {
    int tops = session.getSampling().getPromptLogprobs();
    PromptLogprobs.Builder scores = PromptLogprobs.newBuilder().setTops(tops);
    for (int i = 1; i < session.getPromptCount(); i++) {
      scores.addLogprobs(-i).addRanks(3);
      for (int rank = 0; rank < tops; rank++) {
        scores.addTopTokenIds(rank == 0 ? session.getPrompt(i - 1) : '~').addTopLogprobs(-rank);
      }
    }
    return scores.build();
  }

  private final class Decoder extends DecodeWorkerGrpc.DecodeWorkerImplBase {
    @Override
    public void decode(DecodeRequest request, StreamObserver<DecodeEvent> responses) {
      var events = (ServerCallStreamObserver<DecodeEvent>) responses;
      SessionSpec session = request.getSession();
      events.setOnCancelHandler(() -> cancelled.add(session.getSessionId()));
      sessions.add(session);
      Failure refusal = refusals.poll();
      if (refusal != null) {
        events.onNext(DecodeEvent.newBuilder().setFailure(refusal).build());
        events.onCompleted();
        return;
      }
      if (request.getAwaitHandoff()) {
        events.onNext(
            DecodeEvent.newBuilder()
                .setReserved(HandoffTicket.newBuilder().setAddress("127.0.0.1:1"))
                .build());
      }
      Thread.startVirtualThread(
          () ->
              generate(
                  session,
                  session.getGeneratedCount() + (request.getAwaitHandoff() ? 1 : 0),
                  events));
    }

    private void generate(
        SessionSpec session, int from, ServerCallStreamObserver<DecodeEvent> events) {
      int tokens = session.getSampling().getMaxTokens();
      for (int i = from; i < tokens && !events.isCancelled(); i++) {
        pace.acquireUninterruptibly();
        events.onNext(DecodeEvent.newBuilder().setToken(token(session, i)).build());
      }
      events.onNext(
          DecodeEvent.newBuilder()
              .setFinished(
                  SessionFinished.newBuilder().setReason(lastReason).setGeneratedTokens(tokens))
              .build());
      events.onCompleted();
    }
  }

  private final class Prefiller extends PrefillWorkerGrpc.PrefillWorkerImplBase {
    @Override
    public void prefill(PrefillRequest request, StreamObserver<PrefillEvent> responses) {
      var events = (ServerCallStreamObserver<PrefillEvent>) responses;
      SessionSpec session = request.getSession();
      events.setOnCancelHandler(() -> cancelled.add(session.getSessionId()));
      sessions.add(session);
      Failure refusal = refusals.poll();
      if (refusal != null) {
        events.onNext(PrefillEvent.newBuilder().setFailure(refusal).build());
        events.onCompleted();
        return;
      }
      if (hangs) {
        return;
      }
      LockSupport.parkNanos(computeNanos);
      SampledToken first = token(session, session.getGeneratedCount());
      events.onNext(PrefillEvent.newBuilder().setFirstToken(first).build());
      if (first.getFinishReason() == FinishReason.FINISH_REASON_UNSPECIFIED) {
        events.onNext(
            PrefillEvent.newBuilder().setHandedOff(HandedOff.newBuilder().setSlabs(1)).build());
      }
      events.onCompleted();
    }
  }

  private final class Controller extends WorkerControlGrpc.WorkerControlImplBase {

    @Override
    public void drain(DrainRequest request, StreamObserver<DrainProgress> observer) {
      drains.add(request);
    }
  }

  private final class Prefixer extends PrefixWorkerGrpc.PrefixWorkerImplBase {
    @Override
    public void fetchPrefix(FetchPrefixRequest request, StreamObserver<FetchPrefixEvent> events) {
      ((ServerCallStreamObserver<?>) events).setOnCancelHandler(() -> {});
      SessionSpec prefix = request.getSession();
      fetches.add(prefix);
      events.onNext(
          FetchPrefixEvent.newBuilder()
              .setReserved(HandoffTicket.newBuilder().setAddress("127.0.0.1:1"))
              .build());
      if (!prefixesHang) {
        events.onNext(
            FetchPrefixEvent.newBuilder()
                .setHeld(PrefixHeld.newBuilder().setTokens(prefix.getPromptCount()))
                .build());
        events.onCompleted();
      }
    }

    @Override
    public void exportPrefix(
        ExportPrefixRequest request, StreamObserver<ExportPrefixEvent> events) {
      ((ServerCallStreamObserver<?>) events).setOnCancelHandler(() -> {});
      exports.add(request.getSession());
      if (!prefixesHang) {
        events.onNext(
            ExportPrefixEvent.newBuilder()
                .setHandedOff(HandedOff.newBuilder().setSlabs(1))
                .build());
        events.onCompleted();
      }
    }
  }
}

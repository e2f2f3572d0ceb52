package dev.baton.bench.split;

import dev.baton.bench.MeasuredProcess;
import dev.baton.bench.Shape;
import dev.baton.bench.split.SplitReport.Length;
import dev.baton.bench.split.SplitReport.Round;
import dev.baton.bench.split.SplitReport.Wait;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.worker.wire.HostPort;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;

/**
 * {@code baton bench split}: two workers, each a process, and this process in the router's place.
 * In turns a session runs on the first worker alone, and split: prompt on the first, KV handed
 * over, tokens from the second, which is idle until then. So both kinds have the same processors
 * for the prompt, and what differs is the price of the split.
 */
public final class SplitBench {

  private static final long SEED = 20_261_121;

  /** Short sessions of each kind that do not count: until the compiler has seen all of it. */
  private static final int WARM_UP = 8;

  private static final int WARM_UP_TOKENS = 64;

  /** The second one is waited for; the last one ends the session. */
  private static final int TOKENS = 3;

  private final SplittableRandom random = new SplittableRandom(SEED);
  private final int vocabulary;
  private final ManagedChannel prefill;
  private final ManagedChannel decode;
  private int sessions;

  private SplitBench(int vocabulary, ManagedChannel prefill, ManagedChannel decode) {
    this.vocabulary = vocabulary;
    this.prefill = prefill;
    this.decode = decode;
  }

  /**
   * Runs a plan; starts and ends the workers.
   *
   * @param progress hears what is being done; called on the calling thread
   * @throws IOException a worker did not start, or a session failed
   * @throws IllegalArgumentException for a plan that does not suit the shape
   */
  public static SplitReport run(SplitPlan plan, Consumer<String> progress) throws IOException {
    try (Shape shape = Shape.open(plan.shape())) {
      if (plan.context() > shape.config().contextLength()) {
        throw new IllegalArgumentException(
            "prompt: %d (expected: at most %d for %s)"
                .formatted(plan.longest(), shape.config().contextLength() - 64, shape.name()));
      }
      return run(plan, shape, progress);
    }
  }

  private static SplitReport run(SplitPlan plan, Shape shape, Consumer<String> progress)
      throws IOException {
    progress.accept("starting the workers");
    try (QuietRegistry registry = new QuietRegistry();
        MeasuredProcess first = worker(Role.PREFILL, registry, plan, shape);
        MeasuredProcess second = worker(Role.DECODE, registry, plan, shape)) {
      ManagedChannel prefill = channel(first.answer());
      ManagedChannel decode = channel(second.answer());
      try {
        return new SplitBench(shape.config().vocabularySize(), prefill, decode)
            .measure(plan, progress);
      } catch (StatusRuntimeException e) {
        throw new IOException("a session failed: " + e.getMessage(), e);
      } finally {
        prefill.shutdownNow();
        decode.shutdownNow();
      }
    }
  }

  /** The process is killed in the end, so it gets the shape as a directory and makes none. */
  private static MeasuredProcess worker(
      Role role, QuietRegistry registry, SplitPlan plan, Shape shape) throws IOException {
    return new MeasuredProcess(
        role.name(),
        SplitPeer.class,
        "512m",
        List.of(
            role.name(),
            registry.address(),
            shape.directory().toString(),
            Integer.toString(Math.max(plan.context(), WARM_UP_TOKENS + 64))));
  }

  private static ManagedChannel channel(String address) {
    HostPort worker = HostPort.parse(address);
    return NettyChannelBuilder.forAddress(worker.host(), worker.port())
        .usePlaintext()
        .directExecutor()
        .build();
  }

  private SplitReport measure(SplitPlan plan, Consumer<String> progress) throws IOException {
    progress.accept("warming up");
    for (int i = 0; i < WARM_UP; i++) {
      round(WARM_UP_TOKENS, i);
    }
    List<Length> lengths = new ArrayList<>();
    for (int tokens : plan.prompts()) {
      List<Round> rounds = new ArrayList<>();
      for (int i = -1; i < plan.rounds(); i++) {
        progress.accept("%d tokens, round %d of %d".formatted(tokens, i + 1, plan.rounds()));
        Round round = round(tokens, i);
        if (i >= 0) {
          rounds.add(round);
        }
      }
      lengths.add(new Length(tokens, rounds));
    }
    return new SplitReport(plan, lengths);
  }

  /** Both kinds; which comes first changes, so that neither gains by it. */
  private Round round(int tokens, int number) throws IOException {
    if (number % 2 == 0) {
      Wait aggregated = aggregated(session(tokens));
      return new Round(aggregated, split(session(tokens)));
    }
    Wait split = split(session(tokens));
    return new Round(aggregated(session(tokens)), split);
  }

  private Wait aggregated(SessionSpec session) throws IOException {
    long begun = System.nanoTime();
    Iterator<DecodeEvent> events =
        DecodeWorkerGrpc.newBlockingStub(prefill)
            .decode(DecodeRequest.newBuilder().setSession(session).build());
    requireToken(next(events), 0);
    long first = System.nanoTime();
    requireToken(next(events), 1);
    long second = System.nanoTime();
    drain(events);
    return wait(begun, first, second);
  }

  private Wait split(SessionSpec session) throws IOException {
    long begun = System.nanoTime();
    Iterator<DecodeEvent> decoding =
        DecodeWorkerGrpc.newBlockingStub(decode)
            .decode(DecodeRequest.newBuilder().setSession(session).setAwaitHandoff(true).build());
    DecodeEvent reserved = next(decoding);
    if (!reserved.hasReserved()) {
      throw new IOException("event: %s (expected: reserved)".formatted(reserved));
    }
    Iterator<PrefillEvent> prefilling =
        PrefillWorkerGrpc.newBlockingStub(prefill)
            .prefill(
                PrefillRequest.newBuilder()
                    .setSession(session)
                    .setTicket(reserved.getReserved())
                    .build());
    PrefillEvent token = prefilling.next();
    long first = System.nanoTime();
    if (!token.hasFirstToken()) {
      throw new IOException("event: %s (expected: the first token)".formatted(token));
    }
    DecodeEvent event = next(decoding);
    if (event.hasKvSettled()) {
      if (event.getKvSettled().getRecomputed()) {
        throw new IOException("the hand-off failed (expected: KV that arrives)");
      }
      event = next(decoding);
    }
    requireToken(event, 1);
    long second = System.nanoTime();
    drain(decoding);
    drain(prefilling);
    return wait(begun, first, second);
  }

  private static DecodeEvent next(Iterator<DecodeEvent> events) throws IOException {
    if (!events.hasNext()) {
      throw new IOException("a stream ended (expected: an event)");
    }
    return events.next();
  }

  private static void requireToken(DecodeEvent event, int index) throws IOException {
    if (!event.hasToken() || event.getToken().getIndex() != index) {
      throw new IOException("event: %s (expected: token %d)".formatted(event, index));
    }
  }

  /** So that nothing of a session is left when the next one is timed. */
  private static void drain(Iterator<?> events) {
    while (events.hasNext()) {
      events.next();
    }
  }

  private static Wait wait(long begun, long first, long second) {
    return new Wait((first - begun) / 1e9, (second - first) / 1e9);
  }

  /** A prompt that nobody has cached. */
  private SessionSpec session(int tokens) {
    SessionSpec.Builder session =
        SessionSpec.newBuilder()
            .setSessionId("bench-" + sessions++)
            .setEpoch(1)
            .setSampling(
                SamplingParameters.newBuilder()
                    .setMaxTokens(TOKENS)
                    .setTemperature(0)
                    .setIgnoreEos(true)
                    .setSeed(1));
    for (int i = 0; i < tokens; i++) {
      session.addPrompt(random.nextInt(vocabulary));
    }
    return session.build();
  }
}

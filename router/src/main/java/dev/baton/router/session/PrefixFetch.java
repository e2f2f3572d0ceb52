package dev.baton.router.session;

import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.ExportPrefixEvent;
import dev.baton.proto.worker.v1.ExportPrefixRequest;
import dev.baton.proto.worker.v1.FetchPrefixEvent;
import dev.baton.proto.worker.v1.FetchPrefixRequest;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefixWorkerGrpc;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.router.registry.Worker;
import io.grpc.stub.ClientCallStreamObserver;
import java.util.Arrays;
import java.util.concurrent.Executor;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A cached prefix on its way from one worker to another, before an attempt begins there: the target
 * reserves, the source exports what it still has. Confined to its session's serial context.
 * Whatever goes wrong only means that the prefix is computed.
 */
final class PrefixFetch {

  /**
   * How it went.
   *
   * @param tokens that the target has now and had to fetch; 0 = it computes them
   * @param words for people
   */
  record Result(int tokens, String words) {}

  private static final int PREFETCH = 4;

  private final SessionOrder order;
  private final int epoch;
  private final Worker target;
  private final int[] context;
  private final PrefixPlanner planner;
  private final Executor serial;
  private final Consumer<Result> onEnd;
  private PrefixPlanner.Source source;
  private int tries;
  private boolean over;
  private @Nullable ClientCallStreamObserver<?> fetching;
  private @Nullable ClientCallStreamObserver<?> exporting;

  /**
   * @param context of the attempt
   * @param serial the session's serial context
   * @param onEnd hears once, in that context, how it went; not after {@link #cancel}
   */
  PrefixFetch(
      SessionOrder order,
      int epoch,
      Worker target,
      PrefixPlanner.Source source,
      int[] context,
      PrefixPlanner planner,
      Executor serial,
      Consumer<Result> onEnd) {
    this.order = order;
    this.epoch = epoch;
    this.target = target;
    this.source = source;
    this.context = context;
    this.planner = planner;
    this.serial = serial;
    this.onEnd = onEnd;
  }

  /** Milliseconds after which computing would have been cheaper. */
  long patienceMillis() {
    return Math.max(50, (long) (1000 * source.gainSeconds()));
  }

  void start() {
    int round = ++tries;
    int[] prefix = Arrays.copyOf(context, source.tokens());
    PrefixWorkerGrpc.newStub(target.channel())
        .fetchPrefix(
            FetchPrefixRequest.newBuilder().setSession(spec(prefix)).build(),
            new WorkerCall<FetchPrefixRequest, FetchPrefixEvent>(
                target.id(),
                PREFETCH,
                call -> fetching = call,
                event -> inRound(round, () -> fetched(event, prefix)),
                cause -> inRound(round, () -> end(reason(cause)))));
  }

  private void fetched(FetchPrefixEvent event, int[] prefix) {
    switch (event.getEventCase()) {
      case RESERVED -> export(event.getReserved(), prefix);
      case HELD -> {
        planner.holds(target.id(), order.cacheSalt(), prefix);
        // The source's last word, how long it took, is still to come.
        exporting = null;
        end(
            new Result(
                prefix.length, "%d tokens of %s".formatted(prefix.length, source.worker().id())));
      }
      case FAILURE -> end(event.getFailure().getMessage());
      case EVENT_NOT_SET -> end("an event that this router does not know");
    }
  }

  private void export(HandoffTicket ticket, int[] prefix) {
    int round = tries;
    PrefixWorkerGrpc.newStub(source.worker().channel())
        .exportPrefix(
            ExportPrefixRequest.newBuilder().setSession(spec(prefix)).setTicket(ticket).build(),
            new WorkerCall<ExportPrefixRequest, ExportPrefixEvent>(
                source.worker().id(),
                PREFETCH,
                call -> exporting = call,
                event -> {
                  if (event.hasHandedOff()) {
                    planner.moved(
                        prefix.length - ticket.getFirstToken(),
                        event.getHandedOff().getNanos(),
                        false);
                  } else {
                    inRound(round, () -> notExported(event, ticket.getFirstToken(), prefix));
                  }
                },
                cause -> {
                  if (cause != null) {
                    inRound(round, () -> lost(cause, prefix));
                  }
                }));
  }

  private void notExported(ExportPrefixEvent event, int here, int[] prefix) {
    if (event.hasShortOf()) {
      cut(event.getShortOf().getTokens(), here, prefix);
    } else {
      lost(event.getFailure(), prefix);
    }
  }

  /** Whatever the source has, it cannot give: others shall not ask for it. */
  private void lost(Failure cause, int[] prefix) {
    planner.holdsOnly(source.worker().id(), order.cacheSalt(), prefix, 0);
    end(cause.getMessage());
  }

  /** The source has evicted the end of it: what it still has may be worth the way. */
  private void cut(int left, int here, int[] prefix) {
    planner.holdsOnly(source.worker().id(), order.cacheSalt(), prefix, left);
    int tokens =
        PrefixPlanner.wholeBlocks(
            left,
            source.worker().registration().getBlockTokens(),
            target.registration().getBlockTokens());
    double gain = planner.gain(target.id(), tokens - here);
    if (tries == 1 && tokens > here && tokens < prefix.length && gain > 0) {
      cancelCalls();
      source = new PrefixPlanner.Source(source.worker(), tokens, gain);
      start();
    } else {
      end("evicted meanwhile");
    }
  }

  private void inRound(int round, Runnable event) {
    serial.execute(
        () -> {
          if (!over && round == tries) {
            event.run();
          }
        });
  }

  /** Gives up and says why. */
  void end(String why) {
    end(new Result(0, why));
  }

  private void end(Result result) {
    if (!over) {
      cancel();
      onEnd.accept(result);
    }
  }

  /** Gives up without a word. */
  void cancel() {
    over = true;
    cancelCalls();
  }

  private void cancelCalls() {
    ClientCallStreamObserver<?> fetch = fetching;
    ClientCallStreamObserver<?> export = exporting;
    fetching = null;
    exporting = null;
    if (fetch != null) {
      fetch.cancel("the prefix is not waited for", null);
    }
    if (export != null) {
      export.cancel("the prefix is not waited for", null);
    }
  }

  private static String reason(@Nullable Failure cause) {
    return cause == null ? "the worker ended its stream" : cause.getMessage();
  }

  private SessionSpec spec(int[] prefix) {
    SessionSpec.Builder spec =
        SessionSpec.newBuilder()
            .setSessionId("%s/prefix-%d".formatted(order.sessionId(), tries))
            .setEpoch(epoch)
            .setSampling(
                SamplingParameters.newBuilder().setMaxTokens(1).setTemperature(0).setSeed(0))
            .setDeadlineMillis(2 * patienceMillis())
            .setCacheSalt(order.cacheSalt())
            .setPriority(order.priority());
    for (int token : prefix) {
      spec.addPrompt(token);
    }
    return spec.build();
  }
}

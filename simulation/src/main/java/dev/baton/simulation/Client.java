package dev.baton.simulation;

import dev.baton.engine.Sampling;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.router.failure.FailureException;
import dev.baton.router.session.Session;
import dev.baton.router.session.SessionListener;
import dev.baton.router.session.SessionOrder;
import dev.baton.simulation.cluster.Cluster;
import dev.baton.simulation.cluster.RouterHost;
import dev.baton.simulation.model.HashModel;
import dev.baton.simulation.model.PlainRun;
import dev.baton.worker.wire.SessionSpecs;
import java.util.Arrays;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A client of the router: sends one request, and holds every token against what the model generates
 * where nothing happens. Goes away, pauses or comes to a stop string when its request says so. When
 * the router dies it asks the next one for the same, from the beginning.
 */
final class Client implements SessionListener {

  /** Between two tries to reach a router. */
  private static final long RETRY_NANOS = 100_000_000;

  private static final long PAUSE_NANOS = 400_000_000;

  /** What a router that stood still, and clocks that differ, may add to a deadline. */
  private static final long LATE_NANOS = 2_000_000_000;

  private final Cluster cluster;
  private final RouterHost router;
  private final Scenario.Request request;
  private final int[] expected;
  private final Judge judge;
  private final long slackNanos;
  private final Consumer<String> lost;
  private @Nullable Session session;
  private int received;
  private int tries;

  /** Neither router nor session: asks again soon. */
  private boolean waits = true;

  private long asked;
  private boolean ended;
  private boolean gone;

  /** As with the text of production, what follows the stop string's token is not listened to. */
  private boolean stopped;

  private long endedAt;

  /**
   * @param slackNanos that faults may add to the deadline
   * @param lost hears the sessions that have lost their router
   */
  Client(
      Cluster cluster,
      Scenario.Request request,
      PlainRun plain,
      Judge judge,
      long slackNanos,
      Consumer<String> lost) {
    this.lost = lost;
    this.cluster = cluster;
    this.router = cluster.router();
    this.request = request;
    this.judge = judge;
    this.slackNanos = slackNanos;
    Sampling sampling =
        SessionSpecs.generation(
                SessionSpec.newBuilder()
                    .setSessionId(request.id())
                    .setEpoch(1)
                    .addAllPrompt(Arrays.stream(request.prompt()).boxed().toList())
                    .setSampling(request.sampling())
                    .build(),
                HashModel.MODEL)
            .sampling();
    this.expected = plain.tokens(request.prompt(), sampling);
  }

  /** Sets the request's arrival. */
  void schedule() {
    cluster.time().at(request.at(), this::send);
    router.onDeath(this::lostRouter);
  }

  private void lostRouter() {
    if (!waits && !ended) {
      waits = true;
      note("has lost its router");
      lost.accept(sessionId());
      session = null;
      received = 0;
      cluster.time().at(cluster.time().now() + RETRY_NANOS, this::send);
    }
  }

  /** Of the current try: a client that asks again gets another session. */
  private String sessionId() {
    return tries < 2 ? request.id() : request.id() + "." + tries;
  }

  private void send() {
    if (router.process().dead()) {
      cluster.time().at(cluster.time().now() + RETRY_NANOS, this::send);
      return;
    }
    int sent = ++tries;
    waits = false;
    asked = cluster.time().now();
    router.process().run(this::ask);
    cluster
        .time()
        .at(
            asked + request.deadlineMillis() * 1_020_000 + LATE_NANOS + slackNanos,
            () -> {
              if (!ended && !waits && tries == sent) {
                judge.violated(
                    "%s has not ended by its deadline of %d ms"
                        .formatted(request.id(), request.deadlineMillis()));
              }
            });
  }

  boolean ended() {
    return ended;
  }

  /** The client went away by itself, or has all that it wanted. */
  boolean gone() {
    return gone;
  }

  long endedAt() {
    return endedAt;
  }

  Scenario.Request request() {
    return request;
  }

  private void ask() {
    if (cluster.traced()) {
      note(
          "asks %d tokens after %d, %s, split above is the router's"
              .formatted(
                  request.sampling().getMaxTokens(),
                  request.prompt().length,
                  request.deadlineMillis() + " ms"));
    }
    try {
      Session opened =
          router
              .sessions()
              .open(
                  new SessionOrder(
                      sessionId(),
                      router.directory().model(""),
                      request.prompt(),
                      request.sampling(),
                      request.deadlineMillis(),
                      request.cacheSalt(),
                      request.priority()),
                  this);
      session = opened;
      opened.start();
      if (request.cancelAfter() != Long.MAX_VALUE) {
        router.process().after(request.cancelAfter(), this::leave);
      }
    } catch (FailureException e) {
      onFailure(e.failure());
    }
  }

  private void leave() {
    if (!ended && session != null) {
      note("goes away");
      gone = true;
      end();
      session.cancel();
    }
  }

  @Override
  public void onToken(SampledToken token) {
    if (stopped) {
      return;
    }
    if (ended) {
      judge.violated("%s: a token after the end".formatted(request.id()));
    } else if (token.getIndex() != received) {
      judge.violated(
          "%s: token %d (expected: %d next)".formatted(request.id(), token.getIndex(), received));
    } else if (received >= expected.length) {
      judge.violated(
          "%s: token %d (expected: the end after %d)"
              .formatted(request.id(), received, expected.length));
    } else if (token.getTokenId() != expected[received]) {
      judge.violated(
          "%s: token %d is %d (expected: %d)"
              .formatted(request.id(), received, token.getTokenId(), expected[received]));
    }
    received++;
    if (received == request.stopAfter() && session != null && !ended) {
      note("has come to a stop string");
      stopped = true;
      gone = true;
      end();
      session.stop();
      return;
    }
    if (received == request.pauseAfter() && session != null) {
      Session paused = session;
      paused.pause();
      router.process().after(PAUSE_NANOS, paused::resume);
    }
  }

  @Override
  public void onFinished(FinishReason reason) {
    if (stopped) {
      return;
    }
    if (ended) {
      judge.violated("%s: a second end".formatted(request.id()));
    } else if (received != expected.length) {
      judge.violated(
          "%s: ends after %d tokens (expected: %d)"
              .formatted(request.id(), received, expected.length));
    }
    note("finished: " + reason);
    end();
  }

  @Override
  public void onFailure(Failure failure) {
    if (stopped) {
      return;
    }
    if (ended) {
      judge.violated("%s: a second end".formatted(request.id()));
    }
    note("failed: " + failure.getCode() + " " + failure.getMessage());
    judge.failed(request, asked, failure, cluster.time().now());
    end();
  }

  private void end() {
    ended = true;
    endedAt = cluster.time().now();
  }

  private void note(String what) {
    cluster.note(Cluster.ROUTER, request.id() + " " + what);
  }
}

package dev.baton.router.session;

import dev.baton.peer.ContextHash;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.proto.inference.v1.FinishReason;
import dev.baton.proto.router.v1.SessionView;
import dev.baton.proto.worker.v1.DecodeEvent;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.DecodeWorkerGrpc;
import dev.baton.proto.worker.v1.HandOverReply;
import dev.baton.proto.worker.v1.HandOverRequest;
import dev.baton.proto.worker.v1.HandedOff;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.proto.worker.v1.PrefillEvent;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.PrefillWorkerGrpc;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.registry.Pools;
import dev.baton.router.registry.Worker;
import io.grpc.Context;
import io.grpc.SynchronizationContext;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import org.slf4j.event.Level;

/**
 * A running session: does what its {@link SessionMachine} decides, over gRPC, and tells its {@link
 * SessionListener}. All of it happens in one serial context on whatever thread brings the event, so
 * nothing here may block. The public methods may be called from any thread, also by the listener.
 *
 * <p>Long, because every effect of the machine is done here and shares the attempt and its calls.
 *
 * <p>Back-pressure: a decode worker may be {@link #PREFETCH} messages ahead of the listener; while
 * paused no more are asked for.
 */
public final class Session implements AdmissionQueue.Waiter {

  private static final Logger LOG = LoggerFactory.getLogger(Session.class);

  private static final int PREFETCH = 32;

  /** Prefill sends three messages at most. */
  private static final int PREFILL_PREFETCH = 8;

  /**
   * From the last word of a prefill worker that was lost after its first token: time for the decode
   * worker to say that it goes on without. Its word waits for the end of the step that it runs.
   */
  private static final long GRACE_MILLIS = 1000;

  /** Least time for that, however long the prefill worker was silent before it counted as lost. */
  private static final long LEAST_GRACE_MILLIS = 300;

  /** Until a session looks again whether the retry budget has room. */
  private static final long BUDGET_MILLIS = 50;

  /** Before the second attempt after wasted ones; twice as long before each later one. */
  private static final long PAUSE_MILLIS = 100;

  /** Share of a session's time after which a worker's faster clock may have come to its end. */
  private static final double NEAR_DEADLINE = 0.95;

  /**
   * Tokens that a session may generate while its KV is copied; with more it stands still earlier.
   * The most that a manifest names.
   */
  private static final int MOVE_ROOM = 256;

  /** Until a session that could not be moved tries again. */
  private static final long MOVE_AGAIN_MILLIS = 200;

  /** Time for the calls of a finished session to end by themselves. */
  private static final long CALL_END_MILLIS = 2000;

  private final Sessions sessions;
  private final SessionOrder order;
  private final SessionListener listener;
  private final long sequence;
  private final SessionMachine machine = new SessionMachine(this::deliveredHash);
  private final TokenLog tokens = new TokenLog();
  private final EnergyTally energy = new EnergyTally();
  private final long startNanos;
  private final SynchronizationContext context;
  // Written in the serial context alone; read by whoever watches.
  private volatile @Nullable Attempt attempt;
  private volatile int delivered;

  /** The attempt that the current one is being moved to. */
  private @Nullable Attempt target;

  /** The worker that the session has its turn to leave. */
  private @Nullable Worker leaving;

  /** The attempt that was moved, until the first token after it. */
  private @Nullable Attempt moved;

  /** What the current attempt waits for before it begins. */
  private @Nullable PrefixFetch fetch;

  /** Nothing waited before the current attempt's context when it was placed. */
  private boolean computeAlone;

  private long computeNanos;
  private @Nullable Attempt computedAttempt;
  private @Nullable Future<?> deadline;
  private @Nullable Future<?> queueTimeout;
  private @Nullable Failure loss;
  private boolean paused;
  private boolean quiet;
  private long firstTokenNanos;
  private long lastTokenNanos;

  Session(Sessions sessions, SessionOrder order, SessionListener listener, long sequence) {
    this.sequence = sequence;
    this.sessions = sessions;
    this.startNanos = sessions.nanos();
    this.order = order;
    this.listener = listener;
    this.context = new SynchronizationContext((thread, fault) -> broke(fault));
  }

  /**
   * Runs the task after those before it. Not in the gRPC context of whoever brings it: the calls of
   * a session are its own, and must not end with a worker's registration or a command that drains.
   */
  private void serially(Runnable task) {
    context.execute(() -> Context.ROOT.run(task));
  }

  /** To be called once. */
  public void start() {
    serially(
        () -> {
          deadline =
              sessions.after(
                  order.deadlineMillis(),
                  () ->
                      end(
                          ErrorCode.DEADLINE_EXCEEDED,
                          "deadline: passed after " + order.deadlineMillis() + " ms"));
          run(sessions.queue().busy() ? machine.startWaiting() : machine.start());
        });
  }

  public SessionOrder order() {
    return order;
  }

  /** The client is gone: everything is freed at once, the listener hears nothing more. */
  public void cancel() {
    serially(
        () -> {
          quiet = true;
          run(machine.end(Failures.of(ErrorCode.CANCELLED, "cancelled by the client")));
        });
  }

  /** The text has come to a stop string; the listener hears nothing more. */
  public void stop() {
    serially(
        () -> {
          quiet = true;
          run(machine.stop());
        });
  }

  /** What people may see of it; any thread. */
  SessionView view() {
    SessionView.Builder view =
        SessionView.newBuilder()
            .setSessionId(order.sessionId())
            .setModel(order.model().name())
            .setPromptTokens(order.prompt().length)
            .setGeneratedTokens(delivered)
            .setAgeMillis((sessions.nanos() - startNanos) / 1_000_000);
    Attempt now = attempt;
    if (now != null) {
      view.setEpoch(now.epoch).setDecodeWorker(now.decode.id());
      if (now.prefill != null) {
        view.setPrefillWorker(now.prefill.id());
      }
    }
    double joules = joules();
    if (joules >= 0) {
      view.setJoules(joules);
    }
    return view.build();
  }

  /** What its workers have drawn for it so far, joules; negative = not known. Any thread. */
  public double joules() {
    return energy.joules();
  }

  /** Fails the session from outside. */
  void end(ErrorCode code, String message) {
    serially(() -> run(machine.end(Failures.of(code, message))));
  }

  /** The listener can take no more for now. */
  public void pause() {
    serially(() -> paused = true);
  }

  public void resume() {
    serially(
        () -> {
          paused = false;
          repay();
        });
  }

  /** A turn of the admission queue. */
  @Override
  public void turn() {
    serially(
        () -> {
          if (machine.ended()) {
            sessions.queue().turnOver(this);
          } else {
            run(machine.capacity());
          }
        });
  }

  @Override
  public int priority() {
    return order.priority();
  }

  @Override
  public long sequence() {
    return sequence;
  }

  private void run(List<SessionEffect> effects) {
    for (SessionEffect effect : effects) {
      perform(effect);
    }
    Worker left = leaving;
    if (left != null && !machine.moving()) {
      leaving = null;
      sessions.moves().over(left);
      Attempt current = attempt;
      if (!machine.ended() && current != null && current.decode == left) {
        sessions.after(MOVE_AGAIN_MILLIS, () -> leave(left));
      }
    }
  }

  private void perform(SessionEffect effect) {
    switch (effect) {
      case SessionEffect.Place place -> {
        long pause = pauseMillis(machine.wastedInARow());
        if (pause > 0) {
          sessions.after(pause, () -> serially(() -> placeWithinBudget(place)));
        } else {
          placeWithinBudget(place);
        }
      }
      case SessionEffect.PlaceMove(int epoch, var avoided) -> placeMove(epoch, avoided);
      case SessionEffect.HandOver(int epoch, HandoffTicket ticket) -> handOver(epoch, ticket);
      case SessionEffect.CloseMove(int epoch) -> {
        ofEpoch(epoch).cancel();
        target = null;
      }
      case SessionEffect.TakeOver(int epoch) -> {
        Attempt left = Objects.requireNonNull(attempt);
        attempt = ofEpoch(epoch);
        target = null;
        moved = left;
        sessions.after(CALL_END_MILLIS, () -> serially(left::cancel));
      }
      case SessionEffect.AwaitCapacity() -> await();
      case SessionEffect.Admitted() -> leaveQueue();
      case SessionEffect.OpenDecode(int epoch, boolean awaitHandoff) ->
          openDecode(epoch, awaitHandoff);
      case SessionEffect.OpenPrefill(int epoch, HandoffTicket ticket) -> openPrefill(epoch, ticket);
      case SessionEffect.CloseCalls(int epoch) -> ofEpoch(epoch).cancel();
      case SessionEffect.LetCallsEnd(int epoch) -> {
        Attempt ending = ofEpoch(epoch);
        ending.repay();
        sessions.after(CALL_END_MILLIS, () -> serially(ending::cancel));
      }
      case SessionEffect.StartGrace(int epoch) ->
          sessions.after(
              graceMillis(Objects.requireNonNull(ofEpoch(epoch).prefill)),
              () -> serially(() -> run(machine.graceOver(epoch))));
      case SessionEffect.Deliver(SampledToken token) -> deliver(token);
      case SessionEffect.Finish(FinishReason reason) -> {
        ended(reason, null);
        if (!quiet) {
          listener.onFinished(reason);
        }
      }
      case SessionEffect.Fail(Failure cause) -> {
        Failure failure = ofDeadline(cause);
        ended(null, failure);
        if (!quiet) {
          listener.onFailure(failure);
        }
      }
    }
  }

  private long graceMillis(Worker prefill) {
    return Math.max(
        LEAST_GRACE_MILLIS, GRACE_MILLIS - sessions.directory().silence(prefill).toMillis());
  }

  /**
   * The first attempt after a wasted one goes elsewhere at once. More of them in a row mean that
   * nobody can be reached yet, although a worker may still look alive: together these pauses last
   * longer than that takes to be noticed.
   */
  private static long pauseMillis(int wastedInARow) {
    return wastedInARow < 2 ? 0 : PAUSE_MILLIS << (wastedInARow - 2);
  }

  private void placeWithinBudget(SessionEffect.Place place) {
    if (place.wasted() && !sessions.budget().withdraw()) {
      sessions.after(BUDGET_MILLIS, () -> serially(() -> placeWithinBudget(place)));
    } else {
      place(place);
    }
  }

  /**
   * A worker's clock may reach the deadline first, and what its peers say of it comes in any order.
   */
  private Failure ofDeadline(Failure failure) {
    long spent = (sessions.nanos() - startNanos) / 1_000_000;
    return failure.getCode() == ErrorCode.CANCELLED
            && !quiet
            && spent >= NEAR_DEADLINE * order.deadlineMillis()
        ? Failures.of(
            ErrorCode.DEADLINE_EXCEEDED, "deadline: passed after " + spent + " ms, on a worker")
        : failure;
  }

  private void place(SessionEffect.Place place) {
    int epoch = place.epoch();
    if (machine.ended()) {
      return;
    }
    Failure because = place.because();
    if (because != null) {
      loss = because;
      // A full worker refuses the queue's head again and again: that is no event of the session.
      boolean full = because.getCode() == ErrorCode.OVERLOADED;
      LOG.atLevel(full ? Level.DEBUG : Level.INFO)
          .log(
              "session {} goes on after {} tokens as epoch {}: {}",
              order.sessionId(),
              tokens.size(),
              epoch,
              because.getMessage());
    }
    Pools pools = sessions.directory().pools(order.model());
    PrefixHints hints = prefixes().hints(pools, order.cacheSalt(), context());
    answer(
        epoch,
        sessions.placer().place(pools, contextTokens(), place.avoided(), place.whole(), hints),
        hints,
        because);
  }

  private void answer(
      int epoch, Placer.Placement placement, PrefixHints hints, @Nullable Failure because) {
    switch (placement) {
      case Placer.Placement.Placed(Worker decode, var prefill) -> {
        Worker computing = prefill == null ? decode : prefill;
        computeAlone = computing.queuedPromptTokens() == 0;
        int context = contextTokens();
        Attempt placed =
            Attempt.computing(epoch, decode, prefill, context, context - hints.held(computing));
        attempt = placed;
        PrefixPlanner.Source prefix =
            prefixes()
                .choose(
                    sessions.directory().pools(order.model()),
                    computing,
                    order.cacheSalt(),
                    context());
        if (prefix == null) {
          begin(placed);
        } else {
          fetch(placed, computing, prefix);
        }
      }
      case Placer.Placement.Unplaceable(Failure reason) ->
          run(machine.unplaceable(epoch, reason, because));
    }
  }

  /** Its last token comes with the KV: it has none yet. */
  private void placeMove(int epoch, Set<String> avoided) {
    Set<String> others = new HashSet<>(avoided);
    others.add(Objects.requireNonNull(attempt).decode.id());
    switch (sessions
        .placer()
        .placeMove(sessions.directory().pools(order.model()), contextTokens(), others)) {
      case Placer.Placement.Placed(Worker decode, var _) -> {
        target = Attempt.moving(epoch, decode, contextTokens() - 1);
        run(machine.placed(epoch, decode.id(), null));
      }
      case Placer.Placement.Unplaceable(Failure reason) ->
          run(machine.unplaceable(epoch, reason, null));
    }
  }

  private void begin(Attempt placed) {
    computeNanos = sessions.nanos();
    run(
        machine.placed(
            placed.epoch, placed.decode.id(), placed.prefill == null ? null : placed.prefill.id()));
  }

  /**
   * Has the beginning of the context come from another worker first, as long as that is cheaper.
   */
  private void fetch(Attempt placed, Worker computing, PrefixPlanner.Source prefix) {
    long begun = sessions.nanos();
    PrefixFetch asked =
        new PrefixFetch(
            order,
            placed.epoch,
            computing,
            prefix,
            context(),
            prefixes(),
            this::serially,
            result -> {
              fetch = null;
              sessions
                  .observer()
                  .prefixFetched(order.model().name(), result.tokens(), sessions.nanos() - begun);
              LOG.info(
                  "session {} prefix for {} from {} in {} ms: {}",
                  order.sessionId(),
                  computing.id(),
                  prefix.worker().id(),
                  (sessions.nanos() - begun) / 1_000_000,
                  result.words());
              begin(placed);
            });
    fetch = asked;
    sessions.after(asked.patienceMillis(), () -> serially(() -> asked.end("took too long")));
    asked.start();
  }

  private PrefixPlanner prefixes() {
    return sessions.prefixes(order.model().name());
  }

  /** Prompt and tokens so far. */
  private int[] context() {
    int[] generated = tokens.ids();
    int[] all = Arrays.copyOf(order.prompt(), order.prompt().length + generated.length);
    System.arraycopy(generated, 0, all, order.prompt().length, generated.length);
    return all;
  }

  /** The attempt's first token: what its context took, and who has its KV now. */
  private void computed(Attempt done, SampledToken token) {
    Worker computing = done.prefill == null ? done.decode : done.prefill;
    int uncached = order.prompt().length - token.getCachedTokens();
    if (computeAlone && token.getIndex() == 0 && uncached >= PrefixIndex.CHUNK) {
      prefixes().computed(computing.id(), uncached, sessions.nanos() - computeNanos);
    }
    prefixes().holds(computing.id(), order.cacheSalt(), context());
  }

  /** Tokens to be computed before the next one can be sampled. */
  private int contextTokens() {
    return order.prompt().length + tokens.size();
  }

  private void await() {
    if (!sessions.queue().park(this, !tokens.isEmpty())) {
      run(
          machine.end(
              Failures.retryable(
                  ErrorCode.OVERLOADED,
                  "admission queue: full (expected: fewer requests at a time)",
                  sessions.retryAfterMillis())));
    } else if (queueTimeout == null) {
      queueTimeout =
          sessions.after(
              sessions.queueTimeoutMillis(),
              () -> serially(() -> run(machine.end(waitedInVain()))));
    }
  }

  private Failure waitedInVain() {
    String waited = "waited " + sessions.queueTimeoutMillis() + " ms for a decode worker";
    return loss == null || loss.getCode() == ErrorCode.OVERLOADED
        ? Failures.retryable(
            ErrorCode.OVERLOADED, "admission queue: " + waited, sessions.retryAfterMillis())
        : Failures.of(loss.getCode(), loss.getMessage() + "; " + waited + " to go on");
  }

  private void leaveQueue() {
    cancel(queueTimeout);
    queueTimeout = null;
    sessions.queue().turnOver(this);
  }

  private void openDecode(int epoch, boolean awaitHandoff) {
    Attempt opened = ofEpoch(epoch);
    DecodeWorkerGrpc.newStub(opened.decode.channel())
        .decode(
            DecodeRequest.newBuilder()
                .setSession(spec(epoch))
                .setAwaitHandoff(awaitHandoff)
                .setRoomTokens(opened == target ? MOVE_ROOM : 0)
                .build(),
            new WorkerCall<DecodeRequest, DecodeEvent>(
                opened.decode.id(),
                PREFETCH,
                opened::decodeOpened,
                event -> {
                  opened.decode.calledBack(sessions.nanos());
                  serially(
                      () -> {
                        opened.decodeTaken();
                        opened.handOff(HandoffOutcome.of(event), sessions.directory());
                        run(machine.decode(epoch, event));
                        repay();
                      });
                },
                cause ->
                    serially(
                        () -> {
                          opened.decodeEnded();
                          run(machine.decodeClosed(epoch, cause));
                        })));
  }

  private void openPrefill(int epoch, HandoffTicket ticket) {
    Attempt opened = ofEpoch(epoch);
    int[] given = context();
    int contextTokens = given.length;
    Worker worker = Objects.requireNonNull(opened.prefill);
    opened.handOffBegins(sessions.nanos());
    PrefillWorkerGrpc.newStub(worker.channel())
        .prefill(
            PrefillRequest.newBuilder().setSession(spec(epoch)).setTicket(ticket).build(),
            new WorkerCall<PrefillRequest, PrefillEvent>(
                worker.id(),
                PREFILL_PREFETCH,
                opened::prefillOpened,
                event -> {
                  worker.calledBack(sessions.nanos());
                  serially(
                      () -> {
                        if (event.hasHandedOff()) {
                          handedOff(event.getHandedOff(), contextTokens - ticket.getFirstToken());
                          prefixes().holds(opened.decode.id(), order.cacheSalt(), given);
                        }
                        opened.handOff(HandoffOutcome.of(event), sessions.directory());
                        run(machine.prefill(epoch, event));
                        repay();
                      });
                },
                cause ->
                    serially(
                        () -> {
                          opened.prefillEnded();
                          run(machine.prefillClosed(epoch, cause));
                        })));
  }

  private void handedOff(HandedOff done, int tokens) {
    sessions.observer().handedOff(order.model().name(), done);
    prefixes().moved(tokens, done.getNanos(), true);
  }

  /** The worker is to be left, when it is the session's turn. */
  void leave(Worker worker) {
    serially(
        () -> {
          Attempt current = attempt;
          if (current != null && current.decode == worker && !machine.ended()) {
            sessions.moves().ask(worker, this);
          }
        });
  }

  /**
   * The session's turn to leave a worker: moves, or goes on elsewhere from its tokens, if there is
   * another worker for it. {@link Moves#over} follows.
   */
  void leaveNow(Worker worker) {
    serially(
        () -> {
          leaving = worker;
          Attempt current = attempt;
          boolean there = current != null && current.decode == worker;
          run(there && placeable() ? machine.move() : List.of());
        });
  }

  private boolean placeable() {
    return sessions
            .placer()
            .place(
                sessions.directory().pools(order.model()),
                contextTokens(),
                Set.of(),
                false,
                PrefixHints.NONE)
        instanceof Placer.Placement.Placed;
  }

  private void handOver(int epoch, HandoffTicket ticket) {
    Attempt from = Objects.requireNonNull(attempt);
    DecodeWorkerGrpc.newStub(from.decode.channel())
        .handOver(
            HandOverRequest.newBuilder()
                .setSessionId(order.sessionId())
                .setEpoch(from.epoch)
                .setTicket(ticket)
                .setImporterEpoch(epoch)
                .setImporterTokens(ofEpoch(epoch).contextTokens)
                .build(),
            new WorkerReply<HandOverReply>(
                reply -> {
                  if (reply == null || !reply.hasHandedOff()) {
                    Failure failure =
                        reply == null || !reply.hasFailure()
                            ? Failures.of(
                                ErrorCode.WORKER_LOST,
                                "worker " + from.decode.id() + ": lost while it handed over")
                            : reply.getFailure();
                    serially(() -> handOverFailed(epoch, failure));
                  } else {
                    sessions.observer().moved(order.model().name(), reply.getHandedOff());
                  }
                }));
  }

  private void handOverFailed(int epoch, Failure failure) {
    LOG.info("session {}: move as epoch {}: {}", order.sessionId(), epoch, failure.getMessage());
    run(machine.handOverFailed(epoch, failure));
  }

  /** Hash of what a decode worker has the KV of when it goes on with the next token. */
  private long deliveredHash() {
    int[] all = context();
    return ContextHash.of(Arrays.copyOf(all, all.length - 1));
  }

  private SessionSpec spec(int epoch) {
    long spent = (sessions.nanos() - startNanos) / 1_000_000;
    SessionSpec.Builder spec =
        SessionSpec.newBuilder()
            .setSessionId(order.sessionId())
            .setEpoch(epoch)
            .setSampling(order.sampling())
            .setDeadlineMillis(Math.max(1, order.deadlineMillis() - spent))
            .setCacheSalt(order.cacheSalt())
            .setPriority(order.priority());
    for (int token : order.prompt()) {
      spec.addPrompt(token);
    }
    int[] generated = tokens.ids();
    int given = ofEpoch(epoch).contextTokens - order.prompt().length;
    for (int i = 0; i < given; i++) {
      spec.addGenerated(generated[i]);
    }
    return spec.build();
  }

  private void deliver(SampledToken token) {
    long now = sessions.nanos();
    Attempt current = attempt;
    if (current != null) {
      boolean first = current != computedAttempt;
      energy.add(current.epoch, first && current.prefill != null, token);
      if (first) {
        computedAttempt = current;
        computed(current, token);
      }
    }
    if (tokens.isEmpty()) {
      firstTokenNanos = now - startNanos;
      sessions.observer().token(order.model().name(), true, firstTokenNanos);
    } else {
      sessions.observer().token(order.model().name(), false, now - lastTokenNanos);
    }
    Attempt from = moved;
    if (from != null && current != null) {
      moved = null;
      LOG.info(
          "session {} moved from {} to {} after {} tokens as epoch {}: no token for {} ms",
          order.sessionId(),
          from.decode.id(),
          current.decode.id(),
          tokens.size(),
          current.epoch,
          (now - lastTokenNanos) / 1_000_000);
    }
    lastTokenNanos = now;
    tokens.add(token);
    delivered = tokens.size();
    if (!quiet) {
      listener.onToken(token);
    }
  }

  private void repay() {
    if (!paused && !machine.holding() && attempt != null) {
      attempt.repay();
    }
  }

  private void ended(@Nullable FinishReason reason, @Nullable Failure failure) {
    cancel(deadline);
    PrefixFetch waited = fetch;
    if (waited != null) {
      fetch = null;
      waited.cancel();
      Objects.requireNonNull(attempt).cancel();
    }
    leaveQueue();
    long nanos = sessions.nanos() - startNanos;
    sessions.ended(
        this,
        new SessionObserver.Outcome(
            reason,
            failure == null ? null : failure.getCode(),
            order.prompt().length,
            tokens.size(),
            nanos));
    Attempt last = attempt;
    if (last != null && reason != null && (last.prefill == null || tokens.size() > 1)) {
      // The last token's KV is not there, nor is it counted: only whole blocks are.
      prefixes().holds(last.decode.id(), order.cacheSalt(), context());
    }
    Worker prefill = last == null ? null : last.prefill;
    LOG.info(
        "session {} model {} {} prefill {} decode {} epoch {} prompt {} cached {} generated {}"
            + " ttft {} ms total {} ms{}: {}",
        order.sessionId(),
        order.model().name(),
        prefill == null ? "whole" : "split",
        prefill == null ? "-" : prefill.id(),
        last == null ? "-" : last.decode.id(),
        machine.epoch(),
        order.prompt().length,
        tokens.cachedPromptTokens(),
        tokens.size(),
        tokens.isEmpty() ? "-" : firstTokenNanos / 1_000_000,
        nanos / 1_000_000,
        joules() < 0 ? "" : String.format(Locale.ROOT, " %.2f J", joules()),
        failure == null ? String.valueOf(reason) : failure.getCode() + ", " + failure.getMessage());
  }

  /** A fault in here must not leave a client waiting. */
  private void broke(Throwable fault) {
    LOG.error("session {} broke", order.sessionId(), fault);
    Failure failure =
        fault instanceof FailureException known ? known.failure() : Failures.internal(fault);
    if (!machine.ended()) {
      run(machine.end(failure));
    }
  }

  private Attempt ofEpoch(int epoch) {
    Attempt next = target;
    if (next != null && next.epoch == epoch) {
      return next;
    }
    Attempt current = Objects.requireNonNull(attempt);
    if (current.epoch != epoch) {
      throw new IllegalStateException("epoch: " + epoch + " (expected: " + current.epoch + ")");
    }
    return current;
  }

  private static void cancel(@Nullable Future<?> timer) {
    if (timer != null) {
      timer.cancel(false);
    }
  }
}

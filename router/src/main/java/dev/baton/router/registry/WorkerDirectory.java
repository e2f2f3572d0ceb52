package dev.baton.router.registry;

import dev.baton.peer.FingerprintParts;
import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.worker.v1.GetStatusRequest;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.WorkerControlGrpc;
import dev.baton.proto.worker.v1.WorkerStatus;
import dev.baton.router.failure.FailureException;
import dev.baton.router.failure.Failures;
import dev.baton.router.text.TextModel;
import dev.baton.router.text.TextModelException;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.InstantSource;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The living workers and the models they serve. Thread-safe; only {@link #register} may block, for
 * as long as it takes to load a tokenizer.
 *
 * <p>Silence has two steps. After {@link #SUSPECT_INTERVALS} status intervals a worker is in no
 * pool any more, so it gets no new session. After {@link #LOST_INTERVALS} it is forgotten and its
 * sessions go on elsewhere: a pause of a busy machine shall not move sessions about, yet the client
 * of a frozen worker waits less than a second until its tokens are computed again.
 *
 * <p>A worker that reports and yet makes no progress ({@link ProgressWatch}) is fenced: in no pool,
 * and its sessions go on elsewhere, until it makes progress again.
 *
 * <p>A worker that reports and yet answers nothing over the connection from here ({@link
 * ReachWatch}) is cut off: its calls end and go on elsewhere, and it is in no pool until it answers
 * over a new connection.
 *
 * <p>A worker whose hand-offs come to nothing, one after another ({@link HandoffWatch}), is given
 * none for a while: its sessions are computed by the decode workers themselves.
 *
 * <p>A router that was stopped itself, by a busy machine or a debugger, finds everybody silent when
 * it goes on. So time in which nobody looked for silence does not count as such.
 *
 * <p>Workers of one name must agree on everything that decides tokens. A name whose workers are all
 * gone may come back with another model.
 */
public final class WorkerDirectory implements AutoCloseable {

  /** Time between two statuses of a worker. */
  public static final Duration STATUS_INTERVAL = Duration.ofMillis(200);

  static final int SUSPECT_INTERVALS = 3;
  static final int LOST_INTERVALS = 4;

  /**
   * So long a model whose last decode worker went without having drained is served all the same: it
   * may only have been held up by a busy machine, and one that died is started again.
   */
  static final Duration RETURN_TIME = Duration.ofSeconds(5);

  private static final Logger LOG = LoggerFactory.getLogger(WorkerDirectory.class);

  /** What the directory takes from the world outside. */
  public interface Surroundings {

    /**
     * The text side of the model that the workers have in this directory; throws
     * TextModelException. Stays the surroundings' own.
     */
    TextModel loadText(Path directory);

    /** Opens a channel to a worker's gRPC address, host:port. */
    ManagedChannel connect(String address);
  }

  private final Surroundings surroundings;
  private final InstantSource clock;
  private final LongSupplier nanoTime;
  private final ReentrantLock registering = new ReentrantLock();
  private final List<Runnable> capacityListeners = new CopyOnWriteArrayList<>();
  private final List<Consumer<Worker>> drainListeners = new CopyOnWriteArrayList<>();

  // Guarded by this.
  private final Map<String, Worker> workers = new TreeMap<>();
  private final Map<String, ServedModel> models = new HashMap<>();

  /** When a model's decode worker was lost last, by the model's name; for RETURN_TIME. */
  private final Map<String, Long> lostNanos = new HashMap<>();

  private long checkedNanos;

  /**
   * @param nanoTime a clock for silence, as {@link System#nanoTime}
   */
  public WorkerDirectory(Surroundings surroundings, InstantSource clock, LongSupplier nanoTime) {
    this.surroundings = surroundings;
    this.clock = clock;
    this.nanoTime = nanoTime;
    this.checkedNanos = nanoTime.getAsLong();
  }

  /** Has the listener run, on any thread, whenever a refused session may fit now. */
  public void onCapacity(Runnable listener) {
    capacityListeners.add(listener);
  }

  /** Has the listener run, on any thread, at every status of a worker that drains. */
  public void onDraining(Consumer<Worker> listener) {
    drainListeners.add(listener);
  }

  /** The worker of that id, if it is known now. */
  public synchronized Optional<Worker> worker(String id) {
    return Optional.ofNullable(workers.get(id));
  }

  /**
   * Takes a worker in. The same worker that registers again replaces itself.
   *
   * @throws FailureException when the worker cannot serve here; the message names what differs
   */
  public Worker register(Registration registration) {
    RegistrationRules.check(registration);
    Worker worker;
    registering.lock();
    try {
      requireFreeId(registration);
      ServedModel model = modelFor(registration);
      worker =
          new Worker(
              registration,
              model,
              surroundings.connect(registration.getGrpcAddress()),
              nanoTime.getAsLong(),
              this::capacityChanged);
      Worker replaced;
      synchronized (this) {
        models.put(model.name(), model);
        replaced = workers.put(worker.id(), worker);
      }
      if (replaced != null) {
        worker.inherit(replaced);
        LOG.info("worker {} registers again", worker.id());
        replaced.channel().shutdown();
      }
      // Connects now, so that the first session need not.
      worker.channel().getState(true);
      LOG.info(
          "worker {}: {}, model {}, tp {}, {} blocks of {} tokens",
          worker,
          registration.getRole(),
          model.name(),
          registration.getTensorParallel(),
          registration.getBlockCapacity(),
          registration.getBlockTokens());
    } finally {
      registering.unlock();
    }
    capacityChanged();
    return worker;
  }

  /**
   * Takes a worker's next status.
   *
   * @return false when the worker is not known any more and must register again
   */
  public boolean report(Worker worker, WorkerStatus status) {
    synchronized (this) {
      if (workers.get(worker.id()) != worker) {
        return false;
      }
    }
    if (worker.report(status, nanoTime.getAsLong())) {
      LOG.info("worker {} makes progress again and is taken back", worker);
    }
    int question = worker.question(nanoTime.getAsLong());
    if (question > 0) {
      ask(worker, question);
    }
    capacityChanged();
    if (status.getDraining()) {
      drainListeners.forEach(listener -> listener.accept(worker));
    }
    return true;
  }

  /** Has the worker answer over the connection that its calls take. */
  private void ask(Worker worker, int question) {
    WorkerControlGrpc.newStub(worker.channel())
        .getStatus(
            GetStatusRequest.getDefaultInstance(),
            new StreamObserver<>() {
              @Override
              public void onNext(WorkerStatus status) {
                over(true);
              }

              @Override
              public void onError(Throwable cause) {
                // Whatever else it says, a refusal as well, has come from the worker.
                Status.Code code = Status.fromThrowable(cause).getCode();
                over(code != Status.Code.UNAVAILABLE && code != Status.Code.CANCELLED);
              }

              @Override
              public void onCompleted() {
                // The answer has come.
              }

              private void over(boolean answered) {
                if (worker.answered(question, answered)) {
                  LOG.info("worker {} is in reach again", worker);
                  capacityChanged();
                }
              }
            });
  }

  /** The worker's stream has ended: it gets nothing new; calls that still run may end. */
  public void leave(Worker worker) {
    if (remove(worker)) {
      LOG.info("worker {} has left", worker);
      worker.channel().shutdown();
      capacityChanged();
    }
  }

  /**
   * Looks for workers that are silent, stuck or out of reach; to be called a few times in a status
   * interval.
   */
  public void checkSilence() {
    long now = nanoTime.getAsLong();
    long interval = STATUS_INTERVAL.toNanos();
    long paused = sinceLastCheck(now) - interval;
    for (Worker worker : workers()) {
      if (paused > 0) {
        worker.excuse(paused, now);
      }
      long silence = worker.silence(now, SUSPECT_INTERVALS * interval);
      if (silence > LOST_INTERVALS * interval && remove(worker)) {
        LOG.warn("worker {} is lost: silent for {} ms", worker, silence / 1_000_000);
        worker.channel().shutdownNow();
        capacityChanged();
      } else if (worker.stuckNanos(now) > 0) {
        LOG.warn(
            "worker {} is fenced: no progress for {} ms",
            worker,
            worker.stuckNanos(now) / 1_000_000);
        worker.fence(surroundings.connect(worker.registration().getGrpcAddress()));
        capacityChanged();
      } else if (worker.stalledNanos(now) > 0) {
        LOG.warn(
            "worker {} is cut off: it reports, but has not answered for {} ms",
            worker,
            worker.stalledNanos(now) / 1_000_000);
        worker.cut(surroundings.connect(worker.registration().getGrpcAddress()));
        capacityChanged();
      } else if (worker.resumeHandOffs(now)) {
        LOG.info("worker {} is given hand-offs again", worker);
        capacityChanged();
      }
    }
    if (forgetLost(now)) {
      // Who has waited for them is told that there are none.
      capacityChanged();
    }
  }

  private synchronized boolean forgetLost(long now) {
    return lostNanos.values().removeIf(lost -> now - lost > RETURN_TIME.toNanos());
  }

  /**
   * Takes note of how a hand-off went.
   *
   * @param begunNanos when it began
   */
  public void handOffOver(Worker prefill, Worker decode, boolean arrived, long begunNanos) {
    for (Worker worker : List.of(prefill, decode)) {
      if (arrived) {
        worker.handOffArrived();
        continue;
      }
      long pause = worker.handOffFailed(begunNanos, nanoTime.getAsLong());
      if (pause > 0) {
        LOG.warn(
            "worker {}: {} hand-offs in a row came to nothing: it is given none for {} s",
            worker,
            HandoffWatch.FAILURES,
            pause / 1_000_000_000);
      }
    }
  }

  /** How long the worker, known or forgotten, has said nothing. */
  public Duration silence(Worker worker) {
    return Duration.ofNanos(nanoTime.getAsLong() - worker.heardNanos());
  }

  private synchronized long sinceLastCheck(long now) {
    long since = now - checkedNanos;
    checkedNanos = now;
    return since;
  }

  /** All workers known now, by id. */
  public synchronized List<Worker> workers() {
    return List.copyOf(workers.values());
  }

  /** The models that at least one decode worker serves now, by name. */
  public synchronized List<ServedModel> models() {
    return workers.values().stream()
        .filter(Worker::decodes)
        .map(Worker::model)
        .distinct()
        .sorted(Comparator.comparing(ServedModel::name))
        .toList();
  }

  /**
   * The model of a name; an empty name means the only one.
   *
   * @throws FailureException MODEL_NOT_FOUND, or NO_WORKER when no worker serves it, nor has lately
   */
  public ServedModel model(String name) {
    List<ServedModel> served = models();
    if (name.isEmpty() && served.size() == 1) {
      return served.getFirst();
    }
    Optional<ServedModel> found = served.stream().filter(m -> m.name().equals(name)).findFirst();
    if (found.isPresent()) {
      return found.get();
    }
    ServedModel known;
    synchronized (this) {
      known =
          name.isEmpty() && models.size() == 1
              ? models.values().iterator().next()
              : models.get(name);
      if (known != null && lostNanos.containsKey(known.name())) {
        return known;
      }
    }
    if (known != null || served.isEmpty()) {
      throw new FailureException(
          Failures.retryable(
              ErrorCode.NO_WORKER,
              known != null
                  ? "model " + known.name() + ": no decode worker serves it now"
                  : "no decode worker has registered",
              1000));
    }
    List<String> names = served.stream().map(ServedModel::name).toList();
    throw new FailureException(
        Failures.of(
            ErrorCode.MODEL_NOT_FOUND,
            "model: \"" + shortened(name) + "\" (expected: one of " + names + ")",
            "model"));
  }

  /** The workers of the model that may be given sessions now. */
  public synchronized Pools pools(ServedModel model) {
    List<Worker> prefill = new ArrayList<>();
    List<Worker> decode = new ArrayList<>();
    boolean expectsDecode = lostNanos.containsKey(model.name());
    for (Worker worker : workers.values()) {
      if (!worker.model().identity().equals(model.identity())) {
        continue;
      }
      if (worker.open()) {
        (worker.decodes() ? decode : prefill).add(worker);
      } else {
        expectsDecode |= worker.decodes() && worker.expected();
      }
    }
    return new Pools(model, prefill, decode, expectsDecode);
  }

  @Override
  public void close() {
    List<Worker> left;
    synchronized (this) {
      left = List.copyOf(workers.values());
      workers.clear();
    }
    left.forEach(worker -> worker.channel().shutdownNow());
  }

  private synchronized boolean remove(Worker worker) {
    if (!workers.remove(worker.id(), worker)) {
      return false;
    }
    if (worker.decodes() && !worker.draining()) {
      lostNanos.put(worker.model().name(), nanoTime.getAsLong());
    }
    return true;
  }

  private void capacityChanged() {
    capacityListeners.forEach(Runnable::run);
  }

  /** Another process that calls itself like a living worker must not take its place. */
  private synchronized void requireFreeId(Registration registration) {
    Worker known = workers.get(registration.getWorkerId());
    if (known != null
        && known.open()
        && !known.registration().getGrpcAddress().equals(registration.getGrpcAddress())) {
      throw FailureException.invalid(
          "worker_id",
          "worker_id: %s is that of the worker at %s (expected: a unique name)"
              .formatted(known.id(), known.registration().getGrpcAddress()));
    }
  }

  /** The served model that the registration agrees with; loads its text side when it is new. */
  private ServedModel modelFor(Registration registration) {
    ModelIdentity identity = registration.getModel();
    ServedModel known;
    boolean alive;
    synchronized (this) {
      known = models.get(identity.getName());
      alive =
          workers.values().stream()
              .anyMatch(
                  worker ->
                      worker.model().name().equals(identity.getName())
                          && !worker.id().equals(registration.getWorkerId()));
    }
    if (known != null) {
      Optional<String> difference = difference(known.identity(), identity);
      if (difference.isEmpty()) {
        return known;
      }
      if (alive) {
        throw new FailureException(
            Failures.of(
                ErrorCode.FINGERPRINT_MISMATCH,
                "worker " + registration.getWorkerId() + ": " + difference.get()));
      }
      LOG.info("model {} comes back changed: {}", identity.getName(), difference.get());
    }
    TextModel text = loadText(registration);
    if (text.vocabularySize() > identity.getVocabularySize()) {
      LOG.warn(
          "model {}: the tokenizer knows {} tokens, the model {}",
          identity.getName(),
          text.vocabularySize(),
          identity.getVocabularySize());
    }
    return new ServedModel(identity, text, clock.instant().getEpochSecond());
  }

  private TextModel loadText(Registration registration) {
    try {
      return surroundings.loadText(Path.of(registration.getModelDirectory()));
    } catch (TextModelException | InvalidPathException e) {
      throw new FailureException(
          Failures.of(
              ErrorCode.INVALID_REQUEST,
              "model_directory: " + e.getMessage() + " (expected: a model directory here)",
              "model_directory"));
    }
  }

  /**
   * Names the first thing in which two identities of one name differ that must not: the dtype of KV
   * may, where the fingerprints are of workers that convert it.
   */
  private static Optional<String> difference(ModelIdentity served, ModelIdentity other) {
    if (!served.getFingerprint().equals(other.getFingerprint())) {
      return Optional.of(
          FingerprintParts.mismatch(
              "model.fingerprint",
              other.getFingerprint(),
              served.getFingerprint(),
              "as served here"));
    }
    return new Difference()
        .of("context_length", served.getContextLength(), other.getContextLength())
        .of("vocabulary_size", served.getVocabularySize(), other.getVocabularySize())
        .found();
  }

  private static final class Difference {
    private @Nullable String found;

    Difference of(String field, Object served, Object other) {
      if (found == null && !served.equals(other)) {
        found = "model." + field + ": " + other + " (expected: " + served + " as served here)";
      }
      return this;
    }

    Optional<String> found() {
      return Optional.ofNullable(found);
    }
  }

  private static String shortened(String name) {
    return name.length() <= 100 ? name : name.substring(0, 100) + "...";
  }
}

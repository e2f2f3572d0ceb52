package dev.baton.router.session;

import dev.baton.proto.errors.v1.ErrorCode;
import dev.baton.proto.errors.v1.Failure;
import dev.baton.router.failure.Failures;
import dev.baton.router.registry.Pools;
import dev.baton.router.registry.Worker;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the workers of an attempt: the cheapest decode worker and, when the prompt is long enough
 * to be split off, the cheapest prefill worker.
 *
 * <p>The cost of a prefill worker is the prompt tokens before the session and those of its own that
 * must be computed there ({@link ComputeCost}). The cost of a decode worker is the sessions beside
 * it, plus the prompt tokens that it has to compute between its decode steps, the session's own
 * included if it computes them; one whose free blocks do not hold the prompt comes last. Among
 * equals goes first who holds more of the context, then who was chosen less often. While the
 * prefill pool is empty, drained or dead, or has failed this very session, the decode workers
 * compute prompts themselves: slower for all, but served.
 */
final class Placer {

  /** Prompt tokens on a decode worker that slow it down about as much as one more session. */
  private static final double TOKENS_PER_SESSION = 256;

  private static final double NO_BLOCKS = 1e6;

  private static final long RETRY_MILLIS = 1000;

  /** Where an attempt runs, or why it cannot. */
  sealed interface Placement {

    /**
     * @param prefill null when the decode worker computes the prompt itself
     */
    record Placed(Worker decode, @Nullable Worker prefill) implements Placement {}

    record Unplaceable(Failure reason) implements Placement {}
  }

  private final int splitAbove;

  /**
   * @param splitAbove prompts of more tokens than this go through a prefill worker
   */
  Placer(int splitAbove) {
    this.splitAbove = splitAbove;
  }

  /** Chooses for a session that brings its KV along: a decode worker that can take it over. */
  Placement placeMove(Pools pools, int contextTokens, Set<String> avoided) {
    List<Worker> takers =
        pools.decode().stream()
            .filter(
                worker ->
                    worker.handsOff()
                        && takes(worker, avoided)
                        && contextTokens < capacityTokens(worker))
            .toList();
    return takers.isEmpty()
        ? unplaceable(
            ErrorCode.NO_WORKER,
            "model " + pools.model().name() + ": no decode worker to move a session to")
        : new Placement.Placed(cheapestDecode(takers, 0, 0, PrefixHints.NONE), null);
  }

  /**
   * Chooses for a session that has to be computed.
   *
   * @param whole without a prefill worker
   * @param hints of its context
   */
  Placement place(
      Pools pools, int promptTokens, Set<String> avoided, boolean whole, PrefixHints hints) {
    String model = pools.model().name();
    if (pools.decode().isEmpty()) {
      return pools.expectsDecode()
          ? unplaceable(
              ErrorCode.OVERLOADED,
              "model " + model + ": its decode workers have not reported lately")
          : unplaceable(ErrorCode.NO_WORKER, "model " + model + ": its decode pool is empty");
    }
    long largest =
        pools.decode().stream().mapToLong(Placer::capacityTokens).max().orElse(Long.MAX_VALUE);
    if (promptTokens >= largest) {
      return new Placement.Unplaceable(
          Failures.of(
              ErrorCode.CONTEXT_LENGTH_EXCEEDED,
              "prompt: "
                  + promptTokens
                  + " tokens (expected: < "
                  + largest
                  + ", what the KV blocks of the largest decode worker hold)"));
    }
    List<Worker> decode =
        pools.decode().stream()
            .filter(worker -> takes(worker, avoided) && promptTokens < capacityTokens(worker))
            .toList();
    if (decode.isEmpty()) {
      return unplaceable(
          ErrorCode.OVERLOADED, "model " + model + ": all decode workers are at their limit");
    }
    List<Worker> prefills =
        pools.prefill().stream()
            .filter(worker -> worker.handsOff() && !avoided.contains(worker.id()))
            .toList();
    List<Worker> takers = decode.stream().filter(Worker::handsOff).toList();
    if (whole || promptTokens <= splitAbove || prefills.isEmpty() || takers.isEmpty()) {
      return new Placement.Placed(cheapestDecode(decode, promptTokens, promptTokens, hints), null);
    }
    return prefills.stream()
        .filter(worker -> !worker.full())
        .min(
            Comparator.<Worker>comparingDouble(worker -> computeCost(worker, promptTokens, hints))
                .thenComparingLong(Worker::sessions)
                .thenComparingInt(worker -> -hints.held(worker))
                .thenComparingLong(Worker::timesCharged))
        .<Placement>map(
            prefill ->
                new Placement.Placed(cheapestDecode(takers, promptTokens, 0, hints), prefill))
        .orElseGet(
            () ->
                unplaceable(
                    ErrorCode.OVERLOADED,
                    "model " + model + ": all prefill workers are at their limit"));
  }

  private static boolean takes(Worker worker, Set<String> avoided) {
    return !avoided.contains(worker.id()) && !worker.full();
  }

  /**
   * @param computed tokens of the prompt that it computes itself
   */
  private static Worker cheapestDecode(
      List<Worker> decode, int promptTokens, int computed, PrefixHints hints) {
    return decode.stream()
        .min(
            Comparator.<Worker>comparingDouble(
                    worker -> decodeCost(worker, promptTokens, computed, hints))
                .thenComparingInt(worker -> -hints.held(worker))
                .thenComparingLong(Worker::timesCharged))
        .orElseThrow();
  }

  private static double computeCost(Worker worker, int contextTokens, PrefixHints hints) {
    return ComputeCost.tokens(
        worker.queuedPromptTokens(), contextTokens, hints.held(worker), hints.fetchSaves(worker));
  }

  private static double decodeCost(
      Worker worker, int promptTokens, int computed, PrefixHints hints) {
    int blockTokens = worker.registration().getBlockTokens();
    long blocks = promptTokens / blockTokens + 1L;
    return worker.sessions()
        + (computed == 0 ? worker.queuedPromptTokens() : computeCost(worker, computed, hints))
            / TOKENS_PER_SESSION
        + (blocks > worker.availableBlocks() ? NO_BLOCKS : 0);
  }

  private static long capacityTokens(Worker worker) {
    return worker.registration().getBlockCapacity() * worker.registration().getBlockTokens();
  }

  private static Placement unplaceable(ErrorCode code, String message) {
    return new Placement.Unplaceable(Failures.retryable(code, message, RETRY_MILLIS));
  }
}

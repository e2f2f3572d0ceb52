package dev.baton.router.session;

import dev.baton.router.registry.Pools;
import dev.baton.router.registry.Worker;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Decides whether a worker that is to compute a context gets its beginning from another worker's
 * cache instead. Moving must be cheaper than computing by what was measured: seconds per token of
 * hand-offs, and of prompts that were computed while nothing else waited at their worker. As long
 * as either is unknown, everything is computed. One per model; thread-safe.
 */
final class PrefixPlanner {

  /**
   * Where a prefix comes from.
   *
   * @param tokens of the prefix, whole blocks of both workers
   * @param gainSeconds by which computing it would take longer than fetching it
   */
  record Source(Worker worker, int tokens, double gainSeconds) {}

  /** As {@link Source}, by the worker's name. */
  record Choice(String worker, int tokens, double gainSeconds) {}

  /** What counts of a worker here. */
  record Peer(String id, int blockTokens, boolean serves) {

    static Peer of(Worker worker) {
      return new Peer(
          worker.id(),
          worker.registration().getBlockTokens(),
          worker.registration().getPrefixFetch());
    }
  }

  /** About 13 MB of memory, 4 million tokens of different prefixes. */
  private static final int CAPACITY = 65_536;

  /** Two more calls, each as long as a worker's step may last, and a connection. */
  private static final double FIXED_SECONDS = 0.02;

  /** How much the newest measurement counts. */
  private static final double SMOOTHING = 0.25;

  private final PrefixIndex index = new PrefixIndex(CAPACITY);
  private final Map<String, Double> computeSeconds = new HashMap<>();
  private double moveSeconds = Double.NaN;

  /** The worker has the KV of the tokens. */
  void holds(String worker, String salt, int[] tokens) {
    index.add(worker, salt, tokens);
  }

  /** The worker has no more than the first {@code left} of the tokens. */
  void holdsOnly(String worker, String salt, int[] tokens, int left) {
    index.cut(worker, salt, tokens, left);
  }

  /** A worker has computed so many tokens in so many nanoseconds, with nothing before them. */
  synchronized void computed(String worker, int tokens, long nanos) {
    computeSeconds.merge(worker, nanos / 1e9 / tokens, (old, now) -> old + SMOOTHING * (now - old));
  }

  /**
   * A hand-off of so many tokens has taken so many nanoseconds.
   *
   * @param waited it may have waited for tokens to be computed, and only bounds what moving costs
   */
  synchronized void moved(int tokens, long nanos, boolean waited) {
    double seconds = nanos / 1e9 / tokens;
    if (Double.isNaN(moveSeconds) || (waited && seconds < moveSeconds)) {
      moveSeconds = seconds;
    } else if (!waited) {
      moveSeconds += SMOOTHING * (seconds - moveSeconds);
    }
  }

  /** What is known of a context now, for the choice of who computes it. */
  PrefixHints hints(Pools pools, String salt, int[] context) {
    Map<String, Integer> found = index.find(salt, context);
    if (found.isEmpty()) {
      return PrefixHints.NONE;
    }
    List<Peer> peers = workers(pools).values().stream().map(Peer::of).toList();
    return new PrefixHints() {
      @Override
      public int held(Worker worker) {
        int tokens = Math.min(found.getOrDefault(worker.id(), 0), context.length - 1);
        int blockTokens = worker.registration().getBlockTokens();
        return wholeBlocks(tokens, blockTokens, blockTokens);
      }

      @Override
      public double fetchSaves(Worker worker) {
        Choice choice = choose(found, peers, Peer.of(worker), context.length);
        return choice == null ? 0 : choice.gainSeconds / tokenSeconds(worker.id());
      }
    };
  }

  private static Map<String, Worker> workers(Pools pools) {
    Map<String, Worker> workers = new LinkedHashMap<>();
    pools.prefill().forEach(worker -> workers.put(worker.id(), worker));
    pools.decode().forEach(worker -> workers.put(worker.id(), worker));
    return workers;
  }

  /** The best source of a prefix of the context for a worker; null when computing is cheaper. */
  @Nullable Source choose(Pools pools, Worker target, String salt, int[] context) {
    Map<String, Worker> workers = workers(pools);
    Choice choice =
        choose(workers.values().stream().map(Peer::of).toList(), Peer.of(target), salt, context);
    Worker source = choice == null ? null : workers.get(choice.worker());
    return choice == null || source == null
        ? null
        : new Source(source, choice.tokens(), choice.gainSeconds());
  }

  /** As above, among these. */
  @Nullable Choice choose(List<Peer> peers, Peer target, String salt, int[] context) {
    return target.serves()
        ? choose(index.find(salt, context), peers, target, context.length)
        : null;
  }

  private @Nullable Choice choose(
      Map<String, Integer> found, List<Peer> peers, Peer target, int contextTokens) {
    if (!target.serves()) {
      return null;
    }
    int here = found.getOrDefault(target.id(), 0);
    Choice best = null;
    for (Peer peer : peers) {
      // The last token is computed anyway: its logits are wanted.
      int there = Math.min(found.getOrDefault(peer.id(), 0), contextTokens - 1);
      int tokens = wholeBlocks(there, peer.blockTokens(), target.blockTokens());
      if (peer.serves() && !peer.id().equals(target.id()) && tokens > here) {
        double gain = gain(target.id(), tokens - here);
        if (gain > 0 && (best == null || gain > best.gainSeconds)) {
          best = new Choice(peer.id(), tokens, gain);
        }
      }
    }
    return best;
  }

  /** Seconds that fetching so many tokens saves; negative when computing is cheaper, or unknown. */
  synchronized double gain(String target, int tokens) {
    double compute = tokenSeconds(target);
    if (Double.isNaN(compute) || Double.isNaN(moveSeconds)) {
      return -1;
    }
    return tokens * (compute - moveSeconds) - FIXED_SECONDS;
  }

  /**
   * Seconds that the worker takes to compute a token; of one that was not measured, what others
   * take on average. NaN while nobody was.
   */
  private synchronized double tokenSeconds(String worker) {
    Double own = computeSeconds.get(worker);
    return own != null
        ? own
        : computeSeconds.values().stream()
            .mapToDouble(Double::doubleValue)
            .average()
            .orElse(Double.NaN);
  }

  /** The most of the tokens that is whole blocks of both sizes. */
  static int wholeBlocks(int tokens, int a, int b) {
    if (a < 1 || b < 1) {
      return 0;
    }
    int common = a / gcd(a, b) * b;
    return tokens / common * common;
  }

  private static int gcd(int a, int b) {
    return b == 0 ? a : gcd(b, a % b);
  }
}

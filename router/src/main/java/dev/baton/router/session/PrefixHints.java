package dev.baton.router.session;

import dev.baton.router.registry.Worker;

/**
 * What the router believes of the beginning of one context, when it chooses who computes it. Hints:
 * a wrong one costs time, never a token.
 */
interface PrefixHints {

  /** Nothing is known. */
  PrefixHints NONE =
      new PrefixHints() {
        @Override
        public int held(Worker worker) {
          return 0;
        }

        @Override
        public double fetchSaves(Worker worker) {
          return 0;
        }
      };

  /** Leading tokens of the context that the worker has cached. */
  int held(Worker worker);

  /**
   * As many tokens as the worker computes in the time that it saves by fetching from another one
   * what it does not hold; 0 when it computes all of it.
   */
  double fetchSaves(Worker worker);
}

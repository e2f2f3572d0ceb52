package dev.baton.engine;

import com.sun.management.OperatingSystemMXBean;
import dev.baton.device.KvShape;
import java.lang.management.ManagementFactory;

/**
 * What {@link EngineOptions} are where nobody says otherwise, from the machine.
 *
 * @param processors that this process may use
 * @param memory bytes that it may use at most
 */
record MachineSizes(int processors, long memory) {

  /*
   * A step's tokens pay for reading all weights once. Matrix units multiply some hundred rows in the
   * time that it takes one processor to read a weight, so that many more rows keep them busy however
   * many processors there are; and all of them together are to have a step done in about a second,
   * for whoever arrives meanwhile waits for it. Both grow with the processors, and activations with
   * the tokens.
   *
   * Sessions that decode together share the reading of the weights, until their products take as
   * long. Each needs a row of logits and KV of its own.
   */

  private static final int TOKENS_A_PROCESSOR = 256;
  private static final int MOST_TOKENS = 4096;
  private static final long MEMORY_A_TOKEN = 16L << 20;

  private static final int SESSIONS_A_PROCESSOR = 32;
  private static final int LEAST_SESSIONS = 8;
  private static final int MOST_SESSIONS = 512;
  private static final long MEMORY_A_SESSION = 64L << 20;

  static final MachineSizes HERE =
      new MachineSizes(
          Runtime.getRuntime().availableProcessors(),
          ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
              .getTotalMemorySize());

  int stepTokens() {
    long byProcessors = Math.min((long) TOKENS_A_PROCESSOR * processors, MOST_TOKENS);
    return (int) Math.max(TOKENS_A_PROCESSOR, Math.min(byProcessors, memory / MEMORY_A_TOKEN));
  }

  int maxSessions() {
    long byProcessors = Math.min((long) SESSIONS_A_PROCESSOR * processors, MOST_SESSIONS);
    return (int) Math.max(LEAST_SESSIONS, Math.min(byProcessors, memory / MEMORY_A_SESSION));
  }

  /** The least that kernels take: prefixes are shared finely, little is lost at a session's end. */
  int blockTokens() {
    return KvShape.TILE_TOKENS;
  }

  /** Why a step has so many tokens. */
  String reasonForTokens(int tokens) {
    if (tokens != stepTokens()) {
      return "as asked for";
    }
    return tokens == (long) TOKENS_A_PROCESSOR * processors
        ? "%d for each of %d processors".formatted(TOKENS_A_PROCESSOR, processors)
        : "what %d processors and %d MiB of memory carry".formatted(processors, memory >> 20);
  }

  /** Why so many sessions run at a time. */
  String reasonForSessions(int sessions) {
    if (sessions != maxSessions()) {
      return "as asked for";
    }
    return sessions == (long) SESSIONS_A_PROCESSOR * processors
        ? "%d for each of %d processors".formatted(SESSIONS_A_PROCESSOR, processors)
        : "what %d processors and %d MiB of memory carry".formatted(processors, memory >> 20);
  }

  /** Why blocks have so many tokens. */
  String reasonForBlocks(int tokens) {
    return tokens == blockTokens() ? "a tile of the attention kernels" : "as asked for";
  }
}

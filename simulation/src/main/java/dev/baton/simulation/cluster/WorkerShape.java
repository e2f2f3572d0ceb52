package dev.baton.simulation.cluster;

import dev.baton.proto.worker.v1.Role;
import dev.baton.simulation.model.HashModel;
import java.util.SplittableRandom;

/**
 * How a simulated worker is built.
 *
 * @param blocks of KV
 * @param chunk most prompt tokens of a session in a step
 * @param slabs of each pool for hand-offs
 * @param swapBytes for preempted sessions
 * @param stepNanos that a step takes at least
 */
public record WorkerShape(
    Role role,
    int blockTokens,
    int blocks,
    int chunk,
    int maxSessions,
    int slabs,
    long swapBytes,
    long stepNanos,
    double clockRate) {

  /** Any shape that can hold the longest session. */
  public static WorkerShape draw(SplittableRandom random, Role role) {
    int blockTokens = random.nextBoolean() ? 32 : 64;
    return new WorkerShape(
        role,
        blockTokens,
        HashModel.CONTEXT_LENGTH / blockTokens + 1 + random.nextInt(random.nextBoolean() ? 3 : 20),
        8 << random.nextInt(4),
        2 + random.nextInt(6),
        1 + random.nextInt(4),
        random.nextBoolean() ? 0 : 1 << 18,
        1_000_000 + random.nextLong(12_000_000),
        1 + (random.nextDouble() - 0.5) / 50);
  }
}

package dev.baton.engine.checkpoint;

import java.util.Random;

/** Randomness of a test: prints its seed, and takes it back by {@code -Dseed=}. */
public final class Seed {

  private Seed() {}

  public static Random random(String test) {
    long seed = Long.getLong("seed", System.nanoTime());
    System.out.println(test + ": -Dseed=" + seed);
    return new Random(seed);
  }
}

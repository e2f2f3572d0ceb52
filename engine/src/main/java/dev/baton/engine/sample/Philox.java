package dev.baton.engine.sample;

/**
 * Philox4x32-10: a counter-based random generator. The output is a fixed function of counter and
 * key, with no state to carry over or to lose. Source: J. K. Salmon, M. A. Moraes, R. O. Dror, D.
 * E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
final class Philox {

  private static final int ROUNDS = 10;
  private static final long MULTIPLIER_0 = 0xD2511F53L;
  private static final long MULTIPLIER_1 = 0xCD9E8D57L;
  private static final int KEY_STEP_0 = 0x9E3779B9;
  private static final int KEY_STEP_1 = 0xBB67AE85;
  private static final long LOW_32 = 0xFFFFFFFFL;

  private Philox() {}

  /**
   * Encrypts the counter with the key, in place.
   *
   * @param counter four words
   */
  static void apply(int[] counter, int key0, int key1) {
    int c0 = counter[0];
    int c1 = counter[1];
    int c2 = counter[2];
    int c3 = counter[3];
    int k0 = key0;
    int k1 = key1;
    for (int round = 0; round < ROUNDS; round++) {
      long product0 = MULTIPLIER_0 * (c0 & LOW_32);
      long product1 = MULTIPLIER_1 * (c2 & LOW_32);
      c0 = (int) (product1 >>> 32) ^ c1 ^ k0;
      c1 = (int) product1;
      c2 = (int) (product0 >>> 32) ^ c3 ^ k1;
      c3 = (int) product0;
      k0 += KEY_STEP_0;
      k1 += KEY_STEP_1;
    }
    counter[0] = c0;
    counter[1] = c1;
    counter[2] = c2;
    counter[3] = c3;
  }

  /**
   * The uniform number of generated token {@code index}: key = seed, counter = index.
   *
   * @param scratch four words, overwritten
   * @return a multiple of 2^-53 in [0, 1)
   */
  static double uniform(long seed, int index, int[] scratch) {
    scratch[0] = index;
    scratch[1] = 0;
    scratch[2] = 0;
    scratch[3] = 0;
    apply(scratch, (int) seed, (int) (seed >>> 32));
    long bits = (scratch[0] & LOW_32) << 21 | (scratch[1] & LOW_32) >>> 11;
    return bits * 0x1p-53;
  }
}

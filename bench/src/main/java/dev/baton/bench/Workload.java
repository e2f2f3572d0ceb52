package dev.baton.bench;

/** One thing that is timed. */
public sealed interface Workload {

  /** A name that is the same in tables, JSON and matches with other engines' figures. */
  String name();

  /** Positions that one session of it may come to. */
  int contextTokens();

  /** Sessions at a time. */
  int sessions();

  /**
   * One prompt from its arrival to its first token.
   *
   * @param prompt tokens
   */
  record Prefill(int prompt) implements Workload {

    public Prefill {
      requireAtLeast("prefill", prompt, 1);
    }

    @Override
    public String name() {
      return "prefill " + prompt;
    }

    @Override
    public int contextTokens() {
      return prompt + 1;
    }

    @Override
    public int sessions() {
      return 1;
    }
  }

  /**
   * Token after token of sessions that decode together.
   *
   * @param batch sessions
   * @param depth tokens of each that are in the KV cache when the clock starts; 0 is run as 1
   * @param tokens steps that are timed
   */
  record Decode(int batch, int depth, int tokens) implements Workload {

    /** Steps before the clock starts. */
    static final int WARM_UP = 2;

    public Decode {
      requireAtLeast("batch", batch, 1);
      requireAtLeast("depth", depth, 0);
      requireAtLeast("decode", tokens, 1);
    }

    @Override
    public String name() {
      return "decode x%d at %d".formatted(batch, depth);
    }

    /** What is in the KV cache before the first step. */
    int prompt() {
      return Math.max(1, depth);
    }

    @Override
    public int contextTokens() {
      return prompt() + WARM_UP + tokens + 1;
    }

    @Override
    public int sessions() {
      return batch;
    }
  }

  private static void requireAtLeast(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException("%s: %d (expected: >= %d)".formatted(name, value, least));
    }
  }
}

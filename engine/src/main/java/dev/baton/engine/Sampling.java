package dev.baton.engine;

import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/**
 * How the next tokens are chosen; names and meanings are vLLM's and OpenAI's. The draw at generated
 * index {@code i} depends on {@code (seed, i)}, the logits and the tokens so far alone, so any
 * worker can go on with any session. {@link #greedy} is the beginning, {@link #with} changes it.
 *
 * @param maxTokens generated tokens at most, >= 1
 * @param temperature 0 = greedy (the smallest id wins a tie)
 * @param topK 0 = all
 * @param topP in (0, 1]
 * @param minP least probability of a token, as a share of the likeliest one's; 0 to 1, 0 = none
 * @param repetitionPenalty divides positive logits of tokens in prompt or output and multiplies the
 *     others; 0.01 to 100, 1 = none
 * @param frequencyPenalty taken from a token's logit for each time that it was generated; -2 to 2
 * @param presencePenalty taken once from the logit of a token that was generated; -2 to 2
 * @param logitBias added to the logits of these tokens; -100 to 100
 * @param minTokens generated tokens before which no end-of-sequence or stop token comes
 * @param logprobs likeliest tokens to report with each token, 0 to 20; -1 = no log probabilities at
 *     all
 * @param promptLogprobs likewise for each prompt token but the first
 * @param ignoreEos the model's end-of-sequence tokens do not end the session; {@code stopTokenIds}
 *     still do
 * @param stopTokenIds more ids that end the session
 */
public record Sampling(
    int maxTokens,
    float temperature,
    int topK,
    float topP,
    float minP,
    float repetitionPenalty,
    float frequencyPenalty,
    float presencePenalty,
    Map<Integer, Float> logitBias,
    int minTokens,
    long seed,
    int logprobs,
    int promptLogprobs,
    boolean ignoreEos,
    List<Integer> stopTokenIds) {

  /** Most likely tokens that can be reported with each token. */
  public static final int MAX_LOGPROBS = 20;

  /** Tokens that can have a bias. */
  public static final int MAX_LOGIT_BIAS = 1024;

  private static final float MAX_PENALTY = 2f;
  private static final float LEAST_REPETITION = 0.01f;
  private static final float MOST_REPETITION = 100f;
  private static final float MAX_BIAS = 100f;

  public Sampling {
    require(maxTokens >= 1, "maxTokens", maxTokens, ">= 1");
    require(
        temperature >= 0f && temperature < Float.POSITIVE_INFINITY,
        "temperature",
        temperature,
        ">= 0");
    require(topK >= 0, "topK", topK, ">= 0");
    require(topP > 0f && topP <= 1f, "topP", topP, "0 < topP <= 1");
    require(minP >= 0f && minP <= 1f, "minP", minP, "0 to 1");
    require(
        repetitionPenalty >= LEAST_REPETITION && repetitionPenalty <= MOST_REPETITION,
        "repetitionPenalty",
        repetitionPenalty,
        "0.01 to 100");
    require(
        Math.abs(frequencyPenalty) <= MAX_PENALTY, "frequencyPenalty", frequencyPenalty, "-2 to 2");
    require(
        Math.abs(presencePenalty) <= MAX_PENALTY, "presencePenalty", presencePenalty, "-2 to 2");
    require(
        logitBias.size() <= MAX_LOGIT_BIAS,
        "logitBias",
        logitBias.size() + " tokens",
        "at most " + MAX_LOGIT_BIAS);
    logitBias.forEach(
        (id, bias) ->
            require(Math.abs(bias) <= MAX_BIAS, "logitBias", bias + " of " + id, "-100 to 100"));
    require(minTokens >= 0 && minTokens <= maxTokens, "minTokens", minTokens, "0 to " + maxTokens);
    requireLogprobs("logprobs", logprobs);
    requireLogprobs("promptLogprobs", promptLogprobs);
    logitBias = Map.copyOf(logitBias);
    stopTokenIds = List.copyOf(stopTokenIds);
  }

  private static void requireLogprobs(String name, int value) {
    require(value >= -1 && value <= MAX_LOGPROBS, name, value, "-1 to " + MAX_LOGPROBS);
  }

  private static void require(boolean holds, String name, Object value, String expected) {
    if (!holds) {
      throw new IllegalArgumentException("%s: %s (expected: %s)".formatted(name, value, expected));
    }
  }

  /** Without penalties and bias. */
  public Sampling(
      int maxTokens,
      float temperature,
      int topK,
      float topP,
      long seed,
      int logprobs,
      boolean ignoreEos,
      List<Integer> stopTokenIds) {
    this(
        maxTokens,
        temperature,
        topK,
        topP,
        0f,
        1f,
        0f,
        0f,
        Map.of(),
        0,
        seed,
        logprobs,
        -1,
        ignoreEos,
        stopTokenIds);
  }

  public static Sampling greedy(int maxTokens) {
    return new Sampling(maxTokens, 0f, 0, 1f, 0, -1, false, List.of());
  }

  /** A copy in which the draft's fields are as {@code change} leaves them. */
  public Sampling with(Consumer<Draft> change) {
    Draft draft = new Draft(this);
    change.accept(draft);
    return draft.sampling();
  }

  /** The parameters while some of them change; fields as in {@link Sampling}. */
  public static final class Draft {
    public int maxTokens;
    public float temperature;
    public int topK;
    public float topP;
    public float minP;
    public float repetitionPenalty;
    public float frequencyPenalty;
    public float presencePenalty;
    public Map<Integer, Float> logitBias;
    public int minTokens;
    public long seed;
    public int logprobs;
    public int promptLogprobs;
    public boolean ignoreEos;
    public List<Integer> stopTokenIds;

    private Draft(Sampling from) {
      maxTokens = from.maxTokens;
      temperature = from.temperature;
      topK = from.topK;
      topP = from.topP;
      minP = from.minP;
      repetitionPenalty = from.repetitionPenalty;
      frequencyPenalty = from.frequencyPenalty;
      presencePenalty = from.presencePenalty;
      logitBias = from.logitBias;
      minTokens = from.minTokens;
      seed = from.seed;
      logprobs = from.logprobs;
      promptLogprobs = from.promptLogprobs;
      ignoreEos = from.ignoreEos;
      stopTokenIds = from.stopTokenIds;
    }

    private Sampling sampling() {
      return new Sampling(
          maxTokens,
          temperature,
          topK,
          topP,
          minP,
          repetitionPenalty,
          frequencyPenalty,
          presencePenalty,
          logitBias,
          minTokens,
          seed,
          logprobs,
          promptLogprobs,
          ignoreEos,
          stopTokenIds);
    }
  }
}

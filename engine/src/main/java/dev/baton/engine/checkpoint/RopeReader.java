package dev.baton.engine.checkpoint;

/**
 * The rotary embedding's part of config.json: {@code rope_theta} and {@code rope_scaling} of
 * transformers 4, {@code rope_parameters} of transformers 5. A kind of scaling that is not
 * implemented is refused.
 */
final class RopeReader {

  private static final double BETA_FAST = 32;
  private static final double BETA_SLOW = 1;

  private final JsonObject json;
  private final JsonObject rope;
  private final double theta;

  /** Most positions, as the config has it. */
  private final int positions;

  RopeReader(JsonObject json, Architecture architecture) {
    this.json = json;
    this.rope = rope(json);
    this.theta =
        rope.has("rope_theta")
            ? rope.positive("rope_theta")
            : json.positive("rope_theta", architecture.defaults().ropeTheta());
    this.positions =
        json.integer(
            "max_position_embeddings",
            1,
            ConfigReader.MAX_CONTEXT,
            architecture.defaults().contextLength());
  }

  /** Where a config has both, transformers goes by the old name. */
  private static JsonObject rope(JsonObject json) {
    if (json.has("rope_scaling") && !json.object("rope_scaling").names().isEmpty()) {
      return json.object("rope_scaling");
    }
    return json.has("rope_parameters") ? json.object("rope_parameters") : JsonObject.empty(json);
  }

  double theta() {
    return theta;
  }

  /**
   * Most positions that the model was made for. YaRN's say how far they reach beyond those of the
   * first training, which many configs leave as their maximum.
   */
  int contextLength() {
    if (!type().equals("yarn") || !rope.has("original_max_position_embeddings")) {
      return positions;
    }
    double stretched = original() * yarnFactor();
    return (int) Math.min(ConfigReader.MAX_CONTEXT, Math.max(positions, stretched));
  }

  RopeScaling scaling(int headDim) {
    return switch (type()) {
      // Dynamic scaling begins beyond max_position_embeddings, where no session gets to. It would
      // change the rotation of keys that are cached, and make them depend on what comes later.
      case "default", "dynamic" -> new RopeScaling.None();
      case "linear" -> new RopeScaling.Linear(rope.positive("factor"));
      case "llama3" -> llama3();
      case "yarn" -> yarn(headDim);
      default -> throw rope.bad(typeField(), "one of default, linear, dynamic, llama3, yarn");
    };
  }

  private String type() {
    return rope.has(typeField()) ? rope.string(typeField()) : "default";
  }

  /** Before rope_type the field was called type. */
  private String typeField() {
    return !rope.has("rope_type") && rope.has("type") ? "type" : "rope_type";
  }

  /** Positions of the first training; a field beside the rope's own comes first. */
  private int original() {
    String field = "original_max_position_embeddings";
    return json.has(field)
        ? json.integer(field, 1, ConfigReader.MAX_CONTEXT)
        : rope.integer(field, 1, ConfigReader.MAX_CONTEXT, positions);
  }

  private RopeScaling llama3() {
    double low = rope.positive("low_freq_factor");
    double high = rope.positive("high_freq_factor");
    if (high <= low) {
      throw rope.bad("high_freq_factor", "> low_freq_factor, " + low);
    }
    return new RopeScaling.Llama3(rope.positive("factor"), low, high, original());
  }

  private double yarnFactor() {
    return rope.positive("factor", (double) positions / original());
  }

  /** Source: transformers' yarn function; its rule of the paper's attention factor likewise. */
  private RopeScaling yarn(int headDim) {
    double factor = yarnFactor();
    double fast = rope.positive("beta_fast", BETA_FAST);
    double slow = rope.positive("beta_slow", BETA_SLOW);
    if (theta <= 1) {
      throw json.bad("rope_theta", "> 1");
    }
    double from = pairThatTurns(fast, headDim);
    double to = pairThatTurns(slow, headDim);
    if (rope.flag("truncate", true)) {
      from = Math.floor(from);
      to = Math.ceil(to);
    }
    from = Math.max(from, 0);
    to = Math.min(to, headDim - 1.0);
    return new RopeScaling.Yarn(factor, from, to, attentionFactor(factor));
  }

  /** The pair of dimensions that turns so often in the first training's context. */
  private double pairThatTurns(double times, int headDim) {
    return headDim * Math.log(original() / (times * 2 * Math.PI)) / (2 * Math.log(theta));
  }

  private double attentionFactor(double factor) {
    if (rope.has("attention_factor")) {
      return rope.positive("attention_factor");
    }
    if (rope.isOff("mscale") || rope.isOff("mscale_all_dim")) {
      return magnitude(factor, 1);
    }
    return magnitude(factor, rope.positive("mscale"))
        / magnitude(factor, rope.positive("mscale_all_dim"));
  }

  private static double magnitude(double factor, double scale) {
    return factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1;
  }
}

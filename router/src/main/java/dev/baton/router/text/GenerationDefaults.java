package dev.baton.router.text;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.DoublePredicate;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import tools.jackson.databind.JsonNode;

/**
 * What generation_config.json says requests sample with unless they say otherwise. A value that no
 * request could ask for either is passed over with a warning, as is a parameter that is not done:
 * the model's authors meant it.
 */
final class GenerationDefaults {

  private static final Logger LOG = LoggerFactory.getLogger(GenerationDefaults.class);

  private static final Map<String, DoublePredicate> DONE =
      Map.of(
          "temperature", value -> value >= 0 && value <= 2,
          // Some write -1 for all tokens.
          "top_k", value -> value >= -1 && value <= Integer.MAX_VALUE && value == Math.rint(value),
          "top_p", value -> value > 0 && value <= 1,
          "min_p", value -> value >= 0 && value <= 1,
          "repetition_penalty", value -> value >= 0.01 && value <= 100);

  /** With the values that change nothing. */
  private static final Map<String, Double> NOT_DONE =
      Map.of(
          "typical_p", 1.0,
          "epsilon_cutoff", 0.0,
          "eta_cutoff", 0.0,
          "no_repeat_ngram_size", 0.0);

  private GenerationDefaults() {}

  static Map<String, Double> read(ModelDirectory directory) {
    Map<String, Double> defaults = new LinkedHashMap<>();
    JsonNode config = directory.json("generation_config.json").orElse(null);
    if (config == null) {
      return Map.of();
    }
    DONE.forEach(
        (name, valid) -> {
          JsonNode value = config.path(name);
          if (value.isNumber() && valid.test(number(value))) {
            defaults.put(name, Math.max(0, number(value)));
          } else if (!value.isMissingNode() && !value.isNull()) {
            LOG.warn("generation_config.json: {}: {} is out of range, not applied", name, value);
          }
        });
    NOT_DONE.forEach(
        (name, neutral) -> {
          JsonNode value = config.path(name);
          if (value.isNumber() && number(value) != neutral) {
            LOG.warn("generation_config.json: {}: {} is not done, not applied", name, value);
          }
        });
    return Map.copyOf(defaults);
  }

  /** Infinite where a whole number is too large for a double. */
  private static double number(JsonNode value) {
    return Double.parseDouble(value.asString());
  }
}

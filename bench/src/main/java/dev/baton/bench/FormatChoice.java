package dev.baton.bench;

import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import java.util.ArrayList;
import java.util.List;

/** One setting of the engine's three options that say in what it keeps its numbers. */
public record FormatChoice(Precision precision, Quantization quantization, KvPrecision kv) {

  /** As the model's config says, nothing quantized. */
  public static final FormatChoice AUTO =
      new FormatChoice(Precision.AUTO, Quantization.NONE, KvPrecision.AUTO);

  /** Every combination, the first list's values changing slowest. */
  public static List<FormatChoice> combinations(
      List<Precision> precisions, List<Quantization> quantizations, List<KvPrecision> kvs) {
    List<FormatChoice> all = new ArrayList<>();
    for (Precision precision : precisions) {
      for (Quantization quantization : quantizations) {
        for (KvPrecision kv : kvs) {
          all.add(new FormatChoice(precision, quantization, kv));
        }
      }
    }
    return all;
  }

  /** These options with this choice. */
  public EngineOptions in(EngineOptions options) {
    return options.withPrecision(precision).withQuantization(quantization).withKvPrecision(kv);
  }
}

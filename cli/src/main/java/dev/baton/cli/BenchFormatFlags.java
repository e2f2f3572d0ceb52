package dev.baton.cli;

import dev.baton.bench.FormatChoice;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import java.util.List;
import picocli.CommandLine.Option;

/** In what numbers engines are measured; several values of an option mean every combination. */
final class BenchFormatFlags {

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      split = ",",
      description =
          "Weights before quantization: auto (as the model says), float32, bfloat16. Default:"
              + " auto.")
  List<Precision> precisions = List.of(Precision.AUTO);

  @Option(
      names = "--quantize",
      paramLabel = "TYPE",
      split = ",",
      description = "Matrices of linear layers: none, int8, int4. Default: none.")
  List<Quantization> quantizations = List.of(Quantization.NONE);

  @Option(
      names = "--kv-dtype",
      paramLabel = "TYPE",
      split = ",",
      description = "Keys and values: auto (as --dtype), float32, bfloat16, int8. Default: auto.")
  List<KvPrecision> kvPrecisions = List.of(KvPrecision.AUTO);

  /** Every combination. */
  List<FormatChoice> choices() {
    return FormatChoice.combinations(precisions, quantizations, kvPrecisions);
  }
}

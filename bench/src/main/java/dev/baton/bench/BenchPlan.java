package dev.baton.bench;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.Precision;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * What {@code baton bench engine} measures: every workload with every format and tensor-parallel
 * degree.
 *
 * @param shape one of {@link Shape#NAMED}, or a directory with config.json
 * @param prefill prompt lengths; may be empty
 * @param decode steps that are timed; 0 = no decode at all
 * @param depths tokens in the KV cache of each session
 * @param batches sessions that decode together
 * @param repeats rounds; each runs every workload once, and the peer
 * @param stepTokens 0 = the engine's default, or the largest batch
 * @param prefillChunk 0 = the engine's default
 * @param busy processes that each keep a processor busy while everything is measured a second time;
 *     0 = none, and no second time
 * @param device on what the engine runs
 * @param peer shell command that prints another engine's rates; null = none
 */
public record BenchPlan(
    String shape,
    List<FormatChoice> formats,
    List<Integer> tensorParallel,
    List<Integer> prefill,
    int decode,
    List<Integer> depths,
    List<Integer> batches,
    int repeats,
    int stepTokens,
    int prefillChunk,
    int busy,
    DeviceOptions device,
    @Nullable String peer) {

  public BenchPlan {
    formats = List.copyOf(formats);
    tensorParallel = List.copyOf(tensorParallel);
    prefill = List.copyOf(prefill);
    depths = List.copyOf(depths);
    batches = List.copyOf(batches);
    require("repeat", repeats, 1);
    require("decode", decode, 0);
    require("step-tokens", stepTokens, 0);
    require("prefill-chunk", prefillChunk, 0);
    require("busy", busy, 0);
    if (formats.isEmpty() || tensorParallel.isEmpty()) {
      throw new IllegalArgumentException(
          "tp: no ranks, or no format (expected: at least one of each)");
    }
    if (workloads(prefill, decode, depths, batches).isEmpty()) {
      throw new IllegalArgumentException(
          "prefill: no length, and no decode (expected: one of the two above 0)");
    }
    if (peer != null && formats.size() * tensorParallel.size() > 1) {
      throw new IllegalArgumentException(
          "peer: with %d formats and %d TP degrees (expected: one of each, so that it is clear what is compared)"
              .formatted(formats.size(), tensorParallel.size()));
    }
  }

  /** On the CPU. */
  public BenchPlan(
      String shape,
      List<FormatChoice> formats,
      List<Integer> tensorParallel,
      List<Integer> prefill,
      int decode,
      List<Integer> depths,
      List<Integer> batches,
      int repeats,
      int stepTokens,
      int prefillChunk,
      int busy,
      @Nullable String peer) {
    this(
        shape,
        formats,
        tensorParallel,
        prefill,
        decode,
        depths,
        batches,
        repeats,
        stepTokens,
        prefillChunk,
        busy,
        DeviceOptions.CPU,
        peer);
  }

  /** Defaults for a model in a format on the plan's device; GPUs compute in bfloat16. */
  EngineOptions in(FormatChoice choice, Path directory) {
    EngineOptions options = choice.in(EngineOptions.of(directory)).withDevice(device);
    return device.kind() != DeviceOptions.Kind.CPU && options.precision() == Precision.AUTO
        ? options.withPrecision(Precision.BFLOAT16)
        : options;
  }

  private static void require(String name, int value, int least) {
    if (value < least) {
      throw new IllegalArgumentException("%s: %d (expected: >= %d)".formatted(name, value, least));
    }
  }

  List<Workload> workloads() {
    return workloads(prefill, decode, depths, batches);
  }

  private static List<Workload> workloads(
      List<Integer> prefill, int decode, List<Integer> depths, List<Integer> batches) {
    List<Workload> workloads = new ArrayList<>();
    prefill.forEach(prompt -> workloads.add(new Workload.Prefill(prompt)));
    if (decode > 0) {
      for (int depth : depths) {
        for (int batch : batches) {
          workloads.add(new Workload.Decode(batch, depth, decode));
        }
      }
    }
    return workloads;
  }
}

package dev.baton.cli;

import dev.baton.engine.DeviceOptions;
import dev.baton.engine.DeviceOptions.Kind;
import dev.baton.engine.DeviceOptions.Numerics;
import dev.baton.engine.DeviceOptions.Products;
import dev.baton.engine.DeviceOptions.Slabs;
import dev.baton.engine.EngineOptions;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.Option;

/** On what a worker computes: the CPU, or GPUs. */
final class DeviceFlags {

  /** Sizes of a GPU's steps where nobody says others: many rows are what its matrix units want. */
  private static final int GPU_STEP_TOKENS = 4096;

  private static final int GPU_MAX_SESSIONS = 256;

  @Option(
      names = "--device",
      paramLabel = "DEVICE",
      converter = KindName.class,
      description =
          "cpu, or cuda: NVIDIA GPUs, one for each rank. emulated-cuda runs the GPUs' kernels on"
              + " the CPU, for tests. Default: cpu.")
  Kind device = Kind.CPU;

  @Option(
      names = "--gpus",
      paramLabel = "N,N",
      split = ",",
      description =
          "Which GPU each rank takes, as the driver numbers them; the same number twice lets ranks"
              + " share one. Default: 0, 1, and so on.")
  List<Integer> gpus = List.of();

  @Option(
      names = "--gpu-memory-utilization",
      paramLabel = "SHARE",
      description = "How much of a GPU's free memory a worker takes. Default: 0.9.")
  double memoryUtilization = 0.9;

  @Option(
      names = "--numerics",
      paramLabel = "WHICH",
      converter = NumericsName.class,
      description =
          "exact: KV goes between workers of the same arithmetic only, so that tokens never depend"
              + " on the worker. mixed: between CPUs and GPUs too, with the same --dtype, and"
              + " converted between different --kv-dtype; tokens may differ as far as the coarser"
              + " one rounds. Default: exact.")
  Numerics numerics = Numerics.EXACT;

  @Option(
      names = "--products",
      paramLabel = "WHICH",
      converter = ProductsName.class,
      description =
          "own: products on GPUs by kernels that give the same bits in every batch. cublaslt: large"
              + " ones by NVIDIA's library, which may be faster; then tokens may depend on what"
              + " else is in a step, as far as float32 sums do. All workers that exchange KV take"
              + " the same. Default: own.")
  Products products = Products.OWN;

  @Option(
      names = "--kv-slabs",
      paramLabel = "WHERE",
      converter = SlabsName.class,
      description =
          "Where a worker on GPUs keeps KV while it is handed over: device, in the first GPU's"
              + " memory, from which UCX sends it where it was built with CUDA; host, through"
              + " pinned buffers in host memory; auto: device where that works. Default: auto.")
  Slabs slabs = Slabs.AUTO;

  /** Names as people write them: {@code emulated-cuda}. */
  static final class KindName implements picocli.CommandLine.ITypeConverter<Kind> {
    @Override
    public Kind convert(String value) {
      return named(value, Kind.values(), "--device");
    }
  }

  /** Likewise. */
  static final class NumericsName implements picocli.CommandLine.ITypeConverter<Numerics> {
    @Override
    public Numerics convert(String value) {
      return named(value, Numerics.values(), "--numerics");
    }
  }

  /** Likewise. */
  static final class ProductsName implements picocli.CommandLine.ITypeConverter<Products> {
    @Override
    public Products convert(String value) {
      return named(value, Products.values(), "--products");
    }
  }

  /** Likewise. */
  static final class SlabsName implements picocli.CommandLine.ITypeConverter<Slabs> {
    @Override
    public Slabs convert(String value) {
      return named(value, Slabs.values(), "--kv-slabs");
    }
  }

  private static <E extends Enum<E>> E named(String value, E[] all, String option) {
    List<String> names = new ArrayList<>();
    for (E each : all) {
      if (name(each).equals(value.toLowerCase(Locale.ROOT))) {
        return each;
      }
      names.add(name(each));
    }
    throw new picocli.CommandLine.TypeConversionException(
        "%s: %s (expected: one of %s)".formatted(option, value, names));
  }

  private static String name(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** Refuses what no worker takes. */
  void check() {
    if (!(memoryUtilization > 0 && memoryUtilization <= 1)) {
      throw CommandFailure.usage(
          "--gpu-memory-utilization: %s (expected: above 0, at most 1)"
              .formatted(memoryUtilization));
    }
    if (!gpus.isEmpty() && device == Kind.CPU) {
      throw CommandFailure.usage(
          "--gpus: %s (expected: together with --device cuda)".formatted(gpus));
    }
    if (products != Products.OWN && device == Kind.CPU) {
      throw CommandFailure.usage(
          "--products: %s (expected: together with --device cuda)".formatted(name(products)));
    }
    if (slabs == Slabs.DEVICE && device == Kind.CPU) {
      throw CommandFailure.usage("--kv-slabs: device (expected: together with --device cuda)");
    }
    for (int gpu : gpus) {
      Options.checkAtLeast("--gpus", gpu, 0);
    }
  }

  DeviceOptions options() {
    check();
    return new DeviceOptions(device, gpus, memoryUtilization, numerics, products, slabs, 0);
  }

  /** The device, and sizes that suit it. */
  EngineOptions in(EngineOptions options) {
    EngineOptions chosen = options.withDevice(options());
    return device == Kind.CUDA
        ? chosen.withStepTokens(GPU_STEP_TOKENS).withMaxSessions(GPU_MAX_SESSIONS)
        : chosen;
  }

  /**
   * The same options as a command line that parses back to them.
   *
   * @param ofWorker the worker's GPUs; empty = the default
   */
  List<String> arguments(List<Integer> ofWorker) {
    List<String> arguments = new ArrayList<>();
    if (device != Kind.CPU) {
      arguments.add("--device");
      arguments.add(name(device));
      arguments.add("--gpu-memory-utilization");
      arguments.add(Double.toString(memoryUtilization));
      if (!ofWorker.isEmpty()) {
        arguments.add("--gpus");
        arguments.add(ofWorker.stream().map(String::valueOf).collect(Collectors.joining(",")));
      }
    }
    if (products != Products.OWN) {
      arguments.add("--products");
      arguments.add(name(products));
    }
    if (slabs != Slabs.AUTO) {
      arguments.add("--kv-slabs");
      arguments.add(name(slabs));
    }
    if (numerics != Numerics.EXACT) {
      arguments.add("--numerics");
      arguments.add(name(numerics));
    }
    return arguments;
  }

  /**
   * The GPUs of one of several workers on this machine: the next ones of {@code --gpus}, or the
   * next in number.
   *
   * @param taken ranks of the workers before it
   */
  List<Integer> share(int taken, int ranks) {
    List<Integer> own = new ArrayList<>();
    for (int rank = taken; rank < taken + ranks; rank++) {
      if (gpus.isEmpty()) {
        own.add(rank);
      } else if (rank < gpus.size()) {
        own.add(gpus.get(rank));
      } else {
        throw CommandFailure.usage(
            "--gpus: %s (expected: one for each rank of each worker, prefill workers first)"
                .formatted(gpus));
      }
    }
    return own;
  }
}

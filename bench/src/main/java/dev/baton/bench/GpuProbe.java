package dev.baton.bench;

import dev.baton.device.cuda.CudaCeilings;
import dev.baton.device.cuda.CudaOptions;
import dev.baton.engine.DeviceOptions;
import java.util.EnumMap;
import java.util.Map;
import java.util.Set;

/**
 * Measures the ceilings of a GPU: memory copied or read, whichever is faster, and bfloat16 products
 * by cuBLASLt. Where that is not installed, the ceiling of products is unknown and told as if
 * products took no time; the description says so.
 */
final class GpuProbe implements Probe {

  private final CudaCeilings ceilings;

  GpuProbe(DeviceOptions device) {
    boolean emulated = device.kind() == DeviceOptions.Kind.EMULATED_CUDA;
    ceilings = CudaCeilings.open(new CudaOptions(emulated, device.gpus(), 0.1, true));
  }

  @Override
  public Ceilings measure(Set<Arithmetic> needed) {
    Map<Arithmetic, Double> operations = new EnumMap<>(Arithmetic.class);
    double rate = ceilings.operationsPerSecond();
    for (Arithmetic each : needed) {
      operations.put(each, rate == 0 ? Ceilings.UNKNOWN : rate);
    }
    return new Ceilings(
        Math.max(ceilings.copyBytesPerSecond(), ceilings.readBytesPerSecond()), operations);
  }

  @Override
  public String description() {
    return ceilings.description();
  }

  @Override
  public void close() {
    ceilings.close();
  }
}

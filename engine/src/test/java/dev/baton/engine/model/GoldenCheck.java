package dev.baton.engine.model;

import dev.baton.device.Device;
import dev.baton.device.cuda.CudaDevice;
import dev.baton.device.cuda.CudaOptions;
import dev.baton.engine.Precision;
import dev.baton.engine.checkpoint.ConfigReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * The golden families on GPU 0, for {@code scripts/gpu-check}: {@code GoldenCheck
 * cuda|emulated-cuda RANKS DIRECTORY [NAME]}. A line for each model; ends with 1 when one of them
 * has failed. Several ranks share the GPU.
 */
final class GoldenCheck {

  private static final double UTILIZATION = 0.2;

  private GoldenCheck() {}

  public static void main(String[] arguments) throws IOException {
    boolean emulated = arguments[0].equals("emulated-cuda");
    int ranks = Integer.parseInt(arguments[1]);
    Path directory = Path.of(arguments[2]);
    String only = arguments.length > 3 ? arguments[3] : "";
    int failed = 0;
    int passed = 0;
    for (Path model : GoldenTest.models(directory)) {
      String name = String.valueOf(model.getFileName());
      if (!name.startsWith(only) || !GoldenTest.fits(ConfigReader.read(model), ranks)) {
        continue;
      }
      try {
        GoldenTest.compareAll(model, Precision.BFLOAT16, ranks, 64, open(emulated, ranks));
        passed++;
      } catch (RuntimeException | AssertionError e) {
        System.out.printf("%s with %d ranks: %s%n", name, ranks, e);
        failed++;
      }
    }
    System.out.printf("RESULT %d of %d families%n", passed, passed + failed);
    System.exit(failed > 0 || passed == 0 ? 1 : 0);
  }

  private static Device open(boolean emulated, int ranks) {
    return CudaDevice.open(new CudaOptions(emulated, List.of(0), UTILIZATION, true), ranks);
  }
}

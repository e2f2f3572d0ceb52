package dev.baton.device.cuda;

import static java.nio.charset.StandardCharsets.US_ASCII;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import jcuda.driver.CUmodule;

/** The kernels' machine code as this build has it, a fat binary for each source file. */
final class KernelCode {

  /** Of the oldest GPUs that the build makes code for, as major and minor digit. */
  static final int LEAST_CAPABILITY = 80;

  private static final String DIRECTORY = "/META-INF/native/cuda/";

  private KernelCode() {}

  /** A module's image; compared by identity. */
  static final class Image {
    private final byte[] bytes;

    /** Takes the bytes as they are. */
    Image(byte[] bytes) {
      this.bytes = bytes;
    }

    byte[] bytes() {
      return bytes;
    }
  }

  /**
   * Images and the names of their kernels; that of an emulated GPU has all, and names none.
   *
   * @throws CudaUnavailableException when this build was made without nvcc
   */
  static Map<Image, List<String>> load(CudaDriver driver) {
    if (driver.emulated()) {
      return Map.of(new Image(new byte[] {0}), List.of());
    }
    Map<Image, List<String>> images = new LinkedHashMap<>();
    String index = new String(read("kernels.txt"), US_ASCII);
    for (String line : index.lines().toList()) {
      List<String> words = List.of(line.split(" "));
      images.put(new Image(read(words.getFirst() + ".fatbin")), words.subList(1, words.size()));
    }
    return images;
  }

  /**
   * Gives the image to the driver.
   *
   * @throws CudaUnavailableException when it refuses it, as drivers do that are older than the
   *     compiler
   */
  static CUmodule module(CudaDriver driver, Image image) {
    try {
      return driver.loadModule(image.bytes());
    } catch (CudaException e) {
      String toolkit =
          driver.emulated() ? "none" : new String(read("toolkit.txt"), US_ASCII).strip();
      throw new CudaUnavailableException(
          "GPU kernels: made by CUDA %s, and the driver, for CUDA %d.%d, refuses them (expected: a driver not older than the toolkit; install a newer one, or build again with an older nvcc, or use --device cpu): %s"
              .formatted(
                  toolkit, driver.version() / 1000, driver.version() % 1000 / 10, e.getMessage()));
    }
  }

  private static byte[] read(String name) {
    try (InputStream in = KernelCode.class.getResourceAsStream(DIRECTORY + name)) {
      if (in == null) {
        throw new CudaUnavailableException(
            "GPU kernels: not in this build, which found no nvcc (expected: %s; install the CUDA toolkit and run ./baton build, or do so with BATON_KERNELS=FILE, the native-*.jar of a build of this version that has them, or use --device cpu)"
                .formatted(DIRECTORY.substring(1) + name));
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

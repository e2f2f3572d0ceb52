package dev.baton.kvtransfer.ucx;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.openucx.jucx.NativeLibs;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Loads jucx and with it UCX, once per process. */
final class UcxLibrary {
  private static final Logger log = LoggerFactory.getLogger(UcxLibrary.class);

  private UcxLibrary() {}

  /**
   * @throws IllegalStateException naming the package to install, if UCX is not there
   */
  static void load() {
    try {
      NativeLibs.load();
    } catch (LinkageError e) {
      throw new IllegalStateException(
          "UCX cannot be loaded: %s (expected: libucx0 1.13 or newer installed: apt-get install libucx0)"
              .formatted(e.getMessage()),
          e);
    }
    removeExtracted();
  }

  /**
   * jucx extracts its library to a temporary directory and removes it at an orderly exit only. Once
   * mapped the file is not needed, so it goes at once; where it is, the process's own memory map
   * says.
   */
  private static void removeExtracted() {
    String file = "/libjucx_" + System.getProperty("os.arch") + ".so";
    String extracted = Path.of(System.getProperty("java.io.tmpdir"), "jucx").toString();
    try (var maps = Files.lines(Path.of("/proc/self/maps"))) {
      Optional<Path> library =
          maps.filter(line -> line.endsWith(file))
              .map(line -> line.substring(line.indexOf('/')))
              .filter(path -> path.startsWith(extracted))
              .map(Path::of)
              .findFirst();
      if (library.isPresent()) {
        Files.deleteIfExists(library.get());
        Path directory = library.get().getParent();
        if (directory != null) {
          Files.deleteIfExists(directory);
        }
      }
    } catch (IOException e) {
      log.debug("the extracted jucx library stays until exit", e);
    }
  }
}

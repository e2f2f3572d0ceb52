package dev.baton.device.cuda;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A library of the machine, of whichever major version is installed, bound by name. */
final class SystemLibrary {

  /** Where a toolkit lies that the system's loader does not know of. */
  private static final List<String> PLACES =
      List.of(
          "/usr/local/cuda/lib64",
          "/usr/local/nvidia/lib64",
          "/usr/lib/x86_64-linux-gnu",
          "/usr/lib64",
          "/usr/lib/wsl/lib");

  private final String name;
  private final SymbolLookup symbols;

  private SystemLibrary(String name, SymbolLookup symbols) {
    this.name = name;
    this.symbols = symbols;
  }

  /**
   * Opens the newest of several versions.
   *
   * @param name such as {@code libcublasLt.so}
   * @param majors versions to try, best first
   * @param cost what is not to be had without it
   */
  @SuppressWarnings("restricted") // a library of the machine
  static SystemLibrary open(String name, List<Integer> majors, String cost) {
    List<String> tried = new ArrayList<>();
    for (int major : majors) {
      String file = name + "." + major;
      tried.add(file);
      for (String candidate : candidates(file)) {
        try {
          return new SystemLibrary(file, SymbolLookup.libraryLookup(candidate, Arena.global()));
        } catch (IllegalArgumentException e) {
          // The next place or version may do; the message below tells that none did.
          continue;
        }
      }
    }
    throw new CudaUnavailableException(
        "%s: not on this machine (expected: one of %s in the loader's path or %s); without it: %s"
            .formatted(name, tried, PLACES, cost));
  }

  /** What to load a file by, best first. */
  static List<String> candidates(String file) {
    List<String> candidates = new ArrayList<>();
    candidates.add(file);
    for (String place : PLACES) {
      Path path = Path.of(place, file);
      if (Files.exists(path)) {
        candidates.add(path.toString());
      }
    }
    return candidates;
  }

  String name() {
    return name;
  }

  boolean has(String function) {
    return symbols.find(function).isPresent();
  }

  @SuppressWarnings("restricted") // its own functions, as its header declares them
  MethodHandle function(String function, FunctionDescriptor type) {
    return Linker.nativeLinker()
        .downcallHandle(
            symbols
                .find(function)
                .orElseThrow(
                    () ->
                        new CudaUnavailableException(
                            "%s: has no %s (expected: a newer version)".formatted(name, function))),
            type);
  }
}

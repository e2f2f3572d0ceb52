package dev.baton.device.host;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Locale;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Finds a shared library of ours on the class path and loads it from a file.
 *
 * <p>The file is kept in the user's cache directory ({@code BATON_CACHE}, else {@code
 * XDG_CACHE_HOME/baton}, else {@code ~/.cache/baton}) under the hash of its content, so versions
 * live side by side. It is written to a file of its own and renamed, so processes that start at
 * once do not disturb each other, and compared before use. Where that directory cannot be written a
 * temporary one serves.
 */
public final class NativeLibrary {

  private static final Logger log = LoggerFactory.getLogger(NativeLibrary.class);

  private final String name;
  private final String without;

  /**
   * @param name of the file
   * @param without what to do where it cannot be had, for messages
   */
  public NativeLibrary(String name, String without) {
    this.name = name;
    this.without = without;
  }

  /** Name of the running platform, as in {@code linux-x86_64}. */
  public static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch");
    return os + "-" + (arch.equals("amd64") ? "x86_64" : arch);
  }

  private String resource() {
    return "/META-INF/native/" + platform() + "/" + name;
  }

  /** Whether this build has a library for the running platform. */
  public boolean exists() {
    return NativeLibrary.class.getResource(resource()) != null;
  }

  /** Its symbols; loaded until the process ends. */
  @SuppressWarnings("restricted") // our own library
  public SymbolLookup load() {
    Path file = file();
    try {
      return SymbolLookup.libraryLookup(file, Arena.global());
    } catch (IllegalArgumentException e) {
      throw new IllegalStateException(
          "native library: %s cannot be loaded (expected: a directory that allows execution; set BATON_CACHE to one, or %s)"
              .formatted(file, without),
          e);
    }
  }

  /** Where the library lies, as a file. */
  public Path file() {
    byte[] content = content();
    Path cache = cacheDirectory();
    try {
      return keep(cache, content);
    } catch (IOException e) {
      log.info(
          "cannot keep the native library in {}, using a temporary directory: {}",
          cache,
          e.toString());
    }
    try {
      Path directory = Files.createTempDirectory("baton-native-");
      Path file = keep(directory, content);
      // Deleted in reverse order: the file, then the directories around it.
      for (Path made = directory;
          !made.equals(file);
          made = made.resolve(made.relativize(file).getName(0))) {
        made.toFile().deleteOnExit();
      }
      file.toFile().deleteOnExit();
      return file;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private byte[] content() {
    try (InputStream in = NativeLibrary.class.getResourceAsStream(resource())) {
      if (in == null) {
        throw new IllegalStateException(
            "native library: none for %s in this build (expected: one; or %s)"
                .formatted(platform(), without));
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Path cacheDirectory() {
    String own = System.getenv("BATON_CACHE");
    if (own != null && !own.isEmpty()) {
      return Path.of(own, "native");
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    return xdg != null && !xdg.isEmpty()
        ? Path.of(xdg, "baton", "native")
        : Path.of(System.getProperty("user.home"), ".cache", "baton", "native");
  }

  /** The library's file in {@code directory}, written if it is not there with the same content. */
  public Path keep(Path directory, byte[] content) throws IOException {
    Path home = directory.resolve(hash(content).substring(0, 32));
    Files.createDirectories(
        home, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    Path file = home.resolve(name);
    if (Files.isRegularFile(file) && Arrays.equals(Files.readAllBytes(file), content)) {
      return file;
    }
    Path fresh = Files.createTempFile(home, name, ".new");
    try {
      Files.write(fresh, content);
      Files.move(fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } finally {
      Files.deleteIfExists(fresh);
    }
    return file;
  }

  private static String hash(byte[] content) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(content));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }
}

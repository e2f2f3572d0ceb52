package dev.baton.router.text;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.jspecify.annotations.Nullable;

/**
 * Brings the Rust tokenizer, which lies in DJL's jar, into the process: unpacks the shared library
 * once per user and loads it. DJL's own way takes ten times as long, since it looks for GPUs first,
 * reports starts on EC2, may go to the network, and needs a writable home.
 */
final class TokenizerLibrary {

  private static @Nullable TokenizersLibrary loaded;

  private TokenizerLibrary() {}

  /** The loaded library. Thread-safe. */
  static synchronized TokenizersLibrary load() {
    TokenizersLibrary library = loaded;
    if (library == null) {
      library = unpackAndLoad();
      loaded = library;
    }
    return library;
  }

  private static TokenizersLibrary unpackAndLoad() {
    String file = System.mapLibraryName("tokenizers");
    URL resource = resource(platform() + "/cpu/" + file);
    List<String> refusals = new ArrayList<>();
    for (Path directory : cacheDirectories()) {
      // A directory may be read-only, someone else's, or mounted without the right to execute.
      try {
        Path library = unpacked(resource, privateDirectory(directory).resolve(version()), file);
        System.load(library.toString());
        return TokenizersLibrary.LIB;
      } catch (IOException | UnsupportedOperationException | UnsatisfiedLinkError e) {
        refusals.add(directory + " (" + e + ")");
      }
    }
    throw new TextModelException(
        "tokenizer library: cannot be unpacked and loaded in any of "
            + String.join(", ", refusals)
            + "; set XDG_CACHE_HOME to a writable directory that may hold executables");
  }

  private static String platform() {
    String system = System.getProperty("os.name", "").toLowerCase(Locale.ROOT);
    String machine = System.getProperty("os.arch", "");
    return (system.startsWith("mac") ? "osx" : system)
        + "-"
        + (machine.equals("amd64") ? "x86_64" : machine);
  }

  private static URL resource(String name) {
    URL resource = TokenizersLibrary.class.getResource("/native/lib/" + name);
    if (resource == null) {
      throw new TextModelException("tokenizer library: none for this platform: " + name);
    }
    return resource;
  }

  /** Names the directory, so that two versions do not meet in it. */
  private static String version() throws IOException {
    Properties properties = new Properties();
    try (InputStream in = resource("tokenizers.properties").openStream()) {
      properties.load(in);
    }
    return "tokenizers-" + properties.getProperty("version", "unknown");
  }

  private static List<Path> cacheDirectories() {
    List<Path> directories = new ArrayList<>();
    String xdg = System.getenv("XDG_CACHE_HOME");
    if (xdg != null && !xdg.isEmpty()) {
      directories.add(Path.of(xdg, "baton"));
    }
    String home = System.getProperty("user.home", "");
    if (!home.isEmpty()) {
      directories.add(Path.of(home, ".cache", "baton"));
    }
    String user = System.getProperty("user.name", "user").replaceAll("[^A-Za-z0-9._-]", "_");
    directories.add(Path.of(System.getProperty("java.io.tmpdir", "/tmp"), "baton-" + user));
    return directories;
  }

  /**
   * Creates the directory for this user alone if it is missing; refuses one that belongs to someone
   * else, who could put another library there.
   */
  private static Path privateDirectory(Path directory) throws IOException {
    if (Files.notExists(directory, LinkOption.NOFOLLOW_LINKS)) {
      Path parent = directory.getParent();
      if (parent != null) {
        Files.createDirectories(parent);
      }
      Files.createDirectories(
          directory,
          PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
    }
    Path probe = Files.createTempFile(directory, "owner", null);
    try {
      if (!Files.isDirectory(directory, LinkOption.NOFOLLOW_LINKS)
          || !Files.getOwner(directory).equals(Files.getOwner(probe))) {
        throw new IOException("belongs to someone else");
      }
    } finally {
      Files.delete(probe);
    }
    return directory;
  }

  /** The file in the directory, unpacked if it is not there whole. Safe among processes. */
  private static Path unpacked(URL resource, Path directory, String name) throws IOException {
    Path file = directory.resolve(name);
    URLConnection connection = resource.openConnection();
    try (InputStream in = connection.getInputStream()) {
      if (Files.isRegularFile(file) && Files.size(file) == connection.getContentLengthLong()) {
        return file;
      }
      Files.createDirectories(directory);
      Path part = Files.createTempFile(directory, name, ".part");
      try {
        Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
        Files.move(part, file, StandardCopyOption.ATOMIC_MOVE);
      } finally {
        Files.deleteIfExists(part);
      }
    }
    return file;
  }
}

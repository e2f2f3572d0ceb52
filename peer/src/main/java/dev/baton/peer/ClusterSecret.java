package dev.baton.peer;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.InvalidKeyException;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.HexFormat;
import java.util.Set;
import java.util.function.Consumer;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * What every process of a cluster knows and nobody else. Kept in a file that only its owner may
 * read; never logged, and never sent: what goes over the wire is derived from it. Immutable.
 */
public final class ClusterSecret {

  private static final int LEAST_CHARACTERS = 16;
  private static final int MOST_BYTES = 4096;
  private static final int MADE_BYTES = 32;
  private static final String ALGORITHM = "HmacSHA256";

  private final byte[] key;

  private ClusterSecret(byte[] key) {
    this.key = key;
  }

  /**
   * The secret of a text.
   *
   * @throws IllegalArgumentException when it is too short to be one
   */
  public static ClusterSecret of(String text) {
    String stripped = text.strip();
    if (stripped.length() < LEAST_CHARACTERS) {
      throw new IllegalArgumentException(
          "cluster secret: %d characters (expected: at least %d)"
              .formatted(stripped.length(), LEAST_CHARACTERS));
    }
    return new ClusterSecret(stripped.getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Reads a file that must be there; white space around the secret does not count.
   *
   * @param notes hears a line when others may read the file
   * @throws IllegalArgumentException naming file and fault
   */
  public static ClusterSecret read(Path file, Consumer<String> notes) {
    try {
      if (Files.size(file) > MOST_BYTES) {
        throw new IllegalArgumentException(
            "cluster secret: %s has %d bytes (expected: at most %d)"
                .formatted(file, Files.size(file), MOST_BYTES));
      }
      ClusterSecret secret = of(Files.readString(file));
      warnOfReaders(file, notes);
      return secret;
    } catch (NoSuchFileException e) {
      throw new IllegalArgumentException(
          "cluster secret: no file %s (expected: one, the same for router and workers)"
              .formatted(file),
          e);
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "cluster secret: %s cannot be read: %s".formatted(file, e.getMessage()), e);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(e.getMessage() + ", in " + file, e);
    }
  }

  /**
   * Reads a file, or makes it with a new random secret, readable by its owner alone. Processes that
   * start at the same time agree on one secret.
   *
   * @param notes hears a line when it was made, or when others may read it
   * @throws IllegalArgumentException naming file and fault
   */
  public static ClusterSecret readOrMake(Path file, Consumer<String> notes) {
    if (!Files.exists(file)) {
      try {
        make(file, notes);
      } catch (IOException e) {
        throw new IllegalArgumentException(
            "cluster secret: %s cannot be made: %s".formatted(file, e), e);
      }
    }
    return read(file, notes);
  }

  private static void make(Path file, Consumer<String> notes) throws IOException {
    Path directory = file.toAbsolutePath().getParent();
    Files.createDirectories(directory);
    byte[] random = new byte[MADE_BYTES];
    new SecureRandom().nextBytes(random);
    Path draft =
        Files.createTempFile(
            directory,
            "secret",
            "",
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
    try {
      Files.writeString(draft, HexFormat.of().formatHex(random) + "\n");
      try (FileChannel channel = FileChannel.open(draft, StandardOpenOption.WRITE)) {
        channel.force(true);
      }
      // A link appears whole or not at all, and never over one that is there.
      Files.createLink(file, draft);
      notes.accept("cluster secret: made " + file);
    } catch (FileAlreadyExistsException e) {
      notes.accept("cluster secret: another process has just made " + file);
    } finally {
      Files.delete(draft);
    }
  }

  private static void warnOfReaders(Path file, Consumer<String> notes) throws IOException {
    if (!Files.getFileStore(file).supportsFileAttributeView("posix")) {
      return;
    }
    Set<PosixFilePermission> permissions = Files.getPosixFilePermissions(file);
    if (permissions.contains(PosixFilePermission.OTHERS_READ)
        || permissions.contains(PosixFilePermission.OTHERS_WRITE)) {
      notes.accept(
          "cluster secret: %s has mode %s (expected: readable by its owner alone, chmod 600)"
              .formatted(file, PosixFilePermissions.toString(permissions)));
    }
  }

  /** A proof of knowing the secret, for one purpose; hexadecimal. */
  String proof(String purpose) {
    try {
      Mac mac = Mac.getInstance(ALGORITHM);
      mac.init(new SecretKeySpec(key, ALGORITHM));
      return HexFormat.of().formatHex(mac.doFinal(purpose.getBytes(StandardCharsets.UTF_8)));
    } catch (NoSuchAlgorithmException | InvalidKeyException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Tells nothing. */
  @Override
  public String toString() {
    return "cluster secret";
  }
}

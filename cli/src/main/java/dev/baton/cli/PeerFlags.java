package dev.baton.cli;

import dev.baton.peer.ClusterSecret;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;

/** How a process proves to the others that it is of their cluster. */
final class PeerFlags {

  @Option(
      names = "--cluster-secret-file",
      paramLabel = "FILE",
      description =
          "Secret that router and workers share. Default: $BATON_CLUSTER_SECRET_FILE, else"
              + " ~/.config/baton/cluster-secret, made when it is not there.")
  @Nullable Path file;

  /** Reads the file that was named, which must be there, or this user's own. */
  ClusterSecret secret() {
    try {
      Path named = named();
      return named == null
          ? ClusterSecret.readOrMake(ofUser(), PeerFlags::note)
          : ClusterSecret.read(named, PeerFlags::note);
    } catch (IllegalArgumentException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    }
  }

  private static void note(String line) {
    System.err.println("baton: " + line);
  }

  private @Nullable Path named() {
    if (file != null) {
      return file.toAbsolutePath();
    }
    String variable = System.getenv("BATON_CLUSTER_SECRET_FILE");
    return variable == null || variable.isEmpty() ? null : Path.of(variable).toAbsolutePath();
  }

  private static Path ofUser() {
    String xdg = System.getenv("XDG_CONFIG_HOME");
    Path configuration =
        xdg == null || xdg.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".config")
            : Path.of(xdg);
    return configuration.resolve("baton").resolve("cluster-secret");
  }
}

package dev.baton.peer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ClusterSecretTest {

  private static final String TEXT = "a secret of some length";

  private final List<String> notes = new CopyOnWriteArrayList<>();

  @TempDir private Path directory;

  @Test
  void isMadeOnceAndReadableByItsOwnerAlone() throws Exception {
    Path file = directory.resolve("new").resolve("cluster-secret");
    String first = ClusterSecret.readOrMake(file, notes::add).proof("p");
    assertThat(ClusterSecret.readOrMake(file, notes::add).proof("p")).isEqualTo(first);
    assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
        .isEqualTo("rw-------");
    try (var files = Files.list(file.getParent())) {
      assertThat(files).containsExactly(file);
    }
  }

  @Test
  void processesThatStartTogetherAgree() throws Exception {
    Path file = directory.resolve("cluster-secret");
    try (ExecutorService starters = Executors.newFixedThreadPool(8)) {
      List<Future<String>> proofs = new ArrayList<>();
      for (int i = 0; i < 32; i++) {
        proofs.add(starters.submit(() -> ClusterSecret.readOrMake(file, notes::add).proof("p")));
      }
      Set<String> different = new HashSet<>();
      for (Future<String> proof : proofs) {
        different.add(proof.get());
      }
      assertThat(different).hasSize(1);
    }
  }

  @Test
  void whiteSpaceAroundItDoesNotCount() throws Exception {
    Path file = directory.resolve("s");
    Files.writeString(file, "\n " + TEXT + " \n");
    assertThat(ClusterSecret.read(file, notes::add).proof("p"))
        .isEqualTo(ClusterSecret.of(TEXT).proof("p"))
        .isNotEqualTo(ClusterSecret.of(TEXT).proof("q"))
        .isNotEqualTo(ClusterSecret.of(TEXT + "!").proof("p"));
  }

  @Test
  void whatIsNoSecretIsRefusedByName() throws Exception {
    assertThatThrownBy(() -> ClusterSecret.read(directory.resolve("none"), notes::add))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no file " + directory.resolve("none"));
    Path small = directory.resolve("small");
    Files.writeString(small, "0123456789abcde\n");
    assertThatThrownBy(() -> ClusterSecret.read(small, notes::add))
        .hasMessage("cluster secret: 15 characters (expected: at least 16), in " + small);
    Path large = directory.resolve("large");
    Files.writeString(large, "x".repeat(4097));
    assertThatThrownBy(() -> ClusterSecret.read(large, notes::add))
        .hasMessageContaining("at most 4096");
    assertThatThrownBy(() -> ClusterSecret.read(directory, notes::add))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(directory.toString());
  }

  @Test
  void aFileThatOthersMayReadIsTold() throws Exception {
    Path file = directory.resolve("open");
    Files.writeString(file, TEXT);
    Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r--r--"));
    ClusterSecret.read(file, notes::add);
    assertThat(notes).singleElement().asString().contains("rw-r--r--").doesNotContain(TEXT);
  }

  @Test
  void isNeverShown() {
    ClusterSecret secret = ClusterSecret.of(TEXT);
    assertThat(secret.toString()).doesNotContain(TEXT);
    assertThat(secret.proof("p")).doesNotContain(TEXT);
  }
}

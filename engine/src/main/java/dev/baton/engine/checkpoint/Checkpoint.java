package dev.baton.engine.checkpoint;

import dev.baton.engine.EngineException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The tensors of a model directory, mapped: model.safetensors, or the shards that
 * model.safetensors.index.json names. Closing it unmaps them all; no thread may read a tensor then.
 */
public final class Checkpoint implements TensorSource, AutoCloseable {

  private static final String SINGLE = "model.safetensors";
  private static final String INDEX = "model.safetensors.index.json";

  /** Printable ASCII without separators: a valid file name under any locale. */
  private static final Pattern SHARD_NAME = Pattern.compile("[ -~&&[^/\\\\]]+\\.safetensors");

  /** Bytes of a tensor whose pages are worth a system call. */
  private static final long LARGE = 1 << 20;

  private final Path directory;
  private final Arena arena = Arena.ofShared();
  private SortedMap<String, CheckpointTensor> tensors = new TreeMap<>();

  private Checkpoint(Path directory) {
    this.directory = directory;
  }

  /**
   * Opens the checkpoint of a model, in whatever form it was saved. Throws BAD_MODEL when a file is
   * missing or wrong, or when the tensors are not those of the config.
   */
  public static Checkpoint open(Path directory, ModelConfig config) {
    Checkpoint checkpoint = open(directory);
    try {
      checkpoint.tensors = CheckpointForms.unify(checkpoint.tensors, config);
      config.architecture().check(config, checkpoint);
      checkpoint.requireTied(config);
      return checkpoint;
    } catch (RuntimeException | Error e) {
      checkpoint.close();
      throw e;
    }
  }

  /** A config that ties two tables which differ is wrong about the model. */
  private void requireTied(ModelConfig config) {
    CheckpointTensor head = config.tiedEmbeddings() ? find(TensorNames.LM_HEAD) : null;
    if (head != null && head.data().mismatch(get(TensorNames.EMBEDDING).data()) >= 0) {
      throw bad(
          "%s: %s: differs from %s (expected: the same, or tie_word_embeddings false)"
              .formatted(directory, TensorNames.LM_HEAD, TensorNames.EMBEDDING));
    }
  }

  /** Tensors as they are stored, checked against nothing but themselves. */
  static Checkpoint open(Path directory) {
    Checkpoint checkpoint = new Checkpoint(directory);
    try {
      checkpoint.readAll();
      return checkpoint;
    } catch (RuntimeException | Error e) {
      checkpoint.close();
      throw e;
    }
  }

  public Path directory() {
    return directory;
  }

  /** Sorted. */
  public Collection<String> names() {
    return Collections.unmodifiableSet(tensors.keySet());
  }

  public @Nullable CheckpointTensor find(String name) {
    return tensors.get(name);
  }

  /** A tensor that {@link Architecture#check} has found to be there; valid until closed. */
  @Override
  public CheckpointTensor get(String name) {
    CheckpointTensor tensor = find(name);
    if (tensor == null) {
      throw bad("%s: %s: missing".formatted(directory, name));
    }
    return tensor;
  }

  /** Its pages stay in the page cache, but are this process's no longer. */
  @Override
  public void release(CheckpointTensor tensor) {
    if (tensor.data().isMapped() && tensor.data().byteSize() >= LARGE) {
      tensor.data().unload();
    }
  }

  @Override
  public void close() {
    arena.close();
  }

  private void readAll() {
    if (Files.isRegularFile(directory.resolve(SINGLE))) {
      readFile(SINGLE);
    } else if (Files.isRegularFile(directory.resolve(INDEX))) {
      readShards(directory.resolve(INDEX));
    } else {
      throw bad("%s: no weights (expected: %s or %s)".formatted(directory, SINGLE, INDEX));
    }
  }

  private void readFile(String file) {
    for (CheckpointTensor each : SafetensorsFile.read(directory.resolve(file), arena)) {
      if (tensors.putIfAbsent(each.name(), each) != null) {
        throw bad("%s: %s: %s is in another shard already".formatted(directory, file, each.name()));
      }
    }
  }

  private void readShards(Path index) {
    JsonObject map = JsonObject.read(index).object("weight_map");
    SortedSet<String> files = new TreeSet<>();
    for (String tensor : map.names()) {
      String file = map.string(tensor);
      // A shard lies beside its index; anything else would let a model name files of the host.
      if (!SHARD_NAME.matcher(file).matches()) {
        throw map.bad(tensor, "the name of a .safetensors file beside the index");
      }
      files.add(file);
    }
    files.forEach(this::readFile);
    for (String tensor : map.names()) {
      if (!tensors.containsKey(tensor)) {
        throw map.bad(tensor, "a file that has this tensor");
      }
    }
  }

  private static EngineException bad(String message) {
    return new EngineException(EngineException.Kind.BAD_MODEL, message);
  }
}

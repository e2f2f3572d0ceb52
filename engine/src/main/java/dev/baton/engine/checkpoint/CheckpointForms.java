package dev.baton.engine.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;

/**
 * The forms in which checkpoints of one architecture are saved, brought to the one that {@link
 * TensorNames} describes. No data is copied: an expert is a view into its layer's tensor.
 *
 * <ul>
 *   <li>A base model's: no name begins with {@code model.}.
 *   <li>Of tied weights transformers takes the output layer's for the embedding where that is not
 *       there.
 *   <li>Transformers 5 may keep the experts of a layer in two tensors, {@code experts.gate_up_proj
 *       [experts, 2 * intermediate, hidden]}, gates first, and {@code experts.down_proj [experts,
 *       hidden, intermediate]}; Mixtral's mixture is then called {@code mlp}.
 * </ul>
 */
final class CheckpointForms {

  private static final String PREFIX = "model.";

  private final ModelConfig config;
  private final SortedMap<String, CheckpointTensor> tensors = new TreeMap<>();

  private CheckpointForms(ModelConfig config) {
    this.config = config;
  }

  /** What is in none of these forms keeps its name. */
  static SortedMap<String, CheckpointTensor> unify(
      Map<String, CheckpointTensor> stored, ModelConfig config) {
    CheckpointForms forms = new CheckpointForms(config);
    boolean bare = stored.keySet().stream().noneMatch(name -> name.startsWith(PREFIX));
    stored.forEach(
        (name, tensor) -> {
          boolean inside = bare && !name.equals(TensorNames.LM_HEAD);
          forms.put(tensor.as(inside ? PREFIX + name : name, tensor.shape(), tensor.data()));
        });
    if (config.tiedEmbeddings()) {
      forms.tie();
    }
    if (config.mixture() != null) {
      config.mixture().layers().forEach(layer -> forms.splitExperts(layer, config.mixture()));
    }
    return forms.tensors;
  }

  private void put(CheckpointTensor tensor) {
    tensors.put(tensor.name(), tensor);
  }

  private void tie() {
    CheckpointTensor head = tensors.get(TensorNames.LM_HEAD);
    if (head != null && !tensors.containsKey(TensorNames.EMBEDDING)) {
      tensors.remove(head.name());
      put(head.as(TensorNames.EMBEDDING, head.shape(), head.data()));
    }
  }

  private void splitExperts(int layer, Mixture mixture) {
    String fused = "model.layers." + layer + ".mlp.";
    TensorNames names = new TensorNames(layer);
    int hidden = config.hiddenSize();
    int inner = mixture.innerSize();
    CheckpointTensor gatesAndUps =
        take(fused + "experts.gate_up_proj", List.of(mixture.experts(), 2 * inner, hidden));
    CheckpointTensor downs =
        take(fused + "experts.down_proj", List.of(mixture.experts(), hidden, inner));
    for (int expert = 0; expert < mixture.experts(); expert++) {
      TensorNames.Expert own = names.expert(config.architecture(), expert);
      if (gatesAndUps != null) {
        put(part(gatesAndUps, 2 * expert, own.gate(), List.of(inner, hidden)));
        put(part(gatesAndUps, 2 * expert + 1, own.up(), List.of(inner, hidden)));
      }
      if (downs != null) {
        put(part(downs, expert, own.down(), List.of(hidden, inner)));
      }
    }
    String router = names.router(config.architecture());
    CheckpointTensor renamed = tensors.get(fused + "gate.weight");
    if (renamed != null && !tensors.containsKey(router)) {
      tensors.remove(renamed.name());
      put(renamed.as(router, renamed.shape(), renamed.data()));
    }
  }

  /** Null when it is not there or has another shape; then the check of names says so. */
  private @Nullable CheckpointTensor take(String name, List<Integer> shape) {
    CheckpointTensor tensor = tensors.get(name);
    return tensor != null && tensor.shape().equals(shape) ? tensors.remove(name) : null;
  }

  /** The part of that number, of parts of this shape. */
  private static CheckpointTensor part(
      CheckpointTensor whole, int number, String name, List<Integer> shape) {
    long bytes = (long) shape.get(0) * shape.get(1) * whole.dtype().bytes();
    MemorySegment data = whole.data().asSlice(number * bytes, bytes);
    return whole.as(name, shape, data);
  }
}

package dev.baton.engine.checkpoint;

/** Where a model's tensors come from: files, or a generator of random ones. */
public interface TensorSource {

  /**
   * A tensor of the model, by its name in checkpoints. May be called by any thread. The data of the
   * last two calls of a thread stay as they are; earlier ones may be overwritten, so they are
   * packed or converted first.
   */
  CheckpointTensor get(String name);

  /** The tensor will hardly be read again soon: what it takes of memory may go. By any thread. */
  default void release(CheckpointTensor tensor) {}
}

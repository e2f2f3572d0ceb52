package dev.baton.engine.checkpoint;

/** Where a model's tensors come from: files, or a generator of random ones. */
public interface TensorSource {

  /**
   * A tensor of the model, by its name in checkpoints. May be called by any thread. The data may be
   * overwritten by the same thread's next call, so it is packed or converted first.
   */
  CheckpointTensor get(String name);
}

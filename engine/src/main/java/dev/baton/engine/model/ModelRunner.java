package dev.baton.engine.model;

import dev.baton.device.DeviceHealth;
import dev.baton.device.DeviceSlabs;
import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.TokenChoice;
import dev.baton.device.host.HostTokenChoice;
import dev.baton.engine.ModelInfo;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/**
 * A loaded model on its device and ranks: runs one step at a time over its own KV blocks. The step
 * thread calls everything but {@link #packKv} and {@link #unpackKv}, which are for any thread.
 * Which block belongs to whom is the caller's business.
 */
public interface ModelRunner extends AutoCloseable {

  ModelInfo model();

  /** KV blocks of the pool; every rank holds its part of each. */
  int blocks();

  int blockTokens();

  /** Positions that every layer sees back, counting the token's own; 0 = one or more see all. */
  int window();

  /** Bytes of host memory that copies of preempted sessions' KV may take. */
  long swapBytes();

  /** Most rows of one step that get logits. */
  int logitRows();

  /** Passes over the logits that {@link #run} returns; for the step thread. */
  LogitScan logitScan();

  /** The batch of the next step; filled and sealed by the caller before {@link #run}. */
  StepBatch batch();

  /**
   * Runs the forward pass of the sealed batch on all ranks and waits for them. Also stores the KV
   * of every token of the batch. A failure leaves the runner unusable.
   *
   * @return logits {@code [batch().logitRows(), vocabularySize]} float32, row-major; valid until
   *     the next run
   */
  MemorySegment run();

  /** What chooses the tokens of steps; made once. */
  default TokenChoice openChoice() {
    return new HostTokenChoice(logitScan(), model().vocabularySize(), logitRows());
  }

  /**
   * As {@link #run()}, of a step whose rows of logits have orders.
   *
   * @param choice from {@link #openChoice}; its orders may be carried out with the pass
   * @return for {@link TokenChoice#choose} alone: where orders were carried out, logits stay on the
   *     device
   */
  default MemorySegment run(TokenChoice choice) {
    return run();
  }

  /** How the device's chips are. Any thread. */
  default DeviceHealth health() {
    return DeviceHealth.UNKNOWN;
  }

  /** Drawn by the device's chips since some moment; negative = not known. Any thread. */
  default double joules() {
    return -1;
  }

  /** The device's memory for slabs; null = none. */
  default @Nullable DeviceSlabs slabs() {
    return null;
  }

  /** Bytes of weights that a step reads; 0 = not known. */
  default long weightBytes() {
    return 0;
  }

  /**
   * Says which KV blocks are in use or will be next, so that their memory is there in time.
   *
   * @param blocks those of lower numbers
   */
  default void expectBlocks(int blocks) {}

  /** Rises while a step runs, layer by layer. Any thread. */
  default long progress() {
    return 0;
  }

  void packKv(int[] blockTable, SlabRegion region, MemorySegment slab);

  void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab);

  /** Stops the rank threads and frees the device. */
  @Override
  void close();
}

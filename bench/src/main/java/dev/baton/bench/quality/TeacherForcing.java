package dev.baton.bench.quality;

import dev.baton.device.StepBatch;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.MemorySegment;

/**
 * Runs a model over given tokens, whatever it would have said itself, and shows its logits at every
 * position. The step thread alone; owns the runner.
 */
final class TeacherForcing implements AutoCloseable {

  private final ModelRunner runner;
  private final int[] blockTable;

  /**
   * @param runner its pool holds {@code longest} tokens
   */
  TeacherForcing(ModelRunner runner, int longest) {
    this.runner = runner;
    this.blockTable = new int[Math.ceilDiv(longest, runner.blockTokens())];
    for (int i = 0; i < blockTable.length; i++) {
      blockTable[i] = i;
    }
  }

  ModelRunner runner() {
    return runner;
  }

  /**
   * Runs the positions {@code [from, to)} of a prompt; those before them must have been run last.
   *
   * @return logits {@code [to - from, vocabulary]} float32, valid until the next run
   */
  MemorySegment run(int[] prompt, int from, int to) {
    StepBatch batch = runner.batch();
    batch.begin();
    batch.addSequence(blockTable, Math.ceilDiv(to, runner.blockTokens()));
    for (int position = from; position < to; position++) {
      batch.addToken(prompt[position], position, true);
    }
    batch.seal();
    return runner.run();
  }

  @Override
  public void close() {
    runner.close();
  }
}

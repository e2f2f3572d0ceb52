package dev.baton.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Other programs that want a processor each, to show what an engine does when it does not have the
 * machine for itself: shells in an endless loop, of usual priority. They end with {@link #close},
 * and on their own soon after this process is gone, however it went.
 */
final class BusyProcesses implements AutoCloseable {

  /** About a second of counting between two looks at the parent. */
  private static final String LOOP =
      "parent=$PPID; while kill -0 $parent 2>/dev/null; do"
          + " i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; done";

  private final List<Process> processes = new ArrayList<>();

  private BusyProcesses() {}

  /**
   * @param count >= 0
   */
  static BusyProcesses start(int count) {
    BusyProcesses busy = new BusyProcesses();
    try {
      for (int i = 0; i < count; i++) {
        busy.processes.add(
            new ProcessBuilder("/bin/sh", "-c", LOOP)
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .redirectError(ProcessBuilder.Redirect.DISCARD)
                .start());
      }
    } catch (IOException e) {
      busy.close();
      throw new UncheckedIOException(e);
    }
    return busy;
  }

  /** How many still run. */
  long alive() {
    return processes.stream().filter(Process::isAlive).count();
  }

  /** Kills them and waits until they are gone: what is measured next has the machine again. */
  @Override
  public void close() {
    processes.forEach(Process::destroyForcibly);
    processes.forEach(process -> process.onExit().join());
  }
}

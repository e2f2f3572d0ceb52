package dev.baton.worker.step;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.BooleanSupplier;
import java.util.regex.Pattern;

/**
 * Whether the threads of this process that compute are at work, as Linux accounts for them: the
 * step thread, the ranks and the ranks' helpers, known by their names. They live as long as the
 * worker does, but helpers begin with the first step that wants them: so when all that are known
 * sleep, others are looked for. Several workers of one process are taken for one, which errs to the
 * safe side. Costs a read of some 20 microseconds for each of the threads. Any thread.
 */
public final class ComputingThreads implements BooleanSupplier {

  private static final Path TASKS = Path.of("/proc/self/task");

  /** Of step thread, ranks and the native helpers of a rank. */
  private static final Pattern NAMES =
      Pattern.compile("baton-step|baton-rank-\\d+|baton-r\\d+-\\d+");

  /** Of the kernel's accounts, for programs, on every machine that we run on. */
  private static final long TICK_NANOS = 10_000_000;

  /** A thread that only looks now and then whether it may go on uses less than this part. */
  private static final int LEAST_SHARE = 10;

  private List<Path> threads = List.of();
  private long usedTicks;
  private long lookedNanos = System.nanoTime();

  /**
   * Since the last look they have used a tenth of a processor together, or one of them runs now or
   * would if it could: it waits for a processor, a page or a disk. Also true when that cannot be
   * known.
   */
  @Override
  public synchronized boolean getAsBoolean() {
    try {
      return worked() || others();
    } catch (IOException e) {
      // A thread has ended, or accounts are not to be had here: they are looked for anew.
      threads = List.of();
      return true;
    }
  }

  private boolean worked() throws IOException {
    long ticks = 0;
    boolean asleep = true;
    for (Path thread : threads) {
      Account account = Account.of(Files.readString(thread, StandardCharsets.ISO_8859_1));
      ticks += account.ticks;
      asleep &= account.asleep;
    }
    long now = System.nanoTime();
    long used = (ticks - usedTicks) * TICK_NANOS;
    boolean worked = !asleep || used * LEAST_SHARE >= now - lookedNanos;
    usedTicks = ticks;
    lookedNanos = now;
    return worked;
  }

  /** There are others than were known, so that what was seen tells nothing. */
  private boolean others() throws IOException {
    List<Path> found = find();
    boolean others = !found.equals(threads) || found.isEmpty();
    threads = found;
    return others;
  }

  private static List<Path> find() throws IOException {
    List<Path> found = new ArrayList<>();
    try (DirectoryStream<Path> tasks = Files.newDirectoryStream(TASKS)) {
      for (Path task : tasks) {
        if (NAMES.matcher(name(task)).matches()) {
          found.add(task.resolve("stat"));
        }
      }
    }
    found.sort(Comparator.naturalOrder());
    return found;
  }

  /** Empty when the thread has just ended. */
  private static String name(Path task) throws IOException {
    try {
      return Files.readString(task.resolve("comm"), StandardCharsets.ISO_8859_1).strip();
    } catch (IOException e) {
      if (Files.exists(task)) {
        throw e;
      }
      return "";
    }
  }

  /**
   * A thread's line in proc(5).
   *
   * @param ticks that it has run
   * @param asleep it waits for an event, and neither for a processor nor for a disk
   */
  record Account(long ticks, boolean asleep) {

    /** Throws IllegalArgumentException for what is no such line. */
    static Account of(String line) {
      // A name may have spaces and brackets; the fields after it have neither.
      String[] fields = line.substring(line.lastIndexOf(')') + 1).strip().split(" ");
      if (fields.length < 13) {
        throw new IllegalArgumentException("stat: \"" + line + "\" (expected: as in proc(5))");
      }
      long ticks = Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
      return new Account(ticks, fields[0].equals("S"));
    }
  }
}

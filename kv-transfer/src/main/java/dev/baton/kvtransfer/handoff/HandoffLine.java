package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffStats;
import java.util.Locale;

/** How a completed hand-off reads in the log. */
final class HandoffLine {

  private HandoffLine() {}

  static String of(HandoffStats stats) {
    return String.format(
        Locale.ROOT,
        "%d bytes, %d slabs, %d resent, %.2f ms, %.2f GB/s",
        stats.bytes(),
        stats.slabs(),
        stats.resent(),
        stats.nanos() / 1e6,
        stats.bytes() / (double) Math.max(1, stats.nanos()));
  }
}

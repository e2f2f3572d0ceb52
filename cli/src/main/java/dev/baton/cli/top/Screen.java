package dev.baton.cli.top;

import dev.baton.proto.router.v1.ClusterSnapshot;
import dev.baton.proto.router.v1.SessionView;
import dev.baton.proto.router.v1.WorkerView;
import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.HandoffTotals;
import dev.baton.proto.worker.v1.Leak;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SlabLedger;
import dev.baton.proto.worker.v1.WorkerStatus;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Lays a snapshot out as lines of text. Rates are differences to the snapshot before; the first
 * screen has none. Not thread-safe.
 */
public final class Screen {

  private static final String NONE = "-";

  private @Nullable ClusterSnapshot before;

  /** The next screen, without trailing blanks; lines are as long as their content. */
  public List<String> lines(ClusterSnapshot now) {
    ClusterSnapshot last = before;
    before = now;
    double seconds = last == null ? 0 : (now.getAtMillis() - last.getAtMillis()) / 1000.0;
    Map<String, WorkerStatus> earlier = new HashMap<>();
    if (last != null) {
      last.getWorkersList()
          .forEach(w -> earlier.put(w.getRegistration().getWorkerId(), w.getStatus()));
    }
    List<String> lines = new ArrayList<>();
    lines.add(
        "%d workers, %d sessions, %d of them waiting"
            .formatted(now.getWorkersCount(), now.getActiveSessions(), now.getWaitingSessions()));
    lines.add("");
    lines.addAll(workers(now, earlier, seconds));
    lines.add("");
    lines.addAll(ledgers(now));
    lines.add("");
    lines.addAll(handoffs(now, earlier, seconds));
    lines.addAll(leaks(now));
    if (now.getSessionsCount() > 0) {
      lines.add("");
      lines.addAll(sessions(now));
    }
    return lines;
  }

  private static List<String> workers(
      ClusterSnapshot now, Map<String, WorkerStatus> earlier, double seconds) {
    Columns table =
        new Columns(
            "WORKER",
            "ROLE",
            "STATE",
            "MODEL",
            "TP",
            "RUN",
            "WAIT",
            "QUEUED",
            "STEP/S",
            "PROMPT/S",
            "TOKEN/S",
            "ADDRESS");
    for (WorkerView worker : now.getWorkersList()) {
      var registration = worker.getRegistration();
      WorkerStatus status = worker.getStatus();
      WorkerStatus past = earlier.get(registration.getWorkerId());
      table.add(
          registration.getWorkerId(),
          role(worker).name().toLowerCase(Locale.ROOT),
          state(worker),
          registration.getModel().getName(),
          Integer.toString(registration.getTensorParallel()),
          Integer.toString(status.getRunningSessions()),
          Integer.toString(status.getWaitingSessions()),
          Long.toString(status.getQueuedPromptTokens()),
          past == null ? NONE : rate(status.getSteps() - past.getSteps(), seconds),
          past == null
              ? NONE
              : rate(status.getPromptTokensTotal() - past.getPromptTokensTotal(), seconds),
          past == null
              ? NONE
              : rate(status.getGeneratedTokensTotal() - past.getGeneratedTokensTotal(), seconds),
          registration.getGrpcAddress());
    }
    return table.lines();
  }

  /** It may have changed since the registration. */
  private static Role role(WorkerView worker) {
    Role now = worker.getStatus().getRole();
    return now == Role.ROLE_UNSPECIFIED ? worker.getRegistration().getRole() : now;
  }

  private static String state(WorkerView worker) {
    if (worker.getStatus().getDraining()) {
      return "draining";
    }
    if (worker.getOpen()) {
      return "open";
    }
    return worker.getSilentMillis() >= 1000
        ? "silent %.1f s".formatted(worker.getSilentMillis() / 1000.0)
        : "closed";
  }

  private static List<String> ledgers(ClusterSnapshot now) {
    Columns table =
        new Columns(
            "BLOCKS OF",
            "OWNED",
            "RESERVED",
            "CACHED",
            "QUARANTINED",
            "FREE",
            "CAPACITY",
            "SLABS OUT",
            "SLABS IN");
    for (WorkerView worker : now.getWorkersList()) {
      BlockLedger ledger = worker.getStatus().getLedger();
      table.add(
          worker.getRegistration().getWorkerId(),
          Long.toString(ledger.getOwned()),
          Long.toString(ledger.getReserved()),
          Long.toString(ledger.getCached()),
          Long.toString(ledger.getQuarantined()),
          Long.toString(ledger.getFree()),
          Long.toString(worker.getRegistration().getBlockCapacity()),
          slabs(worker.getStatus().getSending()),
          slabs(worker.getStatus().getLanding()));
    }
    return table.lines();
  }

  /** Slabs in use, of how many; those given up, if any. */
  private static String slabs(SlabLedger ledger) {
    long capacity = ledger.getOwned() + ledger.getQuarantined() + ledger.getFree();
    return capacity == 0
        ? NONE
        : "%d/%d%s"
            .formatted(
                ledger.getOwned(),
                capacity,
                ledger.getQuarantined() == 0 ? "" : " lost " + ledger.getQuarantined());
  }

  private static List<String> handoffs(
      ClusterSnapshot now, Map<String, WorkerStatus> earlier, double seconds) {
    Columns table =
        new Columns(
            "HAND-OFFS OF",
            "SENT",
            "RECEIVED",
            "ABORTED",
            "CORRUPT",
            "BYTES OUT",
            "BYTES IN",
            "OUT/S",
            "IN/S");
    for (WorkerView worker : now.getWorkersList()) {
      HandoffTotals totals = worker.getStatus().getHandoffs();
      WorkerStatus past = earlier.get(worker.getRegistration().getWorkerId());
      HandoffTotals then = past == null ? totals : past.getHandoffs();
      table.add(
          worker.getRegistration().getWorkerId(),
          Long.toString(totals.getExported()),
          Long.toString(totals.getImported()),
          Long.toString(totals.getAborted()),
          Long.toString(totals.getCorruptSlabs()),
          bytes(totals.getExportedBytes()),
          bytes(totals.getImportedBytes()),
          past == null
              ? NONE
              : perSecond(totals.getExportedBytes(), then.getExportedBytes(), seconds),
          past == null
              ? NONE
              : perSecond(totals.getImportedBytes(), then.getImportedBytes(), seconds));
    }
    return table.lines();
  }

  /** Nothing as long as there is none. */
  private static List<String> leaks(ClusterSnapshot now) {
    Columns table = new Columns("LEAKED ON", "SESSION", "EPOCH", "WHAT", "COUNT", "REASON", "AGE");
    boolean any = false;
    for (WorkerView worker : now.getWorkersList()) {
      for (Leak leak : worker.getStatus().getLeaksList()) {
        any = true;
        table.add(
            worker.getRegistration().getWorkerId(),
            leak.getSessionId(),
            Integer.toString(leak.getEpoch()),
            leak.getWhat(),
            Long.toString(leak.getCount()),
            leak.getReason(),
            "%.1f s".formatted(leak.getAgeMillis() / 1000.0));
      }
    }
    List<String> lines = new ArrayList<>();
    if (any) {
      lines.add("");
      lines.addAll(table.lines());
    }
    return lines;
  }

  private static List<String> sessions(ClusterSnapshot now) {
    Columns table =
        new Columns(
            "SESSION",
            "MODEL",
            "EPOCH",
            "PREFILL",
            "DECODE",
            "PROMPT",
            "GENERATED",
            "AGE",
            "JOULES");
    for (SessionView session : now.getSessionsList()) {
      table.add(
          session.getSessionId(),
          session.getModel(),
          session.getEpoch() == 0 ? "waits" : Integer.toString(session.getEpoch()),
          session.getPrefillWorker().isEmpty() ? NONE : session.getPrefillWorker(),
          session.getDecodeWorker().isEmpty() ? NONE : session.getDecodeWorker(),
          Integer.toString(session.getPromptTokens()),
          Integer.toString(session.getGeneratedTokens()),
          "%.1f s".formatted(session.getAgeMillis() / 1000.0),
          session.hasJoules() ? "%.1f".formatted(session.getJoules()) : NONE);
    }
    int unlisted = now.getActiveSessions() - now.getSessionsCount();
    List<String> lines = new ArrayList<>(table.lines());
    if (unlisted > 0) {
      lines.add("and %d more".formatted(unlisted));
    }
    return lines;
  }

  private static String rate(long count, double seconds) {
    // A worker that came back counts from 0 again.
    return seconds <= 0 || count < 0 ? NONE : "%.0f".formatted(count / seconds);
  }

  private static String perSecond(long now, long then, double seconds) {
    return seconds <= 0 || now < then ? NONE : bytes((long) ((now - then) / seconds));
  }

  private static String bytes(long bytes) {
    if (bytes < 1024) {
      return bytes + " B";
    }
    double value = bytes;
    String unit = "";
    for (String next : List.of("KiB", "MiB", "GiB", "TiB")) {
      if (value < 1024) {
        break;
      }
      value /= 1024;
      unit = next;
    }
    return "%.1f %s".formatted(value, unit);
  }
}

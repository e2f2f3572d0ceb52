package dev.baton.cli.top;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.proto.router.v1.ClusterSnapshot;
import dev.baton.proto.router.v1.SessionView;
import dev.baton.proto.router.v1.WorkerView;
import dev.baton.proto.worker.v1.BlockLedger;
import dev.baton.proto.worker.v1.HandoffTotals;
import dev.baton.proto.worker.v1.Leak;
import dev.baton.proto.worker.v1.ModelIdentity;
import dev.baton.proto.worker.v1.Registration;
import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SlabLedger;
import dev.baton.proto.worker.v1.WorkerStatus;
import org.junit.jupiter.api.Test;

class ScreenTest {

  private static WorkerView worker(long tokens, long bytes) {
    return WorkerView.newBuilder()
        .setRegistration(
            Registration.newBuilder()
                .setWorkerId("decode-1")
                .setRole(Role.DECODE)
                .setGrpcAddress("127.0.0.1:5")
                .setTensorParallel(2)
                .setBlockCapacity(100)
                .setModel(ModelIdentity.newBuilder().setName("m")))
        .setStatus(
            WorkerStatus.newBuilder()
                .setRunningSessions(3)
                .setGeneratedTokensTotal(tokens)
                .setLedger(BlockLedger.newBuilder().setOwned(7).setFree(93))
                .setSending(SlabLedger.newBuilder().setOwned(1).setFree(15))
                .setHandoffs(HandoffTotals.newBuilder().setImported(4).setImportedBytes(bytes)))
        .setOpen(true)
        .build();
  }

  private static ClusterSnapshot snapshot(long atMillis, WorkerView worker) {
    return ClusterSnapshot.newBuilder()
        .setAtMillis(atMillis)
        .addWorkers(worker)
        .setActiveSessions(2)
        .addSessions(
            SessionView.newBuilder()
                .setSessionId("s1")
                .setModel("m")
                .setEpoch(2)
                .setDecodeWorker("decode-1")
                .setPromptTokens(10)
                .setGeneratedTokens(5)
                .setAgeMillis(1500)
                .setJoules(12.34))
        .build();
  }

  @Test
  void showsWorkersBlocksHandOffsAndSessions() {
    assertThat(new Screen().lines(snapshot(0, worker(0, 0))))
        .contains("1 workers, 2 sessions, 0 of them waiting", "and 1 more")
        .anyMatch(line -> line.matches("decode-1 +decode +open +m +2 +3 +0 +0( +-){3} +127.*:5"))
        .anyMatch(line -> line.matches("decode-1 +7 +0 +0 +0 +93 +100 +1/16 +-"))
        .anyMatch(line -> line.matches("decode-1 +0 +4 +0 +0 +0 B +0 B +- +-"))
        .anyMatch(line -> line.matches("s1 +m +2 +- +decode-1 +10 +5 +1.5 s +12.3"));
  }

  @Test
  void ratesAreDifferencesToTheLookBefore() {
    Screen screen = new Screen();
    screen.lines(snapshot(10_000, worker(100, 1 << 20)));
    assertThat(screen.lines(snapshot(12_000, worker(500, 5 << 20))))
        .anyMatch(line -> line.matches("decode-1 +decode +open .* 0 +0 +200 +127.*"))
        .anyMatch(line -> line.matches("decode-1 +0 +4 .* 5.0 MiB +0 B +2.0 MiB"));
  }

  @Test
  void aWorkerThatCameBackHasNoNegativeRate() {
    Screen screen = new Screen();
    screen.lines(snapshot(10_000, worker(100, 1 << 20)));
    assertThat(screen.lines(snapshot(12_000, worker(0, 0))))
        .noneMatch(line -> line.matches(".* -\\d.*"));
  }

  @Test
  void namesWhatIsLeaked() {
    assertThat(new Screen().lines(snapshot(0, worker(0, 0))))
        .noneMatch(line -> line.contains("LEAKED"));
    WorkerView.Builder leaking = worker(0, 0).toBuilder();
    leaking
        .getStatusBuilder()
        .addLeaks(
            Leak.newBuilder()
                .setSessionId("s9")
                .setEpoch(2)
                .setWhat("blocks")
                .setCount(3)
                .setReason("HANDOFF")
                .setAgeMillis(12_300));
    assertThat(new Screen().lines(snapshot(0, leaking.build())))
        .anyMatch(line -> line.startsWith("LEAKED ON"))
        .anyMatch(line -> line.matches("decode-1 +s9 +2 +blocks +3 +HANDOFF +12.3 s"));
  }

  @Test
  void showsTheRoleThatAWorkerHasNow() {
    WorkerView.Builder changed = worker(0, 0).toBuilder();
    changed.getStatusBuilder().setRole(Role.BOTH);
    assertThat(new Screen().lines(snapshot(0, changed.build())))
        .anyMatch(line -> line.matches("decode-1 +both +open .*"));
  }

  @Test
  void tellsASilentAndADrainingWorker() {
    WorkerView silent = worker(0, 0).toBuilder().setOpen(false).setSilentMillis(1300).build();
    assertThat(new Screen().lines(snapshot(0, silent))).anyMatch(l -> l.contains("silent 1.3 s"));
    WorkerView.Builder draining = worker(0, 0).toBuilder().setOpen(false);
    draining.getStatusBuilder().setDraining(true);
    assertThat(new Screen().lines(snapshot(0, draining.build())))
        .anyMatch(l -> l.contains("draining"));
  }
}

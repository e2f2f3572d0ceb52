package dev.baton.cli;

import dev.baton.cli.lifecycle.StopSignals;
import dev.baton.decodeservice.DecodeService;
import dev.baton.device.OutOfDeviceMemoryException;
import dev.baton.engine.EngineException;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.KvPrecision;
import dev.baton.engine.Precision;
import dev.baton.engine.Quantization;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.prefillservice.PrefillService;
import dev.baton.prefillservice.PrefixService;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.Worker;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.WorkerOptions;
import io.grpc.BindableService;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Function;

/** A worker in the foreground: from the command line to the exit code. */
final class WorkerProcess {

  /** An exit that was asked for twice. */
  private static final int STOPPED_AT_ONCE = 143;

  /** Its sessions can still be moved. */
  private static final int SICK = 2;

  private WorkerProcess() {}

  /**
   * Serves until SIGTERM, then drains; a second SIGTERM ends at once.
   *
   * @return 0 after draining, 1 when the worker can never serve again
   */
  static int run(
      Role role, WorkerFlags flags, EngineFlags engine, PeerFlags peers, ProcessFlags process)
      throws InterruptedException {
    CompletableFuture<Integer> end = new CompletableFuture<>();
    StopSignals.install(
        () -> end.complete(0),
        () -> Runtime.getRuntime().halt(STOPPED_AT_ONCE),
        !process.exitWithParent);
    WorkerOptions options = options(role, flags, engine).withClusterSecret(peers.secret());
    try (Worker worker = start(options)) {
      worker
          .fatal()
          .thenAccept(
              reason -> {
                System.err.println("baton: " + reason);
                end.complete(1);
              });
      worker
          .sick()
          .thenAccept(
              reason -> {
                System.err.println("baton: draining, for its hardware is sick: " + reason);
                end.complete(SICK);
              });
      int code = end.get();
      if (code != 1) {
        worker.drainAndClose(options.drainGrace());
      }
      return code == SICK ? 1 : code;
    } catch (ExecutionException e) {
      throw new IllegalStateException(e);
    }
  }

  static Worker start(WorkerOptions options) {
    try {
      return Worker.start(options, services());
    } catch (IOException
        | EngineException
        | OutOfDeviceMemoryException
        | IllegalArgumentException
        | IllegalStateException e) {
      throw CommandFailure.failed(String.valueOf(e.getMessage()));
    }
  }

  /** Of both roles, whatever it begins with: the role of a worker may change. */
  private static List<Function<WorkerContext, BindableService>> services() {
    return List.of(PrefillService::create, DecodeService::create, PrefixService::create);
  }

  static WorkerOptions options(Role role, WorkerFlags flags, EngineFlags engine) {
    String host = WorkerEnvironment.resolve(flags.host);
    WorkerOptions options =
        WorkerOptions.of(role, flags.router, engineOptions(flags, engine))
            .withHost(host)
            .withGrpcPort(flags.grpcPort)
            .withMetricsPort(flags.metricsPort)
            .withDrainGrace(Duration.ofSeconds(flags.drainGrace))
            .withVersion(ProgramVersion.text());
    if (flags.registerAs != null) {
      options = options.withRegisterAs(flags.registerAs);
    }
    Optional<TransferOptions> transfer = options.transfer();
    return transfer.isPresent() && flags.transferPort > 0
        ? options.withTransfer(transfer.get().withPort(flags.transferPort))
        : options;
  }

  private static EngineOptions engineOptions(WorkerFlags flags, EngineFlags engine) {
    if (engine.checkLedger) {
      // The pools of slabs read it too.
      System.setProperty(EngineOptions.CHECK_LEDGER, "true");
    }
    EngineOptions options =
        engine
            .device
            .in(EngineOptions.of(Options.modelDirectory(flags.model)))
            .withPrecision(Precision.valueOf(engine.dtype.name()))
            .withQuantization(Quantization.valueOf(engine.quantize.name()))
            .withKvPrecision(KvPrecision.valueOf(engine.kvDtype.name()))
            .withTensorParallel(flags.tensorParallel);
    if (engine.servedName != null) {
      options = options.withServedName(engine.servedName);
    }
    if (engine.blockTokens != null) {
      options = options.withBlockTokens(engine.blockTokens);
    }
    if (engine.kvCache != null) {
      options = options.withKvCacheBytes(engine.kvCache.bytes());
    }
    if (engine.stepTokens != null) {
      options = options.withStepTokens(engine.stepTokens);
    }
    if (engine.prefillChunk != null) {
      options = options.withPrefillChunk(engine.prefillChunk);
    }
    if (engine.maxStepMillis != null) {
      options = options.withMaxStepMillis(engine.maxStepMillis);
    }
    if (engine.maxSessions != null) {
      options = options.withMaxSessions(engine.maxSessions);
    }
    if (engine.contextLength != null) {
      options = options.withContextLength(engine.contextLength);
    }
    if (engine.swap != null) {
      options = options.withSwapBytes(engine.swap.bytes());
    }
    return options;
  }
}

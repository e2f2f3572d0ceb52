package dev.baton.bench.split;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.baton.bench.MeasuredProcess;
import dev.baton.bench.ModelMemory;
import dev.baton.bench.Shape;
import dev.baton.decodeservice.DecodeService;
import dev.baton.device.DType;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.engine.model.ModelLoader;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.ucx.UcxTransport;
import dev.baton.prefillservice.PrefillService;
import dev.baton.proto.worker.v1.Role;
import dev.baton.worker.SlabPlacement;
import dev.baton.worker.Worker;
import dev.baton.worker.WorkerOptions;
import dev.baton.worker.wire.HostPort;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.util.List;
import java.util.Optional;

/**
 * A worker of the measurement: the production worker on random weights, the same ones in every such
 * process. Arguments: role, the registry's address, shape, positions of a session. Says where its
 * gRPC server is; ends when stdin ends.
 */
public final class SplitPeer {

  private static final long SEED = 20_261_121;

  /** Sessions at a time: the one that is measured, and one whose release is under way. */
  private static final int SESSIONS = 4;

  private SplitPeer() {}

  /** The process. */
  public static void main(String[] arguments) throws IOException {
    Role role = Role.valueOf(arguments[0]);
    HostPort registry = HostPort.parse(arguments[1]);
    PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, UTF_8);
    try (Shape shape = Shape.open(arguments[2])) {
      EngineOptions options = options(shape, Integer.parseInt(arguments[3]));
      Engine engine = Engine.on(ModelLoader.random(options, SEED, _ -> {}), options);
      try (Worker worker =
          Worker.start(
              WorkerOptions.of(role, registry, options),
              engine,
              Optional.of(transfer(options, engine)),
              List.of(PrefillService::create, DecodeService::create))) {
        answers.println(MeasuredProcess.ANSWER + worker.grpcAddress());
        awaitEnd();
      }
    }
  }

  /** With slabs where a worker has them. */
  private static KvTransfer transfer(EngineOptions options, Engine engine) {
    TransferOptions transfer = TransferOptions.on(MeasuredProcess.HOST);
    UcxTransport ucx = KvTransferFactory.listen(transfer);
    return SlabPlacement.of(options.device(), ucx.knowsCuda()).open(transfer, ucx, engine);
  }

  private static EngineOptions options(Shape shape, int context) {
    EngineOptions options =
        EngineOptions.of(shape.directory())
            .withServedName(shape.name())
            .withMaxSessions(SESSIONS)
            .withContextLength(context)
            .withSwapBytes(0);
    DType declared = shape.config().dtype();
    DType stored = declared == null ? DType.BFLOAT16 : declared;
    long blocks = (long) SESSIONS * (Math.ceilDiv(context, options.blockTokens()) + 1L);
    return options.withKvCacheBytes(ModelMemory.kvBytes(shape.config(), stored, options, blocks));
  }

  private static void awaitEnd() throws IOException {
    try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, UTF_8))) {
      while (in.readLine() != null) {
        // Nothing is said but the end.
      }
    }
  }
}

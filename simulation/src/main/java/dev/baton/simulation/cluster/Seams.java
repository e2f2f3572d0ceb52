package dev.baton.simulation.cluster;

import dev.baton.engine.Engine;
import dev.baton.engine.model.ModelRunner;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.simulation.clock.Process;
import io.grpc.ClientInterceptor;
import io.grpc.ServerInterceptor;
import java.util.List;
import java.util.function.LongSupplier;

/**
 * Where the parts of a cluster meet. Every part that is given in may be wrapped: by tests that
 * break a promise of one part on purpose, to see that the others, or the oracle, notice. By default
 * everything stays as it is.
 */
public interface Seams {

  /** Nothing is wrapped. */
  Seams PLAIN = new Seams() {};

  default ModelRunner model(Process worker, ModelRunner model) {
    return model;
  }

  default Engine engine(Process worker, Engine engine) {
    return engine;
  }

  /** Between the hand-off service and the network. */
  default Transport transport(Process worker, Transport transport) {
    return transport;
  }

  /** Between a worker's attempts and its hand-off service. */
  default KvTransfer transfer(Process worker, KvTransfer transfer) {
    return transfer;
  }

  /** The clock of a worker's hand-offs. */
  default LongSupplier transferClock(Process worker, LongSupplier clock) {
    return clock;
  }

  /** Around the router's calls to workers. */
  default List<ClientInterceptor> routerCalls() {
    return List.of();
  }

  /** Around the calls that a worker takes. */
  default List<ServerInterceptor> workerCalls(Process worker) {
    return List.of();
  }
}

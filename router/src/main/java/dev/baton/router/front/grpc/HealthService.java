package dev.baton.router.front.grpc;

import dev.baton.proto.inference.v1.InferenceGrpc;
import dev.baton.router.generation.Generator;
import io.grpc.BindableService;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.protobuf.services.HealthStatusManager;

/**
 * grpc.health.v1 for load balancers and probes: the server as a whole (empty name) and the
 * Inference service serve while a new session could be placed.
 */
public final class HealthService {

  private final HealthStatusManager statuses = new HealthStatusManager();
  private final Generator generator;

  public HealthService(Generator generator) {
    this.generator = generator;
    refresh();
  }

  public BindableService service() {
    return statuses.getHealthService();
  }

  /** To be called from time to time; tells those who watch when something changed. */
  public void refresh() {
    ServingStatus status =
        generator.ready().isEmpty() ? ServingStatus.NOT_SERVING : ServingStatus.SERVING;
    statuses.setStatus(HealthStatusManager.SERVICE_NAME_ALL_SERVICES, status);
    statuses.setStatus(InferenceGrpc.SERVICE_NAME, status);
  }
}

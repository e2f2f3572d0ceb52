package dev.baton.worker.registry;

import dev.baton.peer.PeerAuthentication;
import dev.baton.worker.wire.HostPort;
import io.grpc.ManagedChannel;
import io.grpc.netty.NettyChannelBuilder;
import java.util.Optional;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/** The real network, and the thread {@code baton-registry}. */
public final class NettyNetwork implements RegistryLink.Network {

  private final ScheduledThreadPoolExecutor thread;
  private final Optional<PeerAuthentication> peers;

  /**
   * @param peers proves the cluster secret to the router; empty = the router asks for none
   */
  public NettyNetwork(Optional<PeerAuthentication> peers) {
    this.peers = peers;
    thread =
        new ScheduledThreadPoolExecutor(1, Thread.ofPlatform().name("baton-registry").factory());
    thread.setRemoveOnCancelPolicy(true);
    thread.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
  }

  @Override
  public ScheduledExecutorService thread() {
    return thread;
  }

  /**
   * Idle connections are pinged too: a router's host that vanishes sends no reset. gRPC's client
   * does not ping more often than every 10 s.
   */
  @Override
  public ManagedChannel connect(HostPort router) {
    return NettyChannelBuilder.forAddress(router.host(), router.port())
        .usePlaintext()
        .executor(thread)
        .keepAliveTime(10, TimeUnit.SECONDS)
        .keepAliveTimeout(5, TimeUnit.SECONDS)
        .intercept(peers.map(PeerAuthentication::client).stream().toList())
        .build();
  }
}

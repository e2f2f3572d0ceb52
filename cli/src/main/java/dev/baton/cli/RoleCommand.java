package dev.baton.cli;

import dev.baton.proto.worker.v1.Role;
import dev.baton.proto.worker.v1.SetWorkerRoleRequest;
import dev.baton.worker.wire.HostPort;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code baton role}: changes the role of a worker that runs, without loading anything anew. */
@Command(
    name = "role",
    mixinStandardHelpOptions = true,
    description = "Makes a running worker a prefill worker, a decode worker, or both.")
final class RoleCommand implements Callable<Integer> {

  /** As on the command line. */
  enum Choice {
    PREFILL,
    DECODE,
    BOTH
  }

  @Parameters(index = "0", paramLabel = "WORKER", description = "Its name, such as decode-7f3a9c.")
  String worker = "";

  @Parameters(index = "1", paramLabel = "ROLE", description = "prefill, decode or both.")
  Choice role = Choice.BOTH;

  @Option(
      names = "--router",
      paramLabel = "HOST:PORT",
      description = "The router's gRPC address. Default: 127.0.0.1:9090.")
  HostPort router = new HostPort("127.0.0.1", 9090);

  @Mixin PeerFlags peers = new PeerFlags();

  @Override
  public Integer call() {
    RouterCalls.call(
        router,
        peers,
        stub -> {
          Role now =
              stub.setWorkerRole(
                      SetWorkerRoleRequest.newBuilder()
                          .setWorkerId(worker)
                          .setRole(Role.valueOf(role.name()))
                          .build())
                  .getRole();
          System.out.printf("%s: %s%n", worker, now.name().toLowerCase(Locale.ROOT));
        });
    return 0;
  }
}

package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.wire.MessageCodec;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openucx.jucx.UcxCallback;
import org.openucx.jucx.UcxException;
import org.openucx.jucx.ucp.UcpContext;
import org.openucx.jucx.ucp.UcpEndpoint;
import org.openucx.jucx.ucp.UcpEndpointParams;
import org.openucx.jucx.ucp.UcpMemMapParams;
import org.openucx.jucx.ucp.UcpMemory;
import org.openucx.jucx.ucp.UcpParams;
import org.openucx.jucx.ucp.UcpRemoteKey;
import org.openucx.jucx.ucp.UcpWorker;
import org.openucx.jucx.ucp.UcpWorkerParams;

/**
 * A process that speaks plain UCX to a worker's port and knows an address of its memory: {@code
 * PORT ADDRESS}. It puts to the address, gets from it, floods the port with messages and
 * connections, and prints {@code done} and what it has read.
 */
final class HostileProcess {
  static final int BYTES = 4096;
  private static final int CONNECTIONS = 300;
  private static final int MESSAGES = 5000;

  private HostileProcess() {}

  public static void main(String[] arguments) throws Exception {
    InetSocketAddress target =
        new InetSocketAddress(PeerProcess.HOST, Integer.parseInt(arguments[0]));
    long address = Long.parseLong(arguments[1]);
    UcxLibrary.load();
    UcpContext context = new UcpContext(new UcpParams().requestAmFeature().requestRmaFeature());
    UcpWorker worker = context.newWorker(new UcpWorkerParams());
    MemorySegment own = Arena.global().allocate(2 * BYTES, 4096);
    own.asSlice(0, BYTES).fill((byte) 0x66);
    UcpMemory memory =
        context.memoryMap(
            new UcpMemMapParams().setAddress(own.address()).setLength(own.byteSize()));
    UcpEndpoint endpoint = endpoint(worker, target);
    UcpRemoteKey key = endpoint.unpackRemoteKey(memory.getRemoteKeyBuffer());
    endpoint.putNonBlocking(own.address(), BYTES, address, key, new Ignored());
    endpoint.getNonBlocking(address, key, own.address() + BYTES, BYTES, new Ignored());
    progress(worker, TimeUnit.SECONDS.toNanos(1));
    flood(worker, target, own);
    System.out.println("done " + own.get(ValueLayout.JAVA_BYTE, BYTES));
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }

  /** Endpoints that never say hello, and garbage on them, with payloads as eager as UCX lets it. */
  private static void flood(UcpWorker worker, InetSocketAddress target, MemorySegment payload)
      throws Exception {
    Random random = new Random(1);
    List<UcpEndpoint> endpoints = new ArrayList<>();
    for (int i = 0; i < CONNECTIONS; i++) {
      endpoints.add(endpoint(worker, target));
      worker.progress();
    }
    MemorySegment header = Arena.global().allocate(MessageCodec.MAX_BYTES);
    for (int i = 0; i < MESSAGES; i++) {
      header.set(ValueLayout.JAVA_INT, 0, random.nextInt());
      try {
        endpoints
            .get(random.nextInt(CONNECTIONS))
            .sendAmNonBlocking(
                random.nextInt(4) == 0 ? random.nextInt(1 << 16) : random.nextInt(80),
                header.address(),
                random.nextInt(MessageCodec.MAX_BYTES),
                payload.address(),
                random.nextInt(BYTES),
                0,
                new Ignored(),
                UcxLoop.hostMemory());
      } catch (UcxException e) {
        continue; // that endpoint has been closed
      }
      worker.progress();
    }
    progress(worker, TimeUnit.MILLISECONDS.toNanos(500));
  }

  private static UcpEndpoint endpoint(UcpWorker worker, InetSocketAddress target) {
    return worker.newEndpoint(
        new UcpEndpointParams()
            .setSocketAddress(target)
            .setPeerErrorHandlingMode()
            .setErrorHandler((_, _, _) -> {}));
  }

  private static void progress(UcpWorker worker, long nanos) throws Exception {
    long end = System.nanoTime() + nanos;
    while (System.nanoTime() - end < 0) {
      if (worker.progress() == 0) {
        Thread.yield();
      }
    }
  }

  /** The usual one throws when a request fails. */
  private static final class Ignored extends UcxCallback {
    @Override
    public void onError(int status, String message) {
      // Being thrown out is what it is for.
    }
  }
}

package dev.baton.kvtransfer.ucx;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.InetSocketAddress;
import org.jspecify.annotations.Nullable;
import org.openucx.jucx.UcxCallback;
import org.openucx.jucx.ucp.UcpAmData;
import org.openucx.jucx.ucp.UcpConnectionRequest;
import org.openucx.jucx.ucp.UcpConstants;
import org.openucx.jucx.ucp.UcpContext;
import org.openucx.jucx.ucp.UcpEndpoint;
import org.openucx.jucx.ucp.UcpEndpointParams;
import org.openucx.jucx.ucp.UcpListener;
import org.openucx.jucx.ucp.UcpListenerParams;
import org.openucx.jucx.ucp.UcpParams;
import org.openucx.jucx.ucp.UcpRequest;
import org.openucx.jucx.ucp.UcpWorker;
import org.openucx.jucx.ucp.UcpWorkerParams;
import org.openucx.jucx.ucs.UcsConstants;

/**
 * Plain active messages from one region of memory to another, for measurements: what UCX moves when
 * nothing is packed, checked or unpacked, with the same settings and the same rendezvous as {@link
 * UcxTransport}. One side is the receiver, the other the sender; each runs on its caller's thread
 * and spins, as benchmarks of UCX do. Not for production: whoever reaches the port may send.
 */
public final class UcxStream implements AutoCloseable {
  private static final int MESSAGE = 1;
  private static final int ALL_HERE = 2;
  private static final int HEADER_BYTES = 8;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment header = arena.allocate(HEADER_BYTES, 64);
  private final MemorySegment region;
  private final UcpContext context;
  private final UcpWorker worker;
  private @Nullable UcpListener listener;
  private @Nullable UcpEndpoint endpoint;
  private @Nullable String failure;
  private long next;
  private int landed;
  private int inFlight;
  private boolean answered;

  private UcxStream(MemorySegment region) {
    UcxLibrary.load();
    this.region = region;
    this.context = new UcpContext(new UcpParams().requestAmFeature());
    this.worker = context.newWorker(new UcpWorkerParams());
    header.set(ValueLayout.JAVA_LONG, 0, 1);
  }

  /**
   * A receiver on a free port of the host.
   *
   * @param region off-heap; messages land in it one after another, from its begin again at its end
   */
  public static UcxStream receiver(String host, MemorySegment region) {
    UcxStream stream = new UcxStream(region);
    stream.worker.setAmRecvHandler(MESSAGE, stream::arrived);
    stream.listener =
        stream.worker.newListener(
            new UcpListenerParams()
                .setSockAddr(new InetSocketAddress(host, 0))
                .setConnectionHandler(stream::accept));
    return stream;
  }

  /**
   * A sender to a receiver.
   *
   * @param region off-heap; messages are taken from it one after another
   */
  public static UcxStream sender(String host, int port, MemorySegment region) {
    UcxStream stream = new UcxStream(region);
    stream.worker.setAmRecvHandler(
        ALL_HERE,
        (_, _, _, _) -> {
          stream.answered = true;
          return UcsConstants.STATUS.UCS_OK;
        });
    stream.endpoint =
        stream.worker.newEndpoint(
            stream.endpointParams().setSocketAddress(new InetSocketAddress(host, port)));
    return stream;
  }

  /** Port of a receiver. */
  public int port() {
    if (listener == null) {
      throw new IllegalStateException("port: none (expected: of a receiver)");
    }
    return listener.getAddress().getPort();
  }

  /**
   * Lets messages land and answers when all are here.
   *
   * @throws IOException the sender is gone
   */
  public void receive(int messages) throws IOException {
    landed = 0;
    next = 0;
    while (landed < messages) {
      progress();
    }
    post(ALL_HERE, null);
    while (inFlight > 0) {
      progress();
    }
  }

  /**
   * Sends messages and waits for the receiver's answer.
   *
   * @param most messages under way at a time
   * @return nanoseconds from the first send to the answer
   * @throws IOException the receiver is gone
   */
  public long send(int messages, int messageBytes, int most) throws IOException {
    answered = false;
    next = 0;
    long begun = System.nanoTime();
    for (int sent = 0; sent < messages; sent++) {
      while (inFlight >= most) {
        progress();
      }
      post(MESSAGE, place(messageBytes));
    }
    while (!answered || inFlight > 0) {
      progress();
    }
    return System.nanoTime() - begun;
  }

  private MemorySegment place(long bytes) {
    if (next + bytes > region.byteSize()) {
      next = 0;
    }
    MemorySegment place = region.asSlice(next, bytes);
    next += bytes;
    return place;
  }

  private void post(int id, @Nullable MemorySegment payload) throws IOException {
    UcpEndpoint open = endpoint;
    if (open == null) {
      throw new IOException("nobody has connected");
    }
    inFlight++;
    open.sendAmNonBlocking(
        id,
        header.address(),
        HEADER_BYTES,
        payload == null ? 0 : payload.address(),
        payload == null ? 0 : payload.byteSize(),
        payload == null ? 0 : UcpConstants.UCP_AM_SEND_FLAG_RNDV,
        new Ended(() -> inFlight--),
        UcxLoop.hostMemory());
  }

  private void progress() throws IOException {
    try {
      if (worker.progress() == 0) {
        Thread.yield();
      }
    } catch (Exception e) {
      throw new IOException("UCX made no progress", e);
    }
    if (failure != null) {
      throw new IOException(failure);
    }
  }

  /** Callback of UCX. */
  private int arrived(long headerAddress, long headerBytes, UcpAmData data, UcpEndpoint replyTo) {
    MemorySegment place = place(data.getLength());
    worker.recvAmDataNonBlocking(
        data.getDataHandle(),
        place.address(),
        data.getLength(),
        new Ended(() -> landed++),
        UcxLoop.hostMemory());
    return UcsConstants.STATUS.UCS_OK;
  }

  /** Callback of UCX. */
  private void accept(UcpConnectionRequest request) {
    endpoint = worker.newEndpoint(endpointParams().setConnectionRequest(request));
  }

  private UcpEndpointParams endpointParams() {
    return new UcpEndpointParams()
        .setPeerErrorHandlingMode()
        .setErrorHandler((_, status, message) -> failure = "UCX status " + status + ": " + message);
  }

  /** Runs within UCX: counts, no more. */
  private final class Ended extends UcxCallback {
    private final Runnable count;

    Ended(Runnable count) {
      this.count = count;
    }

    @Override
    public void onSuccess(UcpRequest request) {
      count.run();
    }

    @Override
    public void onError(int status, String message) {
      failure = "UCX status " + status + ": " + message;
    }
  }

  @Override
  public void close() {
    if (endpoint != null) {
      UcpRequest closing = endpoint.closeNonBlockingForce();
      try {
        while (!closing.isCompleted()) {
          worker.progress();
        }
      } catch (Exception e) {
        throw new IllegalStateException("an endpoint did not close", e);
      }
    }
    if (listener != null) {
      listener.close();
    }
    worker.close();
    context.close();
    arena.close();
  }
}

package dev.baton.kvtransfer.ucx;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.MessageCodec;
import java.lang.foreign.MemorySegment;
import java.net.InetSocketAddress;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.jspecify.annotations.Nullable;
import org.openucx.jucx.ucp.UcpAmData;
import org.openucx.jucx.ucp.UcpConnectionRequest;
import org.openucx.jucx.ucp.UcpContext;
import org.openucx.jucx.ucp.UcpEndpoint;
import org.openucx.jucx.ucp.UcpEndpointParams;
import org.openucx.jucx.ucp.UcpListener;
import org.openucx.jucx.ucp.UcpListenerParams;
import org.openucx.jucx.ucp.UcpMemMapParams;
import org.openucx.jucx.ucp.UcpParams;
import org.openucx.jucx.ucp.UcpRequest;
import org.openucx.jucx.ucp.UcpRequestParams;
import org.openucx.jucx.ucp.UcpWorker;
import org.openucx.jucx.ucp.UcpWorkerParams;
import org.openucx.jucx.ucs.UcsConstants;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The thread that owns everything of UCX: context, worker, listener and endpoints are made, used
 * and closed on it, and nowhere else. {@code receive, run, settle, rest}: it progresses UCX until
 * nothing more happens, runs what others have queued, looks on for a little ({@link Patience}),
 * then sleeps until UCX or {@link #execute} wakes it.
 *
 * <p>UCX's callbacks run inside progress or inside a post. They only queue; what they queued runs
 * after, outside of UCX, so that closing an endpoint or posting again is always allowed. No
 * exception leaves a callback: there is C code above it.
 */
final class UcxLoop implements Runnable {
  private static final Logger log = LoggerFactory.getLogger(UcxLoop.class);

  /** Our one active message id. */
  static final int MESSAGE = 1;

  /** Entries of UCX's table of message ids; a power of two, as it grows. */
  private static final int MESSAGE_IDS = 64;

  /** Progress calls in a row before queued work gets its turn. */
  private static final int PROGRESS_BURST = 64;

  /** Tasks in a row before UCX gets its turn; to pack a slab, or to unpack one, is a task. */
  private static final int TASK_BURST = 16;

  /** What two slabs take, and the way there and back between two processes. */
  private static final long MOST_SPIN_NANOS = TimeUnit.MICROSECONDS.toNanos(100);

  private static final long FIRST_REGISTRATION_BYTES = 64 << 10;

  /** Read by posts, changed by nobody. */
  private static final UcpRequestParams HOST_MEMORY =
      new UcpRequestParams().setMemoryType(UcsConstants.MEMORY_TYPE.UCS_MEMORY_TYPE_HOST);

  private static final UcpRequestParams CUDA_MEMORY =
      new UcpRequestParams().setMemoryType(UcsConstants.MEMORY_TYPE.UCS_MEMORY_TYPE_CUDA);

  /** Where UCX says that a header lies. */
  @SuppressWarnings("restricted") // UCX's word for the address and the length is all there is
  private static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  private static final long FLUSH_NANOS = TimeUnit.MILLISECONDS.toNanos(300);
  private static final long CLOSE_NANOS = TimeUnit.SECONDS.toNanos(2);

  private final InetSocketAddress listen;
  private final Map<String, String> config;
  private final CompletableFuture<InetSocketAddress> bound = new CompletableFuture<>();
  private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();
  private final Object signalGate = new Object();
  private volatile boolean stopping;
  private volatile boolean sleeping;
  private volatile @Nullable TransportListener listener;
  private volatile boolean knowsCuda;
  private volatile boolean onCuda;

  // The progress thread's own from here on.
  private final Deque<Runnable> later = new ArrayDeque<>();
  private final Patience patience = new Patience(MOST_SPIN_NANOS);
  private final Map<Long, UcxConnection> byEndpoint = new HashMap<>();
  private final Map<InetSocketAddress, UcxConnection> byAddress = new HashMap<>();
  private final List<UcpRequest> closing = new ArrayList<>();
  private final HeaderSlots headers = new HeaderSlots();
  private @Nullable UcpContext context;
  private @Nullable UcpWorker worker;
  private @Nullable UcpListener acceptor;
  private int requests;

  /**
   * @param config settings of UCX without their prefix, for what the environment leaves open
   */
  UcxLoop(InetSocketAddress listen, Map<String, String> config) {
    this.listen = listen;
    this.config = config;
  }

  /** The address listened on, or why there is none. */
  CompletableFuture<InetSocketAddress> bound() {
    return bound;
  }

  /** Any thread. */
  void deliverTo(TransportListener taker) {
    listener = taker;
  }

  /** Any thread. */
  void execute(Runnable task) {
    tasks.add(task);
    if (!sleeping) {
      return; // the loop looks at its tasks before it sleeps
    }
    synchronized (signalGate) {
      UcpWorker waiting = worker;
      if (waiting != null) {
        waiting.signal();
      }
    }
  }

  /** Once bound. Any thread. */
  boolean knowsCuda() {
    return knowsCuda;
  }

  /** Any thread, before anything is sent. */
  void payloadsOnCuda(Runnable bind) {
    onCuda = true;
    execute(bind);
  }

  /** Any thread. */
  void stop() {
    stopping = true;
    execute(() -> {});
  }

  @Override
  public void run() {
    try {
      bound.complete(open());
      while (!stopping) {
        if (turn() == 0) {
          rest();
        }
      }
    } catch (Exception | LinkageError e) {
      if (!bound.completeExceptionally(e)) {
        log.error("the UCX progress thread ends", e);
      }
    } finally {
      close();
    }
  }

  /** Looks for work for as long as it is likely to come soon, then sleeps until there is some. */
  private void rest() throws Exception {
    long begun = System.nanoTime();
    while (patience.lasts(System.nanoTime() - begun)) {
      if (worker().progress() != 0 || !tasks.isEmpty() || stopping) {
        return;
      }
      Thread.onSpinWait();
    }
    sleep();
    patience.waited(System.nanoTime() - begun);
  }

  /**
   * Who queues a task from now on wakes UCX; who has queued one before keeps this from sleeping.
   */
  private void sleep() throws Exception {
    sleeping = true;
    try {
      if (tasks.isEmpty() && !stopping) {
        worker().waitForEvents();
      }
    } finally {
      sleeping = false;
    }
  }

  private InetSocketAddress open() {
    UcpParams parameters =
        new UcpParams().requestAmFeature().requestWakeupFeature().setMtWorkersShared(true);
    config.forEach(parameters::setConfig);
    context = new UcpContext(parameters);
    knowsCuda =
        UcsConstants.MEMORY_TYPE.isMemTypeSupported(
            context.getMemoryTypesMask(), UcsConstants.MEMORY_TYPE.UCS_MEMORY_TYPE_CUDA);
    registerOnce(context);
    UcpWorker opened = context.newWorker(new UcpWorkerParams().requestWakeupRX().requestWakeupTX());
    // UCX 1.13 calls whatever lies in its table's entries for ids that nobody has set: set them
    // all.
    // Beyond the table it refuses by itself.
    for (int id = 0; id < MESSAGE_IDS; id++) {
      opened.setAmRecvHandler(
          id, id == MESSAGE ? this::arrived : (_, _, _, _) -> UcsConstants.STATUS.UCS_OK);
    }
    acceptor =
        opened.newListener(
            new UcpListenerParams().setSockAddr(listen).setConnectionHandler(this::accept));
    synchronized (signalGate) {
      worker = opened;
    }
    return acceptor.getAddress();
  }

  /**
   * The first registration of memory takes UCX some 100 ms, in which it learns to watch the
   * process's mappings; the first hand-off is not to wait for that.
   */
  private static void registerOnce(UcpContext context) {
    context
        .memoryMap(new UcpMemMapParams().allocate().setLength(FIRST_REGISTRATION_BYTES))
        .deregister();
  }

  private int turn() throws Exception {
    int work = 0;
    while (work < PROGRESS_BURST && worker().progress() != 0) {
      work++;
    }
    return work + settle() + runTasks();
  }

  /** Runs what callbacks have queued. */
  private int settle() {
    int count = 0;
    for (Runnable next = later.poll(); next != null; next = later.poll()) {
      guarded(next);
      count++;
    }
    closing.removeIf(UcpRequest::isCompleted);
    return count;
  }

  private int runTasks() {
    int count = 0;
    Runnable task;
    while (count < TASK_BURST && (task = tasks.poll()) != null) {
      guarded(task);
      count++;
    }
    return count;
  }

  private static void guarded(Runnable task) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      log.error("a task of the transport failed", e);
    }
  }

  UcpWorker worker() {
    UcpWorker open = worker;
    if (open == null) {
      throw new IllegalStateException("the transport is closed");
    }
    return open;
  }

  HeaderSlots headers() {
    return headers;
  }

  void later(Runnable task) {
    later.add(task);
  }

  void requestPosted() {
    requests++;
  }

  void requestEnded() {
    requests--;
  }

  /** Said with every post: what later versions of jucx mean by default, UCX 1.13 does not know. */
  static UcpRequestParams hostMemory() {
    return HOST_MEMORY;
  }

  /** The same of payloads, wherever they lie. */
  UcpRequestParams payloadMemory() {
    return onCuda ? CUDA_MEMORY : HOST_MEMORY;
  }

  UcxConnection connect(InetSocketAddress address) {
    UcxConnection known = byAddress.get(address);
    if (known != null) {
      return known;
    }
    UcxConnection connection =
        new UcxConnection(this, address.getHostString() + ":" + address.getPort());
    try {
      connection.opened(worker().newEndpoint(endpoint(connection).setSocketAddress(address)));
      byAddress.put(address, connection);
      byEndpoint.put(connection.id(), connection);
    } catch (RuntimeException e) {
      later(() -> tellLost(connection, "cannot connect: " + e.getMessage()));
    }
    return connection;
  }

  /** Callback of UCX. */
  private void accept(UcpConnectionRequest request) {
    try {
      UcxConnection connection =
          new UcxConnection(this, String.valueOf(request.getClientAddress()));
      connection.accepted(worker().newEndpoint(endpoint(connection).setConnectionRequest(request)));
      byEndpoint.put(connection.id(), connection);
      later(() -> tellAccepted(connection));
    } catch (RuntimeException | Error e) {
      log.warn("a connection was not accepted", e);
    }
  }

  private UcpEndpointParams endpoint(UcxConnection connection) {
    return new UcpEndpointParams()
        .setPeerErrorHandlingMode()
        .setErrorHandler(
            (_, status, message) ->
                later(() -> lost(connection, "UCX status %d: %s".formatted(status, message))));
  }

  /** Callback of UCX: a message has arrived; of a payload only the announcement. */
  private int arrived(
      long headerAddress, long headerLength, UcpAmData data, @Nullable UcpEndpoint replyTo) {
    try {
      UcxConnection from = replyTo == null ? null : byEndpoint.get(replyTo.getNativeId());
      boolean eager = data.getLength() > 0 && data.isDataValid();
      if (from == null || eager || headerLength <= 0 || headerLength > MessageCodec.MAX_BYTES) {
        return UcsConstants.STATUS.UCS_OK; // drops it, payload and all
      }
      byte[] header = new byte[(int) headerLength];
      MemorySegment.copy(MEMORY, JAVA_BYTE, headerAddress, header, 0, header.length);
      if (data.getLength() == 0) {
        later(() -> deliver(from, header, null));
        return UcsConstants.STATUS.UCS_OK;
      }
      UcxPayload payload = new UcxPayload(this, data.getDataHandle(), data.getLength());
      later(() -> deliver(from, header, payload));
      return UcsConstants.STATUS.UCS_INPROGRESS; // keeps the payload for us
    } catch (RuntimeException | Error e) {
      log.error("a message was dropped", e);
      return UcsConstants.STATUS.UCS_OK;
    }
  }

  private void deliver(UcxConnection from, byte[] header, @Nullable IncomingPayload payload) {
    TransportListener taker = listener;
    if (taker != null && from.isOpen()) {
      taker.onMessage(from, header, payload);
    } else if (payload != null) {
      payload.refuse();
    }
  }

  /** Ends a connection; not to be called from a callback of UCX. */
  void lost(UcxConnection connection, String cause) {
    UcpEndpoint endpoint = connection.detach();
    if (endpoint == null) {
      return;
    }
    byEndpoint.remove(connection.id());
    byAddress.values().remove(connection);
    try {
      closing.add(endpoint.closeNonBlockingForce());
    } catch (RuntimeException e) {
      log.warn("the endpoint of {} did not close", connection.peer(), e);
    }
    tellLost(connection, cause);
  }

  private void tellAccepted(UcxConnection connection) {
    TransportListener taker = listener;
    if (taker != null && connection.isOpen()) {
      taker.onAccepted(connection);
    }
  }

  private void tellLost(UcxConnection connection, String cause) {
    TransportListener taker = listener;
    if (taker != null) {
      taker.onLost(connection, cause);
    }
  }

  private void close() {
    try {
      if (worker != null) {
        if (acceptor != null) {
          acceptor.close();
        }
        progressWhile(FLUSH_NANOS, () -> requests > 0 || !tasks.isEmpty());
        List.copyOf(byEndpoint.values()).forEach(open -> lost(open, "the transport closes"));
        progressWhile(CLOSE_NANOS, () -> requests > 0 || !closing.isEmpty());
        if (requests > 0) {
          log.warn("{} UCX requests never completed", requests);
        }
      }
    } catch (Exception e) {
      log.error("closing UCX failed", e);
    } finally {
      destroy();
    }
  }

  private void progressWhile(long nanos, BooleanSupplier condition) throws Exception {
    long deadline = System.nanoTime() + nanos;
    do {
      if (turn() == 0) {
        Thread.yield();
      }
    } while (condition.getAsBoolean() && System.nanoTime() - deadline < 0);
  }

  private void destroy() {
    synchronized (signalGate) {
      if (worker != null) {
        worker.close();
        worker = null;
      }
    }
    if (context != null) {
      context.close();
      context = null;
    }
    headers.close();
  }
}

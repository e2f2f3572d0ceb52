package dev.baton.simulation.network;

import dev.baton.simulation.clock.Lane;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.ServerCall;
import io.grpc.ServerMethodDefinition;
import io.grpc.Status;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;

/**
 * One call: the client's end, which gRPC's stubs drive, and the server's, which meets the bound
 * service. Messages are immutable and pass as they are. The client gets as many as it asked for;
 * the server's events run on a thread of the call's own, so that calls overtake each other.
 */
final class Call<Q, R> extends ClientCall<Q, R> {

  private final GrpcChannel channel;
  private final MethodDescriptor<Q, R> method;
  private final Deque<R> arrived = new ArrayDeque<>();
  private @Nullable Listener<R> listener;
  private @Nullable Connection connection;
  private @Nullable Status end;
  private long requested;
  private boolean delivering;
  private boolean closed;

  private String topic = "";
  private @Nullable Lane serverLane;
  private ServerCall.@Nullable Listener<Q> serverListener;
  private boolean serverCancelled;
  private boolean serverClosed;

  Call(GrpcChannel channel, MethodDescriptor<Q, R> method) {
    this.channel = channel;
    this.method = method;
  }

  @Override
  public void start(Listener<R> responses, Metadata headers) {
    listener = responses;
    if (channel.isShutdown()) {
      lost(Status.UNAVAILABLE.withDescription("Channel shutdown invoked"));
      return;
    }
    Connection open = channel.connected();
    if (open == null) {
      channel.later(() -> lost(Status.UNAVAILABLE.withDescription("connection refused")));
      return;
    }
    connection = open;
    open.add(this);
    open.toServer(() -> arriveAtServer(open));
  }

  @Override
  public void request(int messages) {
    requested += messages;
    deliver();
  }

  @Override
  public void cancel(@Nullable String message, @Nullable Throwable cause) {
    Connection open = connection;
    if (closed) {
      return;
    }
    lost(Status.CANCELLED.withDescription(message));
    if (open != null) {
      open.toServer(this::cancelledAtServer);
    }
  }

  @Override
  public void halfClose() {
    toServerListener(ServerCall.Listener::onHalfClose);
  }

  @Override
  public void sendMessage(Q message) {
    if (channel.traced() && topic.isEmpty()) {
      topic = method.getBareMethodName() + " " + Words.of(message);
    }
    toServerListener(
        receiver -> {
          noteAtServer(message);
          receiver.onMessage(message);
        });
  }

  private void noteAtServer(Object what) {
    Connection open = connection;
    if (open != null && channel.traced()) {
      channel.note(open.server().process(), topic + " <- " + Words.of(what));
    }
  }

  private interface Event<Q> {
    void on(ServerCall.Listener<Q> listener);
  }

  private void toServerListener(Event<Q> event) {
    Connection open = connection;
    if (open != null && !closed) {
      open.toServer(() -> atServer(event));
    }
  }

  private void atServer(Event<Q> event) {
    Lane lane = serverLane;
    if (lane != null) {
      lane.execute(
          () -> {
            ServerCall.Listener<Q> receiver = serverListener;
            if (receiver != null && !serverCancelled) {
              event.on(receiver);
            }
          });
    }
  }

  @SuppressWarnings("unchecked") // the method of this name has these types
  private void arriveAtServer(Connection open) {
    ServerMethodDefinition<Q, R> known =
        (ServerMethodDefinition<Q, R>) open.server().method(method.getFullMethodName());
    if (known == null) {
      open.toClient(() -> arriveEnd(Status.UNIMPLEMENTED));
      return;
    }
    Lane lane = new Lane(open.server().process());
    serverLane = lane;
    lane.execute(
        () ->
            serverListener =
                known.getServerCallHandler().startCall(new AtServer(open), new Metadata()));
  }

  /** The client's word, or its connection's end, has reached the server. */
  void cancelledAtServer() {
    Lane lane = serverLane;
    if (lane == null || serverCancelled || serverClosed) {
      return;
    }
    serverCancelled = true;
    forgetIfOver();
    noteAtServer("cancelled");
    lane.execute(
        () -> {
          if (serverListener != null) {
            serverListener.onCancel();
          }
        });
  }

  private void arrive(R message) {
    if (!closed) {
      arrived.addLast(message);
      deliver();
    }
  }

  private void arriveEnd(Status status) {
    if (!closed) {
      end = status;
      deliver();
    }
  }

  private void deliver() {
    Listener<R> receiver = listener;
    if (delivering || receiver == null) {
      return;
    }
    delivering = true;
    while (!closed && requested > 0 && !arrived.isEmpty()) {
      requested--;
      R message = arrived.removeFirst();
      if (channel.traced()) {
        channel.note(topic + " -> " + Words.of(message));
      }
      channel.callback(() -> receiver.onMessage(message));
    }
    delivering = false;
    Status last = end;
    if (!closed && last != null && arrived.isEmpty()) {
      finish(last);
    }
  }

  /** The call ends at once for the client; what has arrived and was not asked for is dropped. */
  void lost(Status status) {
    if (!closed) {
      arrived.clear();
      finish(status);
    }
  }

  private void finish(Status status) {
    closed = true;
    if (channel.traced()) {
      channel.note(topic + " ends: " + status.getCode() + " " + status.getDescription());
    }
    forgetIfOver();
    Listener<R> receiver = listener;
    if (receiver != null) {
      channel.later(() -> receiver.onClose(status, new Metadata()));
    }
  }

  /** A call concerns its connection until both ends are over. */
  private void forgetIfOver() {
    if (connection != null && closed && (serverClosed || serverCancelled)) {
      connection.remove(this);
    }
  }

  /** The server's end. */
  private final class AtServer extends ServerCall<Q, R> {
    private final Connection open;

    AtServer(Connection open) {
      this.open = open;
    }

    @Override
    public void request(int messages) {
      // Requests are few and small: they are delivered as they come.
    }

    @Override
    public void sendHeaders(Metadata headers) {
      // Nobody reads them.
    }

    @Override
    public void sendMessage(R message) {
      if (!serverCancelled && !serverClosed) {
        open.toClient(() -> arrive(message));
      }
    }

    @Override
    public void close(Status status, Metadata trailers) {
      if (serverCancelled || serverClosed) {
        return;
      }
      serverClosed = true;
      forgetIfOver();
      open.toClient(() -> arriveEnd(status));
      Lane lane = serverLane;
      if (lane != null) {
        lane.execute(
            () -> {
              if (serverListener != null) {
                serverListener.onComplete();
              }
            });
      }
    }

    @Override
    public boolean isCancelled() {
      return serverCancelled;
    }

    @Override
    public MethodDescriptor<Q, R> getMethodDescriptor() {
      return method;
    }
  }
}

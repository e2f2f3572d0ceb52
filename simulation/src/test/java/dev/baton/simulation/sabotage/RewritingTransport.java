package dev.baton.simulation.sabotage;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/** A transport whose messages may be looked at and changed on their way out and in. */
class RewritingTransport implements Transport {

  private final Transport inner;
  private final Map<Connection, Connection> wrappers = new IdentityHashMap<>();

  RewritingTransport(Transport inner) {
    this.inner = inner;
  }

  /** Sends the message, changed or as it is. */
  void send(
      Connection to, Message message, @Nullable MemorySegment payload, Completion completion) {
    to.send(MessageCodec.encode(message), payload, completion);
  }

  /** Hears of a message that has arrived, before anybody else. */
  void arrived(Connection from, Message message) {
    // nothing to do
  }

  @Override
  public void start(TransportListener listener) {
    inner.start(
        new TransportListener() {
          @Override
          public void onAccepted(Connection connection) {
            listener.onAccepted(wrapper(connection));
          }

          @Override
          public void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload) {
            Message message = MessageCodec.decode(header);
            if (message != null) {
              arrived(from, message);
            }
            listener.onMessage(wrapper(from), header, payload);
          }

          @Override
          public void onLost(Connection connection, String cause) {
            listener.onLost(wrapper(connection), cause);
            wrappers.remove(connection);
          }
        });
  }

  @Override
  public String host() {
    return inner.host();
  }

  @Override
  public int port() {
    return inner.port();
  }

  @Override
  public void execute(Runnable task) {
    inner.execute(task);
  }

  @Override
  public Connection connect(String host, int port) {
    return wrapper(inner.connect(host, port));
  }

  @Override
  public void close() {
    inner.close();
  }

  private Connection wrapper(Connection connection) {
    return wrappers.computeIfAbsent(connection, Rewriting::new);
  }

  private final class Rewriting implements Connection {
    private final Connection to;

    Rewriting(Connection to) {
      this.to = to;
    }

    @Override
    public String peer() {
      return to.peer();
    }

    @Override
    public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
      Message message = MessageCodec.decode(header);
      if (message == null) {
        to.send(header, payload, completion);
      } else {
        RewritingTransport.this.send(to, message, payload, completion);
      }
    }

    @Override
    public void close() {
      to.close();
    }
  }
}

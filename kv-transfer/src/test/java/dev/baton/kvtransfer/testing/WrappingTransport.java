package dev.baton.kvtransfer.testing;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import java.lang.foreign.MemorySegment;
import java.util.IdentityHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Another transport, past which nothing is sent or heard but by the methods here: what a test
 * overrides. Connections that its users see are its own. On the transport's thread.
 */
public abstract class WrappingTransport implements Transport {

  protected final Transport inner;
  private final Map<Connection, Connection> wrappers = new IdentityHashMap<>();

  protected WrappingTransport(Transport inner) {
    this.inner = inner;
  }

  /**
   * Sends a message: as it is, changed, later, or not at all.
   *
   * @param to the connection of the inner transport
   */
  protected abstract void send(
      Connection to, byte[] header, @Nullable MemorySegment payload, Completion completion);

  /** Hears of a message that has arrived, before anybody else. */
  protected void arrived(Connection from, byte[] header) {
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
            arrived(from, header);
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
    return wrappers.computeIfAbsent(connection, Wrapper::new);
  }

  private final class Wrapper implements Connection {
    private final Connection to;

    Wrapper(Connection to) {
      this.to = to;
    }

    @Override
    public String peer() {
      return to.peer();
    }

    @Override
    public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
      WrappingTransport.this.send(to, header, payload, completion);
    }

    @Override
    public void close() {
      to.close();
    }
  }
}

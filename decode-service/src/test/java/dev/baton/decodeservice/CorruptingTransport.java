package dev.baton.decodeservice;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.IdentityHashMap;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A transport on which payloads leave with one bit turned, as often as the test says. */
final class CorruptingTransport implements Transport {

  private final Transport inner;
  private final AtomicInteger toCorrupt;
  private final Map<Connection, Connection> outer = new IdentityHashMap<>();

  CorruptingTransport(Transport inner, int payloads) {
    this.inner = inner;
    this.toCorrupt = new AtomicInteger(payloads);
  }

  private Connection wrap(Connection connection) {
    return outer.computeIfAbsent(connection, Corrupting::new);
  }

  @Override
  public void start(TransportListener listener) {
    inner.start(
        new TransportListener() {
          @Override
          public void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload) {
            listener.onMessage(wrap(from), header, payload);
          }

          @Override
          public void onLost(Connection connection, String cause) {
            listener.onLost(wrap(connection), cause);
            outer.remove(connection);
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
    return wrap(inner.connect(host, port));
  }

  @Override
  public void close() {
    inner.close();
  }

  private final class Corrupting implements Connection {

    private final Connection to;

    Corrupting(Connection to) {
      this.to = to;
    }

    @Override
    public String peer() {
      return to.peer();
    }

    @Override
    public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
      if (payload == null || toCorrupt.getAndDecrement() <= 0) {
        to.send(header, payload, completion);
        return;
      }
      Arena arena = Arena.ofShared();
      MemorySegment wrong = arena.allocate(payload.byteSize(), 64).copyFrom(payload);
      long at = payload.byteSize() / 2;
      wrong.set(ValueLayout.JAVA_BYTE, at, (byte) (wrong.get(ValueLayout.JAVA_BYTE, at) ^ 0x10));
      to.send(
          header,
          wrong,
          failure -> {
            arena.close();
            completion.done(failure);
          });
    }

    @Override
    public void close() {
      to.close();
    }
  }
}

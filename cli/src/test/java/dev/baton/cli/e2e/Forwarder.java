package dev.baton.cli.e2e;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A wire between processes that a test may break: forwards connections to a port of this machine,
 * and resets them, or lets one direction stall while it holds what comes, as a network that loses
 * packets one way does to TCP. Threads of its own, ended by {@link #close}.
 */
final class Forwarder implements AutoCloseable {

  /** A direction of the wire. */
  enum Way {
    TO_SERVER,
    TO_CLIENT
  }

  private final ServerSocket server;
  private final int target;
  private final Set<Socket> open = ConcurrentHashMap.newKeySet();
  private final Set<Way> stalled = ConcurrentHashMap.newKeySet();

  Forwarder(int target) {
    this.target = target;
    try {
      this.server = new ServerSocket(0, 64, InetAddress.getLoopbackAddress());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    Thread.ofVirtual().name("forwarder-" + target).start(this::accept);
  }

  int port() {
    return server.getLocalPort();
  }

  void stall(Way way) {
    stalled.add(way);
  }

  /** What was held goes on. */
  void heal() {
    synchronized (stalled) {
      stalled.clear();
      stalled.notifyAll();
    }
  }

  /** Both ends of every connection hear a reset; new connections may come. */
  void reset() {
    open.forEach(
        socket -> {
          try {
            socket.setSoLinger(true, 0);
          } catch (IOException e) {
            // It is closed already.
            return;
          }
          close(socket);
        });
  }

  private void accept() {
    try {
      while (true) {
        Socket client = server.accept();
        Thread.ofVirtual().name("forwarder-connect").start(() -> connect(client));
      }
    } catch (IOException e) {
      // The test is over.
      open.forEach(Forwarder::close);
    }
  }

  private void connect(Socket client) {
    open.add(client);
    try {
      Socket inner = new Socket(InetAddress.getLoopbackAddress(), target);
      open.add(inner);
      inner.setTcpNoDelay(true);
      client.setTcpNoDelay(true);
      Thread.ofVirtual()
          .name("forwarder-to-server")
          .start(() -> pump(client, inner, Way.TO_SERVER));
      Thread.ofVirtual()
          .name("forwarder-to-client")
          .start(() -> pump(inner, client, Way.TO_CLIENT));
    } catch (IOException e) {
      // Nobody listens there now: the client hears that its connection ends.
      drop(client);
    }
  }

  private void pump(Socket from, Socket to, Way way) {
    byte[] buffer = new byte[1 << 16];
    try (InputStream in = from.getInputStream();
        OutputStream out = to.getOutputStream()) {
      for (int read = in.read(buffer); read >= 0; read = in.read(buffer)) {
        awaitFlow(way);
        out.write(buffer, 0, read);
      }
    } catch (IOException e) {
      // One end is gone; so is the other, below.
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      drop(from);
      drop(to);
    }
  }

  private void awaitFlow(Way way) throws InterruptedException {
    synchronized (stalled) {
      while (stalled.contains(way)) {
        stalled.wait();
      }
    }
  }

  private void drop(Socket socket) {
    open.remove(socket);
    close(socket);
  }

  private static void close(Socket socket) {
    try {
      socket.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    heal();
    try {
      server.close();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}

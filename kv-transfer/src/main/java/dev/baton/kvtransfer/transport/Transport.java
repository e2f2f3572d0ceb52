package dev.baton.kvtransfer.transport;

/** One process's end of the network; see the package for the threading rule. */
public interface Transport extends AutoCloseable {

  /** Begins to deliver. Called once, before anything else. Any thread. */
  void start(TransportListener listener);

  /** Address that peers connect to. Any thread. */
  String host();

  /** Port that peers connect to. Any thread. */
  int port();

  /**
   * Runs the task on the transport's thread, in order of submission; never within the call. Any
   * thread. After the close tasks are dropped.
   */
  void execute(Runnable task);

  /**
   * A connection to the peer: an open one where there is one, else a new one, which is made in the
   * background. A failure to connect is a loss of the connection. Transport thread only.
   */
  Connection connect(String host, int port);

  /**
   * Ends all connections and the thread. When it returns, no callback runs any more and no memory
   * given to the transport is touched again. Any thread but the transport's. Idempotent.
   */
  @Override
  void close();
}

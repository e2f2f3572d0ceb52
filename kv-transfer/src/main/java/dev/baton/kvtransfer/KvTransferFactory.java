package dev.baton.kvtransfer;

import dev.baton.kvtransfer.handoff.HandoffService;
import dev.baton.kvtransfer.handoff.ThreadedWorkers;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.ucx.UcxTransport;
import java.security.SecureRandom;
import java.util.function.Supplier;

/** Makes a worker process's {@link KvTransfer}. */
public final class KvTransferFactory {

  private KvTransferFactory() {}

  /**
   * Over UCX, listening on the options' host and port. The process should have been started with
   * the environment of {@link dev.baton.kvtransfer.ucx.UcxEnvironment#defaults}.
   *
   * @throws IllegalStateException if UCX is not installed, or the address cannot be listened on;
   *     the message says which and what to do
   */
  public static KvTransfer open(TransferOptions options) {
    return open(options, listen(options));
  }

  /** The first half of {@link #open(TransferOptions)}: who fails to listen fails here. */
  public static UcxTransport listen(TransferOptions options) {
    return UcxTransport.open(options.host(), options.port());
  }

  /**
   * Over the transport given, which the result owns and closes; it may wrap another, to inject
   * faults. Slabs lie in host memory, and sources and sinks are called on the transport's thread:
   * they copy memory and wait for nothing.
   */
  public static KvTransfer open(TransferOptions options, Transport transport) {
    return onHost(options, transport, SlabMemory::host);
  }

  /**
   * As above.
   *
   * @param memory of the host, of the slabs that leave, then of those that land; each is closed
   *     with the result
   */
  public static KvTransfer onHost(
      TransferOptions options, Transport transport, Supplier<SlabMemory> memory) {
    return open(options, transport, new ThreadedWorkers(transport::execute), memory);
  }

  /**
   * As above, with slabs anywhere, for sources and sinks that wait for a device: they have a thread
   * each.
   */
  public static KvTransfer open(
      TransferOptions options, Transport transport, Supplier<SlabMemory> memory) {
    return open(options, transport, new ThreadedWorkers(), memory);
  }

  private static KvTransfer open(
      TransferOptions options,
      Transport transport,
      ThreadedWorkers workers,
      Supplier<SlabMemory> memory) {
    return new HandoffService(
        options, transport, workers, memory, System::nanoTime, new SecureRandom());
  }
}

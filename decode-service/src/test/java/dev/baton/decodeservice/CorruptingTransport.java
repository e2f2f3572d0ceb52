package dev.baton.decodeservice;

import dev.baton.kvtransfer.testing.WrappingTransport;
import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.concurrent.atomic.AtomicInteger;
import org.jspecify.annotations.Nullable;

/** A transport on which payloads leave with one bit turned, as often as the test says. */
final class CorruptingTransport extends WrappingTransport {

  private final AtomicInteger toCorrupt;

  CorruptingTransport(Transport inner, int payloads) {
    super(inner);
    this.toCorrupt = new AtomicInteger(payloads);
  }

  @Override
  protected void send(
      Connection to, byte[] header, @Nullable MemorySegment payload, Completion completion) {
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
}

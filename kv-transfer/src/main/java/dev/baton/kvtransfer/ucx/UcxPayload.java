package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.IncomingPayload;
import java.lang.foreign.MemorySegment;

/** A rendezvous that the sender has announced and that waits for a landing place. */
final class UcxPayload implements IncomingPayload {
  private final UcxLoop loop;
  private final long handle;
  private final long length;

  UcxPayload(UcxLoop loop, long handle, long length) {
    this.loop = loop;
    this.handle = handle;
    this.length = length;
  }

  @Override
  public long length() {
    return length;
  }

  @Override
  public void receive(MemorySegment landing, Completion completion) {
    if (landing.byteSize() < length) {
      throw new IllegalArgumentException(
          "landing: %d bytes (expected: at least %d)".formatted(landing.byteSize(), length));
    }
    UcxDone done = new UcxDone(loop, completion);
    try {
      loop.worker()
          .recvAmDataNonBlocking(handle, landing.address(), length, done, loop.payloadMemory());
    } catch (RuntimeException e) {
      done.notPosted(e);
    }
  }

  @Override
  public void refuse() {
    loop.worker().amDataRelease(handle);
  }
}

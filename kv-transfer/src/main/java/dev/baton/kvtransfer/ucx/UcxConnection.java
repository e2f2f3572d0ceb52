package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.openucx.jucx.ucp.UcpConstants;
import org.openucx.jucx.ucp.UcpEndpoint;

/**
 * One endpoint. Holds it strongly while it lives: jucx itself has only weak references, and an
 * endpoint that is collected takes its error handler along. Progress thread only.
 */
final class UcxConnection implements Connection {
  private final UcxLoop loop;
  private final String peer;
  private @Nullable UcpEndpoint endpoint;
  private long id;

  UcxConnection(UcxLoop loop, String peer) {
    this.loop = loop;
    this.peer = peer;
  }

  void opened(UcpEndpoint opened) {
    endpoint = opened;
    id = opened.getNativeId();
  }

  /** UCX's name of the endpoint in this process. */
  long id() {
    return id;
  }

  boolean isOpen() {
    return endpoint != null;
  }

  @Override
  public String peer() {
    return peer;
  }

  @Override
  public void send(byte[] header, @Nullable MemorySegment payload, Completion completion) {
    UcpEndpoint open = endpoint;
    if (open == null) {
      loop.later(() -> completion.done(new IOException("the connection to " + peer + " is lost")));
      return;
    }
    MemorySegment slot = loop.headers().fill(header);
    UcxDone done =
        new UcxDone(
            loop,
            failure -> {
              loop.headers().release(slot);
              completion.done(failure);
            });
    long flags = UcpConstants.UCP_AM_SEND_FLAG_REPLY;
    if (payload != null) {
      flags |= UcpConstants.UCP_AM_SEND_FLAG_RNDV;
    }
    try {
      open.sendAmNonBlocking(
          UcxLoop.MESSAGE,
          slot.address(),
          header.length,
          payload == null ? 0 : payload.address(),
          payload == null ? 0 : payload.byteSize(),
          flags,
          done,
          UcxLoop.hostMemory());
    } catch (RuntimeException e) {
      done.notPosted(e);
    }
  }

  @Override
  public void close() {
    loop.later(() -> loop.lost(this, "closed by this side"));
  }

  /** The endpoint, which is no longer the connection's; null if there is none left. */
  @Nullable UcpEndpoint detach() {
    UcpEndpoint open = endpoint;
    endpoint = null;
    return open;
  }

  @Override
  public String toString() {
    return peer;
  }
}

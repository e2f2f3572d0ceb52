package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import org.jspecify.annotations.Nullable;
import org.openucx.jucx.ucp.UcpConstants;
import org.openucx.jucx.ucp.UcpEndpoint;

/**
 * One endpoint. Holds it strongly while it lives: jucx itself has only weak references, and an
 * endpoint that is collected takes its error handler along. Progress thread only.
 *
 * <p>While UCX wires up an endpoint of ours it refuses some sends with headers of a usual length
 * ("Invalid parameter"). So the first send goes out alone, and the others wait for its completion.
 */
final class UcxConnection implements Connection {
  private final UcxLoop loop;
  private final String peer;
  private final Deque<Held> held = new ArrayDeque<>();
  private @Nullable UcpEndpoint endpoint;
  private long id;
  private boolean wired;
  private boolean wiring;

  /** A send that waits for the wiring. */
  private record Held(byte[] header, @Nullable MemorySegment payload, Completion completion) {}

  UcxConnection(UcxLoop loop, String peer) {
    this.loop = loop;
    this.peer = peer;
  }

  /** An endpoint towards a peer, which UCX is going to wire up. */
  void opened(UcpEndpoint opened) {
    endpoint = opened;
    id = opened.getNativeId();
  }

  /** An endpoint for a peer that has come; it is wired up before anything arrives from it. */
  void accepted(UcpEndpoint opened) {
    opened(opened);
    wired = true;
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
      fail(completion);
    } else if (wired) {
      post(open, header, payload, completion);
    } else if (wiring) {
      held.add(new Held(header.clone(), payload, completion));
    } else {
      wiring = true;
      post(
          open,
          header,
          payload,
          failure -> {
            completion.done(failure);
            wired();
          });
    }
  }

  private void wired() {
    wired = true;
    for (Held next = held.poll(); next != null; next = held.poll()) {
      send(next.header, next.payload, next.completion);
    }
  }

  private void fail(Completion completion) {
    loop.later(() -> completion.done(new IOException("the connection to " + peer + " is lost")));
  }

  private void post(
      UcpEndpoint open, byte[] header, @Nullable MemorySegment payload, Completion completion) {
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
          payload == null ? UcxLoop.hostMemory() : loop.payloadMemory());
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
    held.forEach(waiting -> fail(waiting.completion));
    held.clear();
    return open;
  }

  @Override
  public String toString() {
    return peer;
  }
}

package dev.baton.simulation.sabotage;

import dev.baton.kvtransfer.testing.WrappingTransport;
import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;

/** A transport whose messages may be looked at and changed on their way out and in. */
class RewritingTransport extends WrappingTransport {

  RewritingTransport(Transport inner) {
    super(inner);
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
  protected final void send(
      Connection to, byte[] header, @Nullable MemorySegment payload, Completion completion) {
    Message message = MessageCodec.decode(header);
    if (message == null) {
      to.send(header, payload, completion);
    } else {
      send(to, message, payload, completion);
    }
  }

  @Override
  protected final void arrived(Connection from, byte[] header) {
    Message message = MessageCodec.decode(header);
    if (message != null) {
      arrived(from, message);
    }
  }
}

package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.wire.Message;

/** What an {@link ExportMachine} wants done, in the order given. */
sealed interface ExportEffect {

  /** Send a message without payload. */
  record Send(Message message) implements ExportEffect {}

  /** Send a slab with the packed memory of its sequence number. */
  record SendSlab(Message.Slab message) implements ExportEffect {}

  /** The slab of this sequence number, of so many bytes, is acknowledged. */
  record Release(int sequence, int bytes) implements ExportEffect {}

  /** Everything is packed. */
  record Packed() implements ExportEffect {}

  /** The end: everything is acknowledged. */
  record Acknowledged() implements ExportEffect {}

  /** The end: all slabs are released. */
  record Failed(HandoffException cause) implements ExportEffect {}
}

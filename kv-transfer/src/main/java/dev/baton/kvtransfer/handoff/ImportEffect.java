package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.wire.Message;

/** What an {@link ImportMachine} wants done, in the order given. */
sealed interface ImportEffect {

  record Send(Message message) implements ImportEffect {}

  /** Fetch the payload of the slab just announced, check it, unpack it. */
  record Land(Message.Slab slab) implements ImportEffect {}

  /** Do not fetch the payload of the slab just announced. */
  record Refuse() implements ImportEffect {}

  /** The end: the KV may be read. */
  record Completed(Manifest manifest) implements ImportEffect {}

  /** The end: nothing of it may be read. */
  record Failed(HandoffException cause) implements ImportEffect {}
}

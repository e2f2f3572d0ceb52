/**
 * The messages of a hand-off and their bytes. A message is a header of at most {@link
 * dev.baton.kvtransfer.wire.MessageCodec#MAX_BYTES} bytes; only {@link
 * dev.baton.kvtransfer.wire.Message.Slab} comes with a payload, which is not part of the header.
 */
@org.jspecify.annotations.NullMarked
package dev.baton.kvtransfer.wire;

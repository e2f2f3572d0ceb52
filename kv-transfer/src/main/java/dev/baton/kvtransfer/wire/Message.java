package dev.baton.kvtransfer.wire;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;

/**
 * What exporter and importer say to each other. The exporter sends {@link Hello}, {@link Slab},
 * {@link Finish}; the importer answers {@link Welcome}, {@link SlabAck}, {@link SlabNack}, {@link
 * Done}; either may send {@link Heartbeat} and {@link Abort}. Records check only what holds for
 * every hand-off; whether a message fits its hand-off is for the state machines to decide.
 */
public sealed interface Message {

  Route route();

  /**
   * First message of a hand-off on a connection.
   *
   * @param secret of the ticket; in no other message, and not in {@link #toString}
   * @param firstToken from which on the KV comes: the ticket's, or a later one
   * @param slabBytes that the exporter's slabs have at most
   * @param leaseMillis of silence after which the exporter gives up
   */
  record Hello(
      Route route,
      Bits128 secret,
      HandoffReason reason,
      KvGeometry geometry,
      int firstToken,
      int slabBytes,
      int leaseMillis)
      implements Message {

    public Hello {
      requireNotNegative("firstToken", firstToken);
      requirePositive("slabBytes", slabBytes);
      requireNotNegative("leaseMillis", leaseMillis);
    }

    @Override
    public String toString() {
      return "Hello[%s, %s, %s, from token %d]".formatted(route, reason, geometry, firstToken);
    }
  }

  /**
   * The importer takes the hand-off.
   *
   * @param tokens of the context that the importer expects, as far as it knows it
   * @param room tokens that may be added to it before the hand-off ends
   * @param slabBytes that a slab may have at most
   * @param credit bytes of slabs that may be unanswered at a time, each counted at the full size
   *     that the two agree on; less than one slab means one
   * @param leaseMillis of silence after which the importer gives up
   */
  record Welcome(Route route, int tokens, int room, int slabBytes, long credit, int leaseMillis)
      implements Message {

    public Welcome {
      requirePositive("tokens", tokens);
      if (room < 0 || room > Manifest.MOST_ADDED) {
        throw new IllegalArgumentException(
            "room: %d (expected: 0 to %d)".formatted(room, Manifest.MOST_ADDED));
      }
      requirePositive("slabBytes", slabBytes);
      requireNotNegative("credit", credit);
      requireNotNegative("leaseMillis", leaseMillis);
    }
  }

  /**
   * Announces a slab; the payload comes with it.
   *
   * @param sequence counts the slabs of the hand-off from 0; a slab sent again keeps its own
   * @param attempt counts the sendings of this slab from 0
   * @param bytesPerElement of the wire dtype
   * @param length bytes of the payload
   * @param crc32c of the payload
   */
  record Slab(
      Route route,
      int sequence,
      int attempt,
      SlabRange range,
      int bytesPerElement,
      long length,
      int crc32c)
      implements Message {

    public Slab {
      requireNotNegative("sequence", sequence);
      requireNotNegative("attempt", attempt);
      requirePositive("bytesPerElement", bytesPerElement);
      if (length <= 0) {
        throw new IllegalArgumentException("length: %d (expected: > 0)".formatted(length));
      }
    }
  }

  /**
   * The slab is verified and unpacked; the exporter may reuse its memory.
   *
   * @param credit as in {@link Welcome}, renewed
   */
  record SlabAck(Route route, int sequence, long credit) implements Message {

    public SlabAck {
      requireNotNegative("sequence", sequence);
      requireNotNegative("credit", credit);
    }
  }

  /** The slab was wrong when sent as {@code attempt}; the exporter sends it again. */
  record SlabNack(Route route, int sequence, int attempt) implements Message {

    public SlabNack {
      requireNotNegative("sequence", sequence);
      requireNotNegative("attempt", attempt);
    }
  }

  /**
   * All slabs are on their way.
   *
   * @param slabs of the hand-off, each counted once
   * @param bytes of all their payloads
   */
  record Finish(Route route, int slabs, long bytes, Manifest manifest) implements Message {

    public Finish {
      requirePositive("slabs", slabs);
      if (bytes <= 0) {
        throw new IllegalArgumentException("bytes: %d (expected: > 0)".formatted(bytes));
      }
      requirePositive("manifest.tokens", manifest.tokens());
    }
  }

  /** The importer has verified everything. */
  record Done(Route route) implements Message {}

  /**
   * The sender still holds its side of the hand-off; sent when it has said nothing else for a
   * while.
   *
   * @param credit as in {@link Welcome}, renewed; the exporter's is 0
   */
  record Heartbeat(Route route, long credit) implements Message {

    public Heartbeat {
      requireNotNegative("credit", credit);
    }
  }

  /**
   * The sender has given up.
   *
   * @param text for the log, at most {@link #MAX_TEXT} characters; longer ones are cut
   */
  record Abort(Route route, HandoffException.Kind kind, String text) implements Message {

    public static final int MAX_TEXT = 120;

    public Abort {
      if (text.length() > MAX_TEXT) {
        text = text.substring(0, MAX_TEXT);
      }
    }
  }

  private static void requireNotNegative(String name, long value) {
    if (value < 0) {
      throw new IllegalArgumentException("%s: %d (expected: >= 0)".formatted(name, value));
    }
  }

  private static void requirePositive(String name, int value) {
    if (value <= 0) {
      throw new IllegalArgumentException("%s: %d (expected: > 0)".formatted(name, value));
    }
  }
}

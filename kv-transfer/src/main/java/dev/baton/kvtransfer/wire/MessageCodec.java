package dev.baton.kvtransfer.wire;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.wire.Message.Abort;
import dev.baton.kvtransfer.wire.Message.Done;
import dev.baton.kvtransfer.wire.Message.Finish;
import dev.baton.kvtransfer.wire.Message.Heartbeat;
import dev.baton.kvtransfer.wire.Message.Hello;
import dev.baton.kvtransfer.wire.Message.Slab;
import dev.baton.kvtransfer.wire.Message.SlabAck;
import dev.baton.kvtransfer.wire.Message.SlabNack;
import dev.baton.kvtransfer.wire.Message.Welcome;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * Bytes of messages, little-endian: magic u32, version u8, type u8, length u16 of the whole header,
 * transfer 16 bytes, epoch u32, session (u16 length, UTF-8), the type's own fields in the order of
 * its record, and at last the CRC32C of all before. The README's table names every field.
 *
 * <p>Decoding never throws and never allocates more than the header's own size: whatever is not
 * exactly a message of this version is no message.
 */
public final class MessageCodec {

  /** A header is never longer. */
  public static final int MAX_BYTES = 2048;

  private static final int MAGIC = 0x564B5442; // "BTKV"
  private static final byte VERSION = 3;
  private static final int PREFIX_BYTES = 8;
  private static final int ROUTE_BYTES = PREFIX_BYTES + 16 + 4 + 2; // and the session's
  private static final int CHECK_BYTES = 4;

  private static final byte HELLO = 1;
  private static final byte WELCOME = 2;
  private static final byte SLAB = 3;
  private static final byte SLAB_ACK = 4;
  private static final byte SLAB_NACK = 5;
  private static final byte FINISH = 6;
  private static final byte DONE = 7;
  private static final byte ABORT = 8;
  private static final byte HEARTBEAT = 9;

  private static final byte[] NO_TEXT = {};

  private MessageCodec() {}

  public static byte[] encode(Message message) {
    byte[] session = utf8(message.route().session());
    byte[] text = message instanceof Abort m ? utf8(m.text()) : NO_TEXT;
    byte[] bytes = new byte[ROUTE_BYTES + session.length + bodyBytes(message, text) + CHECK_BYTES];
    ByteBuffer out = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    out.putInt(MAGIC).put(VERSION).put(type(message)).putShort((short) bytes.length);
    putBits(out, message.route().transfer());
    out.putInt(message.route().epoch());
    putText(out, session);
    putBody(out, message, text);
    if (out.remaining() != CHECK_BYTES) {
      throw new IllegalStateException(
          "bytes of %s: %d less (expected: as announced)"
              .formatted(message, out.remaining() - CHECK_BYTES));
    }
    out.putInt(crc(bytes, out.position()));
    return bytes;
  }

  /** The message in exactly these bytes, or null if there is none. */
  public static @Nullable Message decode(byte[] bytes) {
    if (bytes.length < PREFIX_BYTES + CHECK_BYTES || bytes.length > MAX_BYTES) {
      return null;
    }
    ByteBuffer in = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    int checked = bytes.length - CHECK_BYTES;
    if (in.getInt() != MAGIC || in.get() != VERSION || in.getInt(checked) != crc(bytes, checked)) {
      return null;
    }
    byte type = in.get();
    if (in.getShort() != bytes.length) {
      return null;
    }
    in.limit(checked);
    try {
      Bits128 transfer = getBits(in);
      int epoch = in.getInt();
      Message message = getBody(in, type, new Route(transfer, getText(in), epoch));
      return in.hasRemaining() ? null : message;
    } catch (BufferUnderflowException | IllegalArgumentException | CharacterCodingException e) {
      return null;
    }
  }

  private static byte type(Message message) {
    return switch (message) {
      case Hello _ -> HELLO;
      case Welcome _ -> WELCOME;
      case Slab _ -> SLAB;
      case SlabAck _ -> SLAB_ACK;
      case SlabNack _ -> SLAB_NACK;
      case Finish _ -> FINISH;
      case Done _ -> DONE;
      case Abort _ -> ABORT;
      case Heartbeat _ -> HEARTBEAT;
    };
  }

  /** Bytes of the type's own fields. */
  private static int bodyBytes(Message message, byte[] text) {
    return switch (message) {
      case Hello _ -> 16 + 1 + 13 + 12;
      case Welcome _ -> 12 + 8 + 4;
      case Slab _ -> 8 + 16 + 1 + 8 + 4;
      case SlabAck _ -> 4 + 8;
      case SlabNack _ -> 8;
      case Finish m -> 4 + 8 + 4 + 8 + 8 + 2 + 4 * m.manifest().added().size();
      case Done _ -> 0;
      case Abort _ -> 1 + 2 + text.length;
      case Heartbeat _ -> 8;
    };
  }

  private static void putBody(ByteBuffer out, Message message, byte[] text) {
    switch (message) {
      case Hello m -> {
        putBits(out, m.secret());
        out.put((byte) m.reason().ordinal());
        putGeometry(out, m.geometry());
        out.putInt(m.firstToken()).putInt(m.slabBytes()).putInt(m.leaseMillis());
      }
      case Welcome m -> {
        out.putInt(m.tokens()).putInt(m.room()).putInt(m.slabBytes());
        out.putLong(m.credit()).putInt(m.leaseMillis());
      }
      case Slab m -> {
        out.putInt(m.sequence()).putInt(m.attempt());
        putRange(out, m.range());
        out.put((byte) m.bytesPerElement());
        out.putLong(m.length()).putInt(m.crc32c());
      }
      case SlabAck m -> out.putInt(m.sequence()).putLong(m.credit());
      case SlabNack m -> out.putInt(m.sequence()).putInt(m.attempt());
      case Finish m -> {
        Manifest manifest = m.manifest();
        out.putInt(m.slabs()).putLong(m.bytes());
        out.putInt(manifest.tokens()).putLong(manifest.contextHash());
        out.putInt(manifest.firstToken()).putInt(manifest.firstIndex());
        putTokens(out, manifest.added());
      }
      case Done _ -> {}
      case Abort m -> {
        out.put((byte) m.kind().ordinal());
        putText(out, text);
      }
      case Heartbeat m -> out.putLong(m.credit());
    }
  }

  private static @Nullable Message getBody(ByteBuffer in, byte type, Route route)
      throws CharacterCodingException {
    return switch (type) {
      case HELLO ->
          new Hello(
              route,
              getBits(in),
              getEnum(HandoffReason.values(), in),
              getGeometry(in),
              in.getInt(),
              in.getInt(),
              in.getInt());
      case WELCOME ->
          new Welcome(route, in.getInt(), in.getInt(), in.getInt(), in.getLong(), in.getInt());
      case SLAB ->
          new Slab(
              route, in.getInt(), in.getInt(), getRange(in), in.get(), in.getLong(), in.getInt());
      case SLAB_ACK -> new SlabAck(route, in.getInt(), in.getLong());
      case SLAB_NACK -> new SlabNack(route, in.getInt(), in.getInt());
      case FINISH ->
          new Finish(
              route,
              in.getInt(),
              in.getLong(),
              new Manifest(in.getInt(), in.getLong(), in.getInt(), in.getInt(), getTokens(in)));
      case DONE -> new Done(route);
      case ABORT -> new Abort(route, getEnum(HandoffException.Kind.values(), in), getText(in));
      case HEARTBEAT -> new Heartbeat(route, in.getLong());
      default -> null;
    };
  }

  private static void putBits(ByteBuffer out, Bits128 bits) {
    out.putLong(bits.high()).putLong(bits.low());
  }

  private static Bits128 getBits(ByteBuffer in) {
    return new Bits128(in.getLong(), in.getLong());
  }

  private static void putGeometry(ByteBuffer out, KvGeometry geometry) {
    out.putInt(geometry.layers()).putInt(geometry.kvHeads()).putInt(geometry.headDim());
    out.put((byte) geometry.bytesPerElement());
  }

  private static KvGeometry getGeometry(ByteBuffer in) {
    return new KvGeometry(in.getInt(), in.getInt(), in.getInt(), in.get());
  }

  private static void putRange(ByteBuffer out, SlabRange range) {
    out.putInt(range.layerFrom()).putInt(range.layerTo());
    out.putInt(range.tokenFrom()).putInt(range.tokenTo());
  }

  private static SlabRange getRange(ByteBuffer in) {
    return new SlabRange(in.getInt(), in.getInt(), in.getInt(), in.getInt());
  }

  private static void putTokens(ByteBuffer out, List<Integer> tokens) {
    out.putShort((short) tokens.size());
    tokens.forEach(out::putInt);
  }

  private static List<Integer> getTokens(ByteBuffer in) {
    int count = Short.toUnsignedInt(in.getShort());
    if (4 * count > in.remaining()) {
      throw new BufferUnderflowException();
    }
    List<Integer> tokens = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      tokens.add(in.getInt());
    }
    return tokens;
  }

  /** Texts are bounded in characters by their records: 128 characters have at most 384 bytes. */
  private static void putText(ByteBuffer out, byte[] utf8) {
    out.putShort((short) utf8.length).put(utf8);
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String getText(ByteBuffer in) throws CharacterCodingException {
    int length = Short.toUnsignedInt(in.getShort());
    if (length > in.remaining()) {
      throw new BufferUnderflowException();
    }
    int start = in.position();
    in.position(start + length);
    if (isAscii(in.array(), start, length)) {
      return new String(in.array(), start, length, StandardCharsets.US_ASCII); // as names are
    }
    return StandardCharsets.UTF_8.newDecoder().decode(in.slice(start, length)).toString();
  }

  private static boolean isAscii(byte[] bytes, int start, int length) {
    int all = 0;
    for (int i = start; i < start + length; i++) {
      all |= bytes[i];
    }
    return all >= 0;
  }

  private static <E> E getEnum(E[] values, ByteBuffer in) {
    int ordinal = Byte.toUnsignedInt(in.get());
    if (ordinal >= values.length) {
      throw new IllegalArgumentException(
          "ordinal: %d (expected: below %d)".formatted(ordinal, values.length));
    }
    return values[ordinal];
  }

  private static int crc(byte[] bytes, int length) {
    CRC32C crc = new CRC32C();
    crc.update(bytes, 0, length);
    return (int) crc.getValue();
  }
}

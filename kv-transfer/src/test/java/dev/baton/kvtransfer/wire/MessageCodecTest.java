package dev.baton.kvtransfer.wire;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;

class MessageCodecTest {
  private static final long SEED = Long.getLong("seed", System.nanoTime());
  private static final Route ROUTE = new Route(new Bits128(1, 2), "session-\u00e9\u4e16", 3);

  private static final List<Message> EVERY_TYPE =
      List.of(
          new Message.Hello(
              ROUTE,
              new Bits128(-5, 6),
              HandoffReason.MIGRATION,
              new KvGeometry(80, 8, 128, 2),
              17,
              2 << 20,
              60_000),
          new Message.Welcome(ROUTE, 4096, 256, 1 << 20, 1 << 20, 59_000),
          new Message.Slab(ROUTE, 9, 1, new SlabRange(3, 8, 64, 128), 2, 655_360, -77),
          new Message.SlabAck(ROUTE, 9, 1 << 20),
          new Message.SlabNack(ROUTE, 9, 1),
          new Message.Finish(ROUTE, 12, 1L << 40, new Manifest(4096, -1L, 42, 7)),
          new Message.Finish(ROUTE, 12, 1L << 40, new Manifest(4096, -1L, 42, 7, List.of(5, -1))),
          new Message.Done(ROUTE),
          new Message.Abort(ROUTE, Kind.CORRUPT, "why \u20ac"),
          new Message.Heartbeat(ROUTE, 3L << 33));

  @Test
  void everyTypeComesBackAsItWas() {
    for (Message message : EVERY_TYPE) {
      assertThat(MessageCodec.decode(MessageCodec.encode(message))).isEqualTo(message);
    }
  }

  @Test
  void theLongestTextsFitIntoAHeader() {
    Route route = new Route(ROUTE.transfer(), "\u4e16".repeat(Route.MAX_SESSION), 0);
    Message.Abort longest = new Message.Abort(route, Kind.INTERNAL, "\u4e16".repeat(5000));
    assertThat(longest.text()).hasSize(Message.Abort.MAX_TEXT);
    byte[] bytes = MessageCodec.encode(longest);
    assertThat(bytes.length).isLessThanOrEqualTo(MessageCodec.MAX_BYTES);
    assertThat(MessageCodec.decode(bytes)).isEqualTo(longest);
  }

  @Test
  void theLongestManifestFitsIntoAHeader() {
    Route route = new Route(ROUTE.transfer(), "\u4e16".repeat(Route.MAX_SESSION), 0);
    List<Integer> added = Collections.nCopies(Manifest.MOST_ADDED, -1);
    Message.Finish longest = new Message.Finish(route, 1, 1, new Manifest(4096, 1, 2, 3, added));
    byte[] bytes = MessageCodec.encode(longest);
    assertThat(bytes.length).isLessThanOrEqualTo(MessageCodec.MAX_BYTES);
    assertThat(MessageCodec.decode(bytes)).isEqualTo(longest);
  }

  @Test
  void theSecretIsInNoText() {
    assertThat(EVERY_TYPE.getFirst().toString()).doesNotContain(new Bits128(-5, 6).toString());
  }

  @Test
  void aMessageCutOrExtendedAnywhereIsNone() {
    for (Message message : EVERY_TYPE) {
      byte[] bytes = MessageCodec.encode(message);
      for (int length = 0; length < bytes.length; length++) {
        assertThat(MessageCodec.decode(Arrays.copyOf(bytes, length))).isNull();
        if (length > 12) {
          assertThat(MessageCodec.decode(withCheck(Arrays.copyOf(bytes, length)))).isNull();
        }
      }
      assertThat(MessageCodec.decode(withCheck(Arrays.copyOf(bytes, bytes.length + 3)))).isNull();
    }
  }

  @Test
  void aMessageWithAnyBitFlippedIsNone() {
    for (Message message : EVERY_TYPE) {
      byte[] bytes = MessageCodec.encode(message);
      for (int bit = 0; bit < bytes.length * 8; bit++) {
        byte[] wrong = bytes.clone();
        wrong[bit / 8] ^= (byte) (1 << (bit % 8));
        assertThat(MessageCodec.decode(wrong)).isNull();
      }
    }
  }

  @Test
  void garbageOfEveryLengthIsNone() {
    Random random = new Random(SEED);
    for (int length = 0; length <= MessageCodec.MAX_BYTES + 64; length++) {
      byte[] bytes = new byte[length];
      random.nextBytes(bytes);
      assertThat(MessageCodec.decode(bytes)).as("seed %d length %d", SEED, length).isNull();
    }
  }

  /** What an attacker can do, who computes checksums too: it may decode, but must never throw. */
  @Test
  void garbageWithAValidChecksumNeverThrows() {
    System.out.println("MessageCodecTest: -Dseed=" + SEED);
    Random random = new Random(SEED);
    for (int round = 0; round < 100_000; round++) {
      byte[] bytes = MessageCodec.encode(EVERY_TYPE.get(random.nextInt(EVERY_TYPE.size())));
      int changes = 1 + random.nextInt(4);
      for (int i = 0; i < changes; i++) {
        bytes[5 + random.nextInt(bytes.length - 5)] = (byte) random.nextInt();
      }
      byte[] checked = withCheck(bytes);
      Message message = MessageCodec.decode(checked);
      if (message != null) {
        assertThat(MessageCodec.encode(message)).as("seed %d", SEED).isEqualTo(checked);
      }
    }
  }

  private static byte[] withCheck(byte[] bytes) {
    byte[] checked = bytes.clone();
    ByteBuffer buffer = ByteBuffer.wrap(checked).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putShort(6, (short) checked.length);
    CRC32C crc = new CRC32C();
    crc.update(checked, 0, checked.length - 4);
    buffer.putInt(checked.length - 4, (int) crc.getValue());
    return checked;
  }
}

package dev.baton.kvtransfer.testing;

import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Random;
import org.jspecify.annotations.Nullable;

/**
 * A transport whose sends suffer: each may be dropped, sent twice, held back (and so overtaken),
 * have a bit of its payload or header flipped, or end the connection. Wraps any other transport.
 */
public final class FaultyTransport extends WrappingTransport {

  /** Probabilities, per message sent. */
  public record Faults(
      double drop,
      double duplicate,
      double delay,
      double corruptPayload,
      double corruptHeader,
      double loss) {

    public static Faults none() {
      return new Faults(0, 0, 0, 0, 0, 0);
    }

    public static Faults corruptPayload(double probability) {
      return new Faults(0, 0, 0, probability, 0, 0);
    }
  }

  private static final int MAX_DELAY_TASKS = 30;

  private final Faults faults;
  private final Random random;
  private volatile int corrupted;

  public FaultyTransport(Transport inner, Faults faults, Random random) {
    super(inner);
    this.faults = faults;
    this.random = random;
  }

  /** Payloads corrupted so far. */
  public int corrupted() {
    return corrupted;
  }

  private boolean happens(double probability) {
    return random.nextDouble() < probability;
  }

  @Override
  protected void send(
      Connection to, byte[] header, @Nullable MemorySegment payload, Completion completion) {
    byte[] sent = header.clone();
    if (happens(faults.corruptHeader)) {
      sent[random.nextInt(sent.length)] ^= (byte) (1 << random.nextInt(8));
    }
    MemorySegment content =
        payload != null && happens(faults.corruptPayload) ? flipped(payload) : payload;
    if (happens(faults.loss)) {
      to.close();
    }
    if (happens(faults.drop)) {
      inner.execute(() -> completion.done(null));
      return;
    }
    int copies = happens(faults.duplicate) ? 2 : 1;
    int[] left = {copies};
    Completion each =
        failure -> {
          Reference.reachabilityFence(content); // the network has only its address
          if (--left[0] == 0) {
            completion.done(failure);
          }
        };
    for (int i = 0; i < copies; i++) {
      int delay = happens(faults.delay) ? 1 + random.nextInt(MAX_DELAY_TASKS) : 0;
      sendAfter(delay, to, sent, content, each);
    }
  }

  private void sendAfter(
      int tasks,
      Connection to,
      byte[] header,
      @Nullable MemorySegment payload,
      Completion completion) {
    if (tasks == 0) {
      to.send(header, payload, completion);
    } else {
      inner.execute(() -> sendAfter(tasks - 1, to, header, payload, completion));
    }
  }

  private MemorySegment flipped(MemorySegment payload) {
    MemorySegment copy = Arena.ofAuto().allocate(payload.byteSize(), 64).copyFrom(payload);
    long at = random.nextLong(copy.byteSize());
    byte flipped = (byte) (copy.get(ValueLayout.JAVA_BYTE, at) ^ (1 << random.nextInt(8)));
    copy.set(ValueLayout.JAVA_BYTE, at, flipped);
    corrupted++;
    return copy;
  }
}

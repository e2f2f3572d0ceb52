package dev.baton.bench.handoff;

import dev.baton.bench.MeasuredProcess;
import dev.baton.bench.handoff.HandoffReport.Kind;
import java.io.IOException;
import java.util.List;
import java.util.function.Consumer;

/**
 * {@code baton bench handoff}: an exporter and an importer, each a process as workers are, hand KV
 * over by the production service: packed from blocks by the device's kernel, checksummed, sent by
 * UCX, checked, unpacked into blocks of another size, acknowledged. In turns with it the same two
 * processes move as many bytes by plain active messages of the size of a slab, from a region as
 * large as the KV to another. Both are timed by the sender, to the receiver's last answer.
 */
public final class HandoffBench {

  /** Rounds that do not count: until the compiler has seen all of both processes. */
  private static final int WARM_UP = 20;

  private static final String HEAP = "256m";

  /**
   * The heap's pages are there from the beginning, as in a worker that has run for a while: else
   * some hundred hand-offs would wait for new ones.
   */
  private static final List<String> TOUCHED = List.of("-Xms" + HEAP, "-XX:+AlwaysPreTouch");

  /** One token: what the answer to a short last chunk costs. */
  private static final int SMALL_TOKENS = 1;

  private HandoffBench() {}

  /**
   * Runs a plan; starts and ends the two processes.
   *
   * @param progress hears what is being done; called on the calling thread
   * @throws IOException a process did not start, or died
   */
  public static HandoffReport run(HandoffPlan plan, Consumer<String> progress) throws IOException {
    try (MeasuredProcess importer = peer("importer", plan);
        MeasuredProcess exporter = peer("exporter", plan)) {
      exporter.ask("connect " + importer.answer());
      HandoffReport.Samples samples = new HandoffReport.Samples();
      for (int round = -WARM_UP; round < plan.rounds(); round++) {
        if (round == -WARM_UP) {
          progress.accept("warming up");
        } else if (round >= 0) {
          progress.accept("round " + (round + 1));
        }
        HandoffReport.Samples taken = round(plan, exporter, importer);
        if (round >= 0) {
          samples.addAll(taken);
        }
      }
      return new HandoffReport(plan, smallBytes(plan), samples);
    }
  }

  private static int smallBytes(HandoffPlan plan) {
    return Math.toIntExact(SMALL_TOKENS * plan.bytesPerToken());
  }

  private static HandoffReport.Samples round(
      HandoffPlan plan, MeasuredProcess exporter, MeasuredProcess importer) throws IOException {
    HandoffReport.Samples samples = new HandoffReport.Samples();
    samples.add(Kind.PLAIN, plain(exporter, importer, plan.messages(), plan.slabBytes()));
    samples.add(Kind.HANDOFF, handoff(exporter, importer, plan.tokens(), HandoffPeer.KV));
    samples.add(Kind.BARE, handoff(exporter, importer, plan.tokens(), "nothing"));
    samples.add(Kind.PLAIN_SMALL, plain(exporter, importer, 1, smallBytes(plan)));
    samples.add(Kind.HANDOFF_SMALL, handoff(exporter, importer, SMALL_TOKENS, HandoffPeer.KV));
    String[] sending = exporter.ask("parts 0").split(" ", -1);
    samples.add(Kind.PACK, seconds(sending[0]));
    samples.add(Kind.CHECKSUM, seconds(sending[1]));
    String[] receiving = importer.ask("parts 0").split(" ", -1);
    samples.add(Kind.UNPACK, seconds(receiving[0]));
    samples.add(Kind.CHECK, seconds(receiving[1]));
    return samples;
  }

  private static MeasuredProcess peer(String role, HandoffPlan plan) throws IOException {
    return new MeasuredProcess(
        role, HandoffPeer.class, HEAP, TOUCHED, HandoffPeer.arguments(role, plan));
  }

  private static double plain(
      MeasuredProcess exporter, MeasuredProcess importer, int messages, int bytes)
      throws IOException {
    importer.say("plain " + messages);
    double seconds = seconds(exporter.ask("plain %d %d".formatted(messages, bytes)));
    importer.answer();
    return seconds;
  }

  private static double handoff(
      MeasuredProcess exporter, MeasuredProcess importer, int tokens, String kind)
      throws IOException {
    String ticket = importer.ask("expect " + tokens + " " + kind);
    return seconds(exporter.ask("export %d %s %s".formatted(tokens, kind, ticket)));
  }

  private static double seconds(String nanos) {
    return Long.parseLong(nanos) / 1e9;
  }
}

package dev.baton.bench.handoff;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.baton.device.DType;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.ucx.UcxStream;
import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/**
 * A process of the measurement: {@code exporter} or {@code importer}, then the plan's numbers.
 * Takes commands on stdin, a line each, and answers each with a line; ends when stdin ends. See
 * {@link HandoffBench} for who asks what.
 */
public final class HandoffPeer {
  static final String HOST = "127.0.0.1";

  /** Begins the lines that are answers: a log may share the stream. */
  static final String ANSWER = "> ";

  /** Plain messages under way at a time; more do not make it faster. */
  private static final int IN_FLIGHT = 16;

  private static final int EXPORTER_BLOCK = 64;
  private static final int IMPORTER_BLOCK = 96;
  private static final String SESSION = "bench";
  private static final long CONTEXT_HASH = 7;

  private final HandoffPlan plan;
  private final KvTransfer transfer;
  private final BlockKv kv;
  private final MemorySegment region;
  private final PrintStream answers;

  private HandoffPeer(
      HandoffPlan plan,
      KvTransfer transfer,
      BlockKv kv,
      MemorySegment region,
      PrintStream answers) {
    this.plan = plan;
    this.transfer = transfer;
    this.kv = kv;
    this.region = region;
    this.answers = answers;
  }

  static List<String> arguments(String role, HandoffPlan plan) {
    return List.of(
        role,
        Integer.toString(plan.layers()),
        Integer.toString(plan.kvHeads()),
        Integer.toString(plan.headDim()),
        plan.dtype().name(),
        Integer.toString(plan.tokens()),
        Integer.toString(plan.slabBytes()),
        Integer.toString(plan.rounds()));
  }

  /** The process. */
  public static void main(String[] arguments) throws Exception {
    boolean exporter = arguments[0].equals("exporter");
    int[] numbers =
        Arrays.stream(arguments, 1, arguments.length)
            .filter(argument -> !argument.equals(arguments[4]))
            .mapToInt(Integer::parseInt)
            .toArray();
    HandoffPlan plan =
        new HandoffPlan(
            numbers[0],
            numbers[1],
            numbers[2],
            DType.valueOf(arguments[4]),
            numbers[3],
            numbers[4],
            numbers[5]);
    PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, UTF_8);
    try (Arena arena = Arena.ofShared();
        BlockKv kv = new BlockKv(plan, exporter ? EXPORTER_BLOCK : IMPORTER_BLOCK);
        KvTransfer transfer = KvTransferFactory.open(options(plan))) {
      MemorySegment region = arena.allocate(plan.bytes(), 4096).fill((byte) 1);
      HandoffPeer peer = new HandoffPeer(plan, transfer, kv, region, answers);
      if (exporter) {
        peer.exporter();
      } else {
        peer.importer();
      }
    }
  }

  private static TransferOptions options(HandoffPlan plan) {
    TransferOptions usual = TransferOptions.on(HOST);
    return new TransferOptions(
        HOST,
        0,
        plan.slabBytes(),
        usual.exportSlabs(),
        usual.importSlabs(),
        usual.connectTimeout(),
        usual.lease(),
        usual.maxResends(),
        usual.ticketLife());
  }

  /** {@code expect TOKENS}: a ticket; {@code plain COUNT}: nothing but an answer at the end. */
  private void importer() throws IOException {
    try (UcxStream stream = UcxStream.receiver(HOST, region);
        BufferedReader in = input()) {
      say(Integer.toString(stream.port()));
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] words = line.split(" ", -1);
        int count = Integer.parseInt(words[1]);
        if (words[0].equals("expect")) {
          say(write(expect(count)));
        } else {
          stream.receive(count);
          say("received");
        }
      }
    }
  }

  private Ticket expect(int tokens) {
    return transfer.expect(
        new ImportSpec(SESSION, 0, plan.geometry(), 0, tokens, CONTEXT_HASH),
        kv,
        new ImportListener() {
          @Override
          public void onCompleted(Manifest manifest, HandoffStats stats) {
            // The exporter hears it too, and measures.
          }

          @Override
          public void onFailed(HandoffException cause) {
            // As above: the exporter says why.
          }
        });
  }

  /**
   * {@code connect PORT}; {@code export TOKENS TICKET}: nanoseconds until all was acknowledged;
   * {@code plain COUNT BYTES}: nanoseconds until all had landed.
   */
  private void exporter() throws IOException {
    try (BufferedReader in = input()) {
      String[] connect = in.readLine().split(" ", -1);
      try (UcxStream stream = UcxStream.sender(HOST, Integer.parseInt(connect[1]), region)) {
        say("connecting");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
          String[] words = line.split(" ", -1);
          int count = Integer.parseInt(words[1]);
          long nanos =
              words[0].equals("export")
                  ? export(count, read(words))
                  : stream.send(count, Integer.parseInt(words[2]), IN_FLIGHT);
          say(Long.toString(nanos));
        }
      }
    }
  }

  private long export(int tokens, Ticket ticket) {
    CompletableFuture<Long> end = new CompletableFuture<>();
    long begun = System.nanoTime();
    Export export =
        transfer.export(
            ticket,
            SESSION,
            0,
            plan.geometry(),
            kv,
            new ExportListener() {
              @Override
              public void onPacked() {
                // Not the end.
              }

              @Override
              public void onAcknowledged(HandoffStats stats) {
                end.complete(System.nanoTime() - begun);
              }

              @Override
              public void onFailed(HandoffException cause) {
                end.completeExceptionally(cause);
              }
            });
    export.finish(new Manifest(tokens, CONTEXT_HASH, 1, 0));
    return end.join();
  }

  private static String write(Ticket ticket) {
    return "%d %d %d %d %d"
        .formatted(
            ticket.transfer().high(),
            ticket.transfer().low(),
            ticket.secret().high(),
            ticket.secret().low(),
            ticket.port());
  }

  private static Ticket read(String[] words) {
    return new Ticket(
        new Bits128(Long.parseLong(words[2]), Long.parseLong(words[3])),
        new Bits128(Long.parseLong(words[4]), Long.parseLong(words[5])),
        HOST,
        Integer.parseInt(words[6]),
        0,
        60_000);
  }

  private static BufferedReader input() {
    return new BufferedReader(new InputStreamReader(System.in, UTF_8));
  }

  private void say(String line) {
    answers.println(ANSWER + line);
  }
}

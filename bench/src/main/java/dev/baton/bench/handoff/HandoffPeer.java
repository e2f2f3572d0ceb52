package dev.baton.bench.handoff;

import static java.nio.charset.StandardCharsets.UTF_8;

import dev.baton.bench.MeasuredProcess;
import dev.baton.device.DType;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabMemory;
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
  private static final String HOST = MeasuredProcess.HOST;

  /** Plain messages under way at a time; more do not make it faster. */
  private static final int IN_FLIGHT = 16;

  private static final int EXPORTER_BLOCK = 64;
  private static final int IMPORTER_BLOCK = 96;

  /** Of a hand-off: with blocks packed and unpacked; any other word: with neither. */
  static final String KV = "kv";

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
        KvTransfer transfer = transfer(options(plan))) {
      MemorySegment region = arena.allocate(plan.bytes(), 4096).fill((byte) 1);
      HandoffPeer peer = new HandoffPeer(plan, transfer, kv, region, answers);
      peer.parts(false); // pages that nobody has written would all be one page of zeros
      if (exporter) {
        peer.exporter();
      } else {
        peer.importer();
      }
    }
  }

  /** With slabs where a worker has them. */
  private static KvTransfer transfer(TransferOptions options) {
    return KvTransferFactory.onHost(
        options,
        KvTransferFactory.listen(options),
        () -> SlabMemory.host(CpuDevice.pages()::allocate));
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

  /**
   * {@code expect TOKENS KIND}: a ticket; {@code plain COUNT}: nothing but an answer at the end;
   * {@code parts 0}: see {@link #parts}.
   */
  private void importer() throws IOException {
    try (UcxStream stream = UcxStream.receiver(HOST, region);
        BufferedReader in = input()) {
      say(Integer.toString(stream.port()));
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] words = line.split(" ", -1);
        int count = Integer.parseInt(words[1]);
        switch (words[0]) {
          case "expect" -> say(write(expect(count, words[2].equals(KV) ? kv : (_, _) -> {})));
          case "parts" -> say(parts(false));
          default -> {
            stream.receive(count);
            say("received");
          }
        }
      }
    }
  }

  private Ticket expect(int tokens, KvSink sink) {
    return transfer.expect(
        new ImportSpec(SESSION, 0, plan.geometry(), 0, tokens, CONTEXT_HASH),
        sink,
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
   * {@code connect PORT}; {@code export TOKENS KIND TICKET}: nanoseconds until all was
   * acknowledged; {@code plain COUNT BYTES}: nanoseconds until all had landed; {@code parts 0}: see
   * {@link #parts}.
   */
  private void exporter() throws IOException {
    try (BufferedReader in = input()) {
      String[] connect = in.readLine().split(" ", -1);
      try (UcxStream stream = UcxStream.sender(HOST, Integer.parseInt(connect[1]), region)) {
        say("connecting");
        for (String line = in.readLine(); line != null; line = in.readLine()) {
          String[] words = line.split(" ", -1);
          int count = Integer.parseInt(words[1]);
          say(
              switch (words[0]) {
                case "export" ->
                    Long.toString(
                        export(count, words[2].equals(KV) ? kv : (_, _) -> {}, read(words)));
                case "parts" -> parts(true);
                default -> Long.toString(stream.send(count, Integer.parseInt(words[2]), IN_FLIGHT));
              });
        }
      }
    }
  }

  /** Nanoseconds of copying and of checksums, of all slabs, with nothing else going on. */
  private String parts(boolean exporter) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment slab = arena.allocate(plan.slabBytes(), 64);
      BlockKv.Parts parts = kv.parts(exporter, slab);
      return parts.copied() + " " + parts.summed();
    }
  }

  private long export(int tokens, KvSource source, Ticket ticket) {
    CompletableFuture<Long> end = new CompletableFuture<>();
    long begun = System.nanoTime();
    Export export =
        transfer.export(
            ticket,
            SESSION,
            0,
            plan.geometry(),
            source,
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
        new Bits128(Long.parseLong(words[3]), Long.parseLong(words[4])),
        new Bits128(Long.parseLong(words[5]), Long.parseLong(words[6])),
        HOST,
        Integer.parseInt(words[7]),
        0,
        60_000);
  }

  private static BufferedReader input() {
    return new BufferedReader(new InputStreamReader(System.in, UTF_8));
  }

  private void say(String line) {
    answers.println(MeasuredProcess.ANSWER + line);
  }
}

package dev.baton.kvtransfer.ucx;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.testing.KvStore;
import dev.baton.kvtransfer.testing.Outcome;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.ProcessBuilder.Redirect;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * The other side of a hand-off in a process of its own: {@code export TICKET-FIELDS} sends {@link
 * #store} to the ticket; {@code import} prints a ticket and takes it. Ends when stdin ends.
 */
final class PeerProcess {
  static final KvGeometry GEOMETRY = new KvGeometry(32, 8, 128, 2);
  static final int TOKENS = 480;
  static final String HOST = "127.0.0.1";

  private PeerProcess() {}

  static KvStore store() {
    return KvStore.random(GEOMETRY, TOKENS, 42);
  }

  static ImportSpec spec() {
    return new ImportSpec("s", 0, GEOMETRY, 0, TOKENS, 7);
  }

  static Process start(List<String> arguments) throws IOException {
    return start(PeerProcess.class, arguments, UcxEnvironment.defaults(HOST));
  }

  static Process start(Class<?> main, List<String> arguments, Map<String, String> environment)
      throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "-Xmx300m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dbaton.log=WARN",
            "-cp",
            System.getProperty("java.class.path"),
            main.getName()));
    command.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(command).redirectError(Redirect.INHERIT);
    builder.environment().putAll(environment);
    return builder.start();
  }

  static List<String> fields(Ticket ticket) {
    return List.of(
        Long.toString(ticket.transfer().high()),
        Long.toString(ticket.transfer().low()),
        Long.toString(ticket.secret().high()),
        Long.toString(ticket.secret().low()),
        Integer.toString(ticket.port()));
  }

  static Ticket ticket(List<String> fields) {
    return new Ticket(
        new Bits128(Long.parseLong(fields.get(0)), Long.parseLong(fields.get(1))),
        new Bits128(Long.parseLong(fields.get(2)), Long.parseLong(fields.get(3))),
        HOST,
        Integer.parseInt(fields.get(4)),
        0,
        60_000);
  }

  static BufferedReader output(Process process) {
    return new BufferedReader(
        new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
  }

  public static void main(String[] arguments) throws IOException {
    List<String> fields = List.of(arguments);
    try (KvTransfer transfer = KvTransferFactory.open(TransferOptions.on(HOST))) {
      if (fields.getFirst().equals("import")) {
        KvStore to = new KvStore(GEOMETRY, TOKENS);
        Ticket ticket = transfer.expect(spec(), to, new Outcome(to));
        System.out.println(String.join(" ", fields(ticket)));
      } else {
        KvStore from = store();
        Ticket ticket = ticket(fields.subList(1, fields.size()));
        Export export = transfer.export(ticket, "s", 0, GEOMETRY, from, new Outcome(from));
        export.computed(TOKENS / 2);
        if (fields.getFirst().equals("export")) {
          export.finish(new Manifest(TOKENS, 7, 1, 0));
        }
      }
      while (System.in.read() >= 0) {
        // the parent says nothing; the end of its pipe is the sign to go
      }
    }
  }
}

package dev.baton.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/**
 * What every command of the program answers to the options that users try first, and to mistakes.
 */
class BatonTest {

  @Test
  void everyCommandTellsItsOptions() {
    for (CommandLine command : all(Baton.commandLine())) {
      for (String option : List.of("--help", "-h")) {
        Answer answer = run(command, option);
        assertThat(answer.code).as(command.getCommandName()).isZero();
        assertThat(answer.out).startsWith("Usage: ").contains(command.getCommandName());
      }
    }
  }

  @Test
  void everyCommandTellsItsVersion() {
    for (CommandLine command : all(Baton.commandLine())) {
      for (String option : List.of("--version", "-V")) {
        Answer answer = run(command, option);
        assertThat(answer.code).as(command.getCommandName()).isZero();
        assertThat(answer.out).isEqualTo("baton " + ProgramVersion.text() + "\n");
      }
    }
  }

  @Test
  void whatNoCommandKnowsIsNamedWithWhereToLook() {
    Answer answer = run(Baton.commandLine(), "frobnicate");
    assertThat(answer.code).isEqualTo(2);
    assertThat(answer.err).contains("'frobnicate'").endsWith("Try: ./baton --help\n");
  }

  @Test
  void benchSaysBeforeItRunsThatItsFiguresHaveNoPlace() {
    for (String bench : List.of("engine", "load", "quality", "handoff", "split")) {
      Answer answer = run(Baton.commandLine(), "bench", bench, "--json", "no/such/place.json");
      assertThat(answer.code).as(bench).isEqualTo(2);
      assertThat(answer.err).contains("--json: no/such/place.json (expected: ");
    }
  }

  @Test
  void benchNamesOptionsAsTheyAreWritten() {
    for (String wrong :
        List.of(
            "--prefill -5 (expected: >= 0)",
            "--step-tokens -1 (expected: >= 0)",
            "--prefill-chunk -1 (expected: >= 0)",
            "--batch 0 (expected: >= 1)",
            "--depth -1 (expected: >= 0)",
            "--repeat 0 (expected: >= 1)",
            "--tp 3 (expected: 1, 2, 4 or 8)")) {
      String[] parts = wrong.split(" ", 3);
      Answer answer =
          run(Baton.commandLine(), "bench", "engine", "--shape=stories260k", parts[0], parts[1]);
      assertThat(answer.code).as(wrong).isEqualTo(2);
      assertThat(answer.err).contains(parts[0] + ": " + parts[1] + " " + parts[2]);
    }
    Answer nothing =
        run(Baton.commandLine(), "bench", "engine", "--prefill=0", "--decode=0", "--repeat=1");
    assertThat(nothing.err).contains("--prefill: no length, and no decode");
  }

  /** It and all commands below it, but not {@code help}, which is one itself. */
  private static List<CommandLine> all(CommandLine command) {
    List<CommandLine> all = new ArrayList<>();
    if (!(command.getCommand() instanceof CommandLine.HelpCommand)) {
      all.add(command);
    }
    command.getSubcommands().values().forEach(below -> all.addAll(all(below)));
    return all;
  }

  private record Answer(int code, String out, String err) {}

  private static Answer run(CommandLine command, String... arguments) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int code = command.setOut(new PrintWriter(out)).setErr(new PrintWriter(err)).execute(arguments);
    return new Answer(code, out.toString(), err.toString());
  }
}

package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.decodeservice.DecodeMachine.Effect;
import dev.baton.decodeservice.DecodeMachine.State;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.testing.StateTable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;

/**
 * Drives the machine of a session on a decode worker through every cell of its table in
 * docs/handoff.md, as {@code SessionTableTest} does with the router's.
 */
class DecodeTableTest {

  private static final Path PAGE = Path.of("..", "docs", "handoff.md");

  private interface Event {
    List<Effect> on(DecodeMachine machine);
  }

  private static DecodeMachine in(State state, boolean growing) {
    DecodeMachine machine = DecodeMachine.importing(growing);
    switch (state) {
      case IMPORTING -> {}
      case CANCELLING -> machine.abandoned();
      case WAITING -> machine.importFailed(Kind.PEER_ABORTED);
      case DECODING -> machine.imported();
      case COPYING -> copying(machine);
      case STANDING -> {
        copying(machine);
        machine.nearlyCopied();
      }
      case ABORTING -> {
        copying(machine);
        machine.abandoned();
      }
      case FREE -> machine.importedWrong();
    }
    assertThat(machine.state()).isEqualTo(state);
    return machine;
  }

  private static void copying(DecodeMachine machine) {
    machine.imported();
    machine.copying();
  }

  private static Map<String, Event> events() {
    Map<String, Event> events = new LinkedHashMap<>();
    events.put("import completed", DecodeMachine::imported);
    events.put("import completed, of another context", DecodeMachine::importedWrong);
    events.put("import failed: CORRUPT", m -> m.importFailed(Kind.CORRUPT));
    events.put("import failed: PEER_LOST", m -> m.importFailed(Kind.PEER_LOST));
    events.put("import failed: TIMEOUT", m -> m.importFailed(Kind.TIMEOUT));
    events.put("import failed: PEER_ABORTED", m -> m.importFailed(Kind.PEER_ABORTED));
    events.put("import failed: CANCELLED", m -> m.importFailed(Kind.CANCELLED));
    events.put("import failed: INTERNAL", m -> m.importFailed(Kind.INTERNAL));
    events.put("500 ms after the exporter gave up", DecodeMachine::exporterHasSpoken);
    events.put("the engine refuses", DecodeMachine::refused);
    events.put("last token, or the engine failed", DecodeMachine::ended);
    events.put("nearly all is copied, or the room is used up", DecodeMachine::nearlyCopied);
    events.put("export acknowledged", DecodeMachine::exported);
    events.put("export failed", DecodeMachine::exportFailed);
    events.put("the call is cancelled, or the deadline passed", DecodeMachine::abandoned);
    return events;
  }

  @Test
  void theSessionDoesWhatItsTableSays() throws IOException {
    Map<String, Event> events = events();
    StateTable table = StateTable.read(PAGE, "Session on a decode worker");
    assertThat(table.cells().keySet()).containsExactlyElementsOf(events.keySet());
    table
        .cells()
        .forEach(
            (event, row) -> {
              assertThat(row.keySet())
                  .containsExactlyElementsOf(
                      Arrays.stream(State.values()).map(State::name).toList());
              for (State state : State.values()) {
                assertThat(cell(Objects.requireNonNull(events.get(event)), state))
                    .as("%s in %s", event, state)
                    .isEqualTo(row.get(state.name()));
              }
            });
  }

  @Test
  void aContextThatGrewElsewhereIsNotComputedHere() {
    for (Kind kind : List.of(Kind.CORRUPT, Kind.PEER_LOST, Kind.TIMEOUT)) {
      DecodeMachine machine = in(State.IMPORTING, true);
      assertThat(machine.importFailed(kind)).containsExactly(Effect.FAIL, Effect.RELEASE);
      assertThat(machine.state()).isEqualTo(State.FREE);
    }
  }

  private static String cell(Event event, State state) {
    DecodeMachine machine = in(state, false);
    List<Effect> effects = event.on(machine);
    return StateTable.cell(state, machine.state(), effects.stream().map(Effect::name).toList());
  }

  /** Prints the table as it is. */
  public static void main(String[] arguments) {
    StringBuilder head = new StringBuilder("| event |");
    StringBuilder line = new StringBuilder("|---|");
    for (State state : State.values()) {
      head.append(" ").append(state).append(" |");
      line.append("---|");
    }
    System.out.println(head + "\n" + line);
    events()
        .forEach(
            (name, event) -> {
              StringBuilder row = new StringBuilder("| " + name + " |");
              for (State state : State.values()) {
                row.append(" ").append(cell(event, state)).append(" |");
              }
              System.out.println(row);
            });
  }
}

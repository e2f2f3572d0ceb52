package dev.baton.decodeservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.decodeservice.DecodeMachine.Effect;
import dev.baton.decodeservice.DecodeMachine.State;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.testing.StateTable;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/**
 * Drives the machine of a session on a decode worker through every cell of its table in
 * docs/handoff.md, as {@code SessionTableTest} does with the router's.
 */
class DecodeTableTest {

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
    StateTable.check("Session on a decode worker", events(), State.class, DecodeTableTest::cell);
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
}

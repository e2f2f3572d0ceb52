package dev.baton.prefillservice;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.kvtransfer.testing.StateTable;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Drives the machines of prompts and prefixes through every cell of their tables. */
class PrefillTablesTest {

  @Test
  void aPromptAndAPrefixLeaveAsTheirTableSays() throws IOException {
    Map<String, Function<PrefillMachine, List<PrefillMachine.Effect>>> events =
        new LinkedHashMap<>();
    events.put("tokens computed", PrefillMachine::computed);
    events.put("first token", PrefillMachine::firstToken);
    events.put("first token, which ends the session", PrefillMachine::onlyToken);
    events.put("all is packed", PrefillMachine::packed);
    events.put("export acknowledged", PrefillMachine::acknowledged);
    events.put("export failed", PrefillMachine::exportFailed);
    events.put("the engine failed", PrefillMachine::engineFailed);
    events.put("the call is cancelled, or the deadline passed", PrefillMachine::abandoned);
    StateTable.check(
        "A prompt or a prefix that leaves",
        events,
        PrefillMachine.State.class,
        (event, state) -> {
          PrefillMachine machine = in(state);
          List<PrefillMachine.Effect> effects = event.apply(machine);
          return StateTable.cell(state, machine.state(), effects.stream().map(Enum::name).toList());
        });
  }

  private static PrefillMachine in(PrefillMachine.State state) {
    PrefillMachine machine =
        switch (state) {
          case PINNED, PREFIX_SENDING -> PrefillMachine.pinned();
          case COMPUTING, PACKING, SENDING, ABORTING, ENDED -> PrefillMachine.computing();
        };
    switch (state) {
      case COMPUTING, PINNED -> {}
      case PACKING -> machine.firstToken();
      case SENDING -> {
        machine.firstToken();
        machine.packed();
      }
      case PREFIX_SENDING -> machine.packed();
      case ABORTING -> machine.abandoned();
      case ENDED -> machine.exportFailed();
    }
    assertThat(machine.state()).isEqualTo(state);
    return machine;
  }

  @Test
  void aPrefixArrivesAsItsTableSays() throws IOException {
    Map<String, Function<FetchMachine, List<FetchMachine.Effect>>> events = new LinkedHashMap<>();
    events.put("import completed", FetchMachine::imported);
    events.put("import failed", FetchMachine::importFailed);
    events.put("the engine failed", FetchMachine::engineFailed);
    events.put("the call is cancelled, or the deadline passed", FetchMachine::abandoned);
    StateTable.check(
        "A prefix that arrives",
        events,
        FetchMachine.State.class,
        (event, state) -> {
          FetchMachine machine = new FetchMachine();
          switch (state) {
            case IMPORTING -> {}
            case CANCELLING -> machine.abandoned();
            case FREE -> machine.imported();
          }
          List<FetchMachine.Effect> effects = event.apply(machine);
          return StateTable.cell(state, machine.state(), effects.stream().map(Enum::name).toList());
        });
  }
}

package dev.baton.cli.supervisor;

import java.util.List;
import java.util.Map;

/**
 * One process of a system.
 *
 * @param name as logs and messages call it, such as {@code decode-0}; also its log file's name
 * @param arguments of the {@code baton} command line
 * @param environment added to the supervisor's own, unless that has the variable already
 */
public record ProcessSpec(String name, List<String> arguments, Map<String, String> environment) {

  public ProcessSpec {
    arguments = List.copyOf(arguments);
    environment = Map.copyOf(environment);
  }
}

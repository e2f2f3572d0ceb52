package dev.baton.cli;

import dev.baton.proto.inference.v1.GenerateResponse;
import dev.baton.proto.inference.v1.TokenLogprob;
import dev.baton.proto.inference.v1.TokenLogprobs;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * What {@code generate --logprobs} prints: a line for each token with its id, its log probability
 * and those of the likeliest tokens, and behind the last token of a message the text that became
 * final with it.
 */
final class LogprobLines {

  private LogprobLines() {}

  /** The lines of one message, each with its end; empty when it brings nothing. */
  static String of(GenerateResponse response) {
    StringBuilder lines = new StringBuilder();
    int last = response.getTokenIdsCount() - 1;
    for (int i = 0; i <= last; i++) {
      lines.append("%7d".formatted(response.getTokenIds(i)));
      if (i < response.getLogprobsCount()) {
        lines.append(values(response.getLogprobs(i)));
      }
      if (i < last) {
        lines.append(System.lineSeparator());
      }
    }
    if (!response.getText().isEmpty()) {
      lines.append("  ").append(quoted(response.getText()));
    }
    return lines.isEmpty() ? "" : lines.append(System.lineSeparator()).toString();
  }

  private static String values(TokenLogprobs logprobs) {
    String own = number(logprobs.getLogprob());
    return logprobs.getTopCount() == 0
        ? own
        : own
            + logprobs.getTopList().stream()
                .map(LogprobLines::alternative)
                .collect(Collectors.joining(", ", "  (", ")"));
  }

  private static String alternative(TokenLogprob token) {
    return "%d%s".formatted(token.getTokenId(), number(token.getLogprob()));
  }

  private static String number(float logprob) {
    return String.format(Locale.ROOT, " %.4f", logprob);
  }

  /** On one line whatever is in it. */
  private static String quoted(String text) {
    return '"'
        + text.replace("\\", "\\\\")
            .replace("\"", "\\\"")
            .replace("\n", "\\n")
            .replace("\r", "\\r")
            .replace("\t", "\\t")
        + '"';
  }
}

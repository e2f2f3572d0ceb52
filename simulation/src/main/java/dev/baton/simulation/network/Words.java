package dev.baton.simulation.network;

import com.google.protobuf.Message;
import com.google.protobuf.TextFormat;
import dev.baton.proto.worker.v1.DecodeRequest;
import dev.baton.proto.worker.v1.PrefillRequest;
import dev.baton.proto.worker.v1.SessionSpec;

/** Messages in a few words, for traces. */
final class Words {

  private static final int MOST = 160;

  private Words() {}

  static String of(Object what) {
    return switch (what) {
      case DecodeRequest m -> session(m.getSession()) + (m.getAwaitHandoff() ? " by hand-off" : "");
      case PrefillRequest m -> session(m.getSession());
      case Message m -> shortened(TextFormat.printer().emittingSingleLine(true).printToString(m));
      default -> String.valueOf(what);
    };
  }

  private static String session(SessionSpec spec) {
    return "%s#%d (%d+%d tokens)"
        .formatted(
            spec.getSessionId(), spec.getEpoch(), spec.getPromptCount(), spec.getGeneratedCount());
  }

  private static String shortened(String text) {
    return text.length() <= MOST ? text : text.substring(0, MOST) + "...";
  }
}

package dev.baton.engine;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Keeps what it hears, and checks that nothing comes after the end. */
class RecordingListener implements SessionListener {

  final List<SampledToken> tokens = new ArrayList<>();
  final List<Integer> computed = new ArrayList<>();
  final List<String> calls = new ArrayList<>();
  int cachedTokens = -1;
  @Nullable EngineException failure;

  @Override
  public void onAdmitted(int cached) {
    requireOpen();
    calls.add("admitted " + cached);
    cachedTokens = cached;
  }

  @Override
  public void onComputed(int count) {
    requireOpen();
    calls.add("computed " + count);
    computed.add(count);
  }

  @Override
  public void onToken(SampledToken token) {
    requireOpen();
    calls.add("token " + token.index());
    tokens.add(token);
  }

  @Override
  public void onFailed(EngineException cause) {
    requireOpen();
    calls.add("failed " + cause.kind());
    failure = cause;
  }

  List<Integer> ids() {
    return tokens.stream().map(SampledToken::id).toList();
  }

  boolean finished() {
    return failure != null || (!tokens.isEmpty() && tokens.getLast().finish() != null);
  }

  private void requireOpen() {
    if (finished()) {
      throw new AssertionError("a call after the end: " + calls);
    }
  }
}

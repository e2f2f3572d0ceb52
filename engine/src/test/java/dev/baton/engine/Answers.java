package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What engines answer to requests: each token with its log probabilities. Equal when all of it is,
 * to the last bit. Every way of running ends with a closed ledger.
 *
 * @param tokens by session, without the reasons of ends: a prefill worker does not know them
 */
record Answers(Map<SessionId, List<SampledToken>> tokens) {

  /** Sessions that a split run has at a time. */
  private static final int WAVE = 8;

  /** One request after the other, nothing shared. */
  static Answers alone(Engine engine, List<Generation> requests) {
    Answers answers = new Answers(new TreeMap<>(Comparator.comparing(SessionId::id)));
    for (Generation request : requests) {
      // A salt of its own, so that nothing comes from the prefix cache.
      Generation salted =
          new Generation(
              request.session(),
              request.prompt(),
              request.generated(),
              request.sampling(),
              request.session().id(),
              0);
      RecordingListener listener = new RecordingListener();
      engine.generate(salted, listener);
      runDry(engine);
      answers.put(request.session(), listener.tokens);
    }
    assertThat(engine.status().cachedTokens()).isZero();
    return answers;
  }

  /** All at once. */
  static Answers together(Engine engine, List<Generation> requests) {
    Map<SessionId, RecordingListener> listeners =
        new TreeMap<>(Comparator.comparing(SessionId::id));
    for (Generation request : requests) {
      RecordingListener listener = new RecordingListener();
      listeners.put(request.session(), listener);
      engine.generate(request, listener);
    }
    runDry(engine);
    Answers answers = new Answers(new TreeMap<>(Comparator.comparing(SessionId::id)));
    listeners.forEach((id, listener) -> answers.put(id, listener.tokens));
    return answers;
  }

  /** The prompt on one engine, what follows on the other, some sessions at a time. */
  static Answers split(Engine exporter, Engine importer, List<Generation> requests) {
    assertThat(exporter.model().fingerprint()).isEqualTo(importer.model().fingerprint());
    Answers answers = new Answers(new TreeMap<>(Comparator.comparing(SessionId::id)));
    try (Arena arena = Arena.ofConfined()) {
      for (int from = 0; from < requests.size(); from += WAVE) {
        List<Generation> wave = requests.subList(from, Math.min(requests.size(), from + WAVE));
        Map<SessionId, List<SampledToken>> first =
            new TreeMap<>(Comparator.comparing(SessionId::id));
        Map<SessionId, RecordingListener> rest = new TreeMap<>(Comparator.comparing(SessionId::id));
        for (Generation request : wave) {
          RecordingListener listener = new RecordingListener();
          int present = importer.reserve(request, listener);
          List<SampledToken> tokens = new ArrayList<>();
          first.put(request.session(), tokens);
          rest.put(request.session(), listener);
          exporter.prefill(
              request, new HandOff(exporter, importer, arena, request, present, tokens));
        }
        while (exporter.step() | importer.step()) {
          importer.checkIntegrity();
        }
        first.forEach(
            (id, tokens) -> {
              tokens.addAll(rest.getOrDefault(id, new RecordingListener()).tokens);
              answers.put(id, tokens);
            });
      }
    }
    assertClosed(exporter);
    assertClosed(importer);
    return answers;
  }

  /** Steps until nothing is left. */
  static void runDry(Engine engine) {
    while (engine.step()) {
      engine.checkIntegrity();
    }
    assertClosed(engine);
  }

  private static void assertClosed(Engine engine) {
    engine.checkIntegrity();
    assertThat(engine.status().ledger().closed()).isTrue();
  }

  private void put(SessionId session, List<SampledToken> heard) {
    tokens.put(
        session,
        heard.stream()
            .map(each -> new SampledToken(each.id(), each.index(), each.logprobs(), null))
            .toList());
  }

  List<Integer> ids(SessionId session) {
    return tokens.getOrDefault(session, List.of()).stream().map(SampledToken::id).toList();
  }

  /** Those of some requests only. */
  Answers of(List<Generation> requests) {
    Answers some = new Answers(new TreeMap<>(Comparator.comparing(SessionId::id)));
    for (Generation request : requests) {
      some.put(request.session(), tokens.getOrDefault(request.session(), List.of()));
    }
    return some;
  }
}

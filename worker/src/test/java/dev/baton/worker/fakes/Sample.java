package dev.baton.worker.fakes;

import dev.baton.engine.Generation;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.proto.inference.v1.SamplingParameters;
import dev.baton.proto.worker.v1.SessionSpec;
import java.util.List;
import java.util.stream.IntStream;

/** Sessions as tests need them. */
public final class Sample {

  private Sample() {}

  /** A greedy session that does not end before maxTokens. */
  public static SessionSpec session(String id, int promptTokens, int maxTokens) {
    return SessionSpec.newBuilder()
        .setSessionId(id)
        .setEpoch(1)
        .addAllPrompt(prompt(promptTokens))
        .setSampling(
            SamplingParameters.newBuilder()
                .setMaxTokens(maxTokens)
                .setTemperature(0)
                .setTopP(1)
                .setSeed(7)
                .setIgnoreEos(true))
        .build();
  }

  private static List<Integer> prompt(int tokens) {
    return IntStream.range(0, tokens).map(i -> 1 + (i * 31) % 400).boxed().toList();
  }

  /** The tokens that a plain run on a {@link FakeEngine} says. */
  public static List<Integer> expected(SessionSpec spec) {
    SamplingParameters p = spec.getSampling();
    return FakeEngine.expected(
        new Generation(
            new SessionId(spec.getSessionId(), spec.getEpoch()),
            spec.getPromptList().stream().mapToInt(i -> i).toArray(),
            spec.getGeneratedList().stream().mapToInt(i -> i).toArray(),
            new Sampling(
                p.getMaxTokens(),
                0,
                0,
                1,
                p.getSeed(),
                -1,
                p.getIgnoreEos(),
                p.getStopTokenIdsList()),
            "",
            0));
  }

  /** The model of a {@link FakeEngine}. */
  public static ModelInfo model() {
    return new FakeEngine().model();
  }
}

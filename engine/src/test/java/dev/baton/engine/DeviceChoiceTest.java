package dev.baton.engine;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.device.LogitScan;
import dev.baton.device.SlabRegion;
import dev.baton.device.StepBatch;
import dev.baton.device.reference.ReferenceLogitScan;
import dev.baton.engine.model.ModelLoader;
import dev.baton.engine.model.ModelRunner;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A GPU that chooses tokens within its passes, emulated: what comes of it, and what it costs. */
class DeviceChoiceTest {

  private static final int REQUESTS = 8;
  private static final int MOST_PROMPT = 24;
  private static final int TOKENS = 4;

  private static EngineOptions options(int ranks) {
    return EngineOptions.of(Path.of("../models/stories260K"))
        .withContextLength(256)
        .withMaxSessions(16)
        .withStepTokens(256)
        .withKvCacheBytes(8L << 20)
        .withTensorParallel(ranks)
        .withDevice(
            DeviceOptions.of(DeviceOptions.Kind.EMULATED_CUDA)
                .withGpus(Collections.nCopies(ranks, 0))
                .withGpuMemoryUtilization(0.1));
  }

  /** Hides that the device chooses: logits come to the host, and are chosen from there. */
  private record LogitsToHost(ModelRunner runner) implements ModelRunner {

    @Override
    public ModelInfo model() {
      return runner.model();
    }

    @Override
    public int blocks() {
      return runner.blocks();
    }

    @Override
    public int blockTokens() {
      return runner.blockTokens();
    }

    @Override
    public int window() {
      return runner.window();
    }

    @Override
    public long swapBytes() {
      return runner.swapBytes();
    }

    @Override
    public int logitRows() {
      return runner.logitRows();
    }

    @Override
    public LogitScan logitScan() {
      return new ReferenceLogitScan();
    }

    @Override
    public StepBatch batch() {
      return runner.batch();
    }

    @Override
    public MemorySegment run() {
      return runner.run();
    }

    @Override
    public void packKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
      runner.packKv(blockTable, region, slab);
    }

    @Override
    public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
      runner.unpackKv(blockTable, region, slab);
    }

    @Override
    public void close() {
      runner.close();
    }
  }

  private static List<Generation> requests() {
    List<Generation> requests = new ArrayList<>();
    for (Generation each : SamplingEquivalenceTest.requests().subList(0, REQUESTS)) {
      requests.add(
          Generation.of(
              each.session(),
              Arrays.copyOf(each.prompt(), Math.min(each.prompt().length, MOST_PROMPT)),
              each.sampling()
                  .with(
                      draft -> {
                        draft.maxTokens = TOKENS;
                        draft.minTokens = Math.min(draft.minTokens, 2);
                      })));
    }
    return requests;
  }

  @Test
  void choosesAsTheHostDoesWhateverIsAskedFor() {
    List<Generation> requests = requests();
    Answers expected;
    try (Engine engine =
        Engine.on(new LogitsToHost(ModelLoader.load(options(1), line -> {})), options(1))) {
      expected = Answers.together(engine, requests);
    }
    try (Engine engine = Engine.on(ModelLoader.load(options(1), line -> {}), options(1))) {
      assertThat(Answers.together(engine, requests).tokens()).isEqualTo(expected.tokens());
    }
    // Of two ranks, whose columns of the logits meet before; ranks are slow to meet in emulation.
    try (Engine engine = Engine.on(ModelLoader.load(options(2), line -> {}), options(2))) {
      Answers some = Answers.together(engine, requests.subList(0, 3));
      some.tokens()
          .forEach((id, tokens) -> assertThat(expected.tokens()).containsEntry(id, tokens));
      assertThat(some.tokens()).hasSize(3);
    }
  }

  @Test
  void aStepThatDecodesCallsTheDriverThreeTimes() throws Throwable {
    assertThat(callsOfAStep(Sampling.greedy(12)))
        .isEqualTo("cuMemcpyHtoDAsync cuGraphLaunch cuStreamSynchronize");
    Sampling drawn =
        Sampling.greedy(12)
            .with(
                draft -> {
                  draft.temperature = 1;
                  draft.topP = 0.9f;
                  draft.logprobs = 2;
                  draft.repetitionPenalty = 1.1f;
                });
    assertThat(callsOfAStep(drawn))
        .isEqualTo("cuMemcpyHtoDAsync cuGraphLaunch cuStreamSynchronize");
  }

  @Test
  void tokensTellTheEnergyOfTheirSessionsOnceTheGpuWasMeasured() {
    try (Engine engine = Engine.load(options(1), line -> {})) {
      assertThat(engine.measureEnergy()).isNotNegative();
      List<RecordingListener> heard = new ArrayList<>();
      for (Generation each : requests().subList(0, 2)) {
        heard.add(new RecordingListener());
        engine.generate(each, heard.getLast());
      }
      while (engine.step()) {
        engine.measureEnergy();
      }
      for (RecordingListener each : heard) {
        assertThat(each.tokens.getFirst().joules()).isNegative();
        assertThat(each.tokens.getLast().joules()).isPositive();
      }
    }
  }

  /** A driver that allocates may wait for kernels, and kernels of ranks wait for one another. */
  @Test
  void ranksAllocateNothingOnceTheyAreOpen() throws Throwable {
    EngineOptions mixture =
        EngineOptions.of(Path.of("src/test/resources/golden/mixtral-fused"))
            .withContextLength(64)
            .withMaxSessions(2)
            .withStepTokens(64)
            .withKvCacheBytes(1 << 20)
            .withTensorParallel(2)
            .withDevice(options(2).device());
    for (EngineOptions each : List.of(options(2), mixture)) {
      try (Engine engine = Engine.load(each, line -> {})) {
        trace(1);
        RecordingListener heard = new RecordingListener();
        engine.generate(
            Generation.of(
                new SessionId("one", 1),
                new int[] {3, 4, 5, 6, 7},
                Sampling.greedy(3).with(draft -> draft.ignoreEos = true)),
            heard);
        while (engine.step()) {}
        assertThat(heard.tokens).hasSize(3);
        assertThat(trace(0))
            .contains("cuGraphUpload")
            .doesNotContain("cuMemAlloc", "cuMemHostAlloc");
      }
    }
  }

  private static String callsOfAStep(Sampling sampling) throws Throwable {
    try (Engine engine = Engine.load(options(1), line -> {})) {
      Sampling endless = sampling.with(draft -> draft.ignoreEos = true);
      engine.generate(
          Generation.of(new SessionId("one", 1), new int[] {3, 4, 5, 6}, endless),
          new RecordingListener());
      for (int i = 0; i < 4; i++) {
        engine.step();
      }
      trace(1);
      engine.step();
      return trace(0);
    }
  }

  /** What the emulated driver was called for since the last call of this. */
  @SuppressWarnings("restricted") // our own library, which is loaded
  private static String trace(int on) throws Throwable {
    MemorySegment text =
        (MemorySegment)
            Linker.nativeLinker()
                .downcallHandle(
                    SymbolLookup.libraryLookup("libcuda.so.1", Arena.global())
                        .find("baton_emulate_trace")
                        .orElseThrow(),
                    FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.JAVA_INT))
                .invokeExact(on);
    return text.reinterpret(1 << 20).getString(0);
  }
}

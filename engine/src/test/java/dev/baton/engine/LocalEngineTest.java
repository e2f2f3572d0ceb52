package dev.baton.engine;

import static java.util.Objects.requireNonNull;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.baton.engine.EngineException.Kind;
import dev.baton.engine.SampledToken.FinishReason;
import dev.baton.engine.cache.BlockLedger;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.BlockTable;
import dev.baton.engine.model.FakeModelRunner;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Field;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

/**
 * The contract of {@link Engine}, sentence by sentence, on the fake model. Long because the
 * contract is: a test for each sentence.
 */
class LocalEngineTest {

  private static final int CONTEXT = 128;
  private static final int BLOCKS = 8;

  private final EngineOptions options =
      EngineOptions.of(Path.of("fake"))
          .withBlockTokens(32)
          .withStepTokens(32)
          .withPrefillChunk(20)
          .withMaxSessions(4);
  private final FakeModelRunner runner = new FakeModelRunner(BLOCKS, options, CONTEXT);
  private final Engine engine = Engine.on(runner, options);
  private final RecordingListener heard = new RecordingListener();

  @AfterEach
  void closeTheAccount() {
    engine.checkIntegrity();
    engine.close();
    engine.checkIntegrity();
    assertThat(engine.status().ledger().closed()).isTrue();
    assertThat(runner.closed).isTrue();
  }

  @Test
  void generatesWhatTheModelSaysAndEndsAtMaxTokens() {
    Generation generation = generation("a", prompt(50), ignoringEos(10));
    engine.generate(generation, heard);
    runDry();
    assertThat(heard.ids()).isEqualTo(FakeModelRunner.plainRun(generation, CONTEXT));
    assertThat(heard.tokens).extracting(SampledToken::index).containsExactlyElementsOf(upTo(10));
    assertThat(heard.tokens.getLast().finish()).isEqualTo(FinishReason.LENGTH);
    assertThat(heard.tokens.get(8).finish()).isNull();
    assertThat(engine.status().ledger().owned()).isZero();
  }

  @Test
  void endsAtAnEndOfSequenceTokenUnlessItIsToBeIgnored() {
    int[] prompt = promptThatLeadsTo(FakeModelRunner.EOS);
    engine.generate(generation("a", prompt, Sampling.greedy(10)), heard);
    RecordingListener ignoring = new RecordingListener();
    engine.generate(generation("b", prompt, ignoringEos(10)), ignoring);
    runDry();
    assertThat(heard.ids()).containsExactly(FakeModelRunner.EOS);
    assertThat(heard.tokens.getLast().finish()).isEqualTo(FinishReason.STOP);
    assertThat(ignoring.tokens).hasSize(10);
  }

  @Test
  void blocksThatNoSessionOwesAreNamedByTheStepThatFollows() throws Exception {
    engine.generate(generation("a", prompt(20), ignoringEos(10)), heard);
    engine.step();
    Field field = LocalEngine.class.getDeclaredField("pool");
    field.setAccessible(true);
    BlockPool pool = (BlockPool) field.get(engine);
    BlockTable forgotten = pool.open(new SessionId("lost", 3), "");
    pool.fill(forgotten, prompt(20), 20, 20, 0, 0, BlockLedger.State.OWNED);

    assertThatThrownBy(engine::step)
        .isInstanceOf(EngineException.class)
        .hasMessageContaining("the account of blocks is wrong")
        .hasMessageContaining("held by lost/3 for")
        .hasMessageContaining("as CONTEXT");

    assertThat(heard.failure).isNotNull();
    pool.release(forgotten);
  }

  @Test
  void tellsWhoHoldsWhat() {
    engine.generate(generation("a", prompt(50), ignoringEos(10)), heard);
    engine.reserve(generation("b", prompt(40), ignoringEos(4)), new RecordingListener());
    engine.step();
    assertThat(engine.holdings())
        .extracting(held -> held.session() + " " + held.count() + " " + held.reason())
        .containsExactlyInAnyOrder("a/1 2 CONTEXT", "b/1 2 HANDOFF");
    engine.release(new SessionId("a", 1));
    engine.release(new SessionId("b", 1));
    assertThat(engine.holdings()).isEmpty();
  }

  @Test
  void suspendedSessionStandsStillWithItsBlocksUntilItIsReleased() {
    Generation generation = generation("a", prompt(20), ignoringEos(10));
    engine.generate(generation, heard);
    assertThatThrownBy(() -> engine.suspend(generation.session()))
        .hasMessageContaining("expected: decoding");
    engine.step();
    engine.step();
    int before = heard.tokens.size();

    SuspendedSession suspended = engine.suspend(generation.session());

    assertThat(suspended.tokens()).hasSize(20 + before).startsWith(generation.prompt());
    assertThat(suspended.tokens()[19 + before]).isEqualTo(heard.tokens.getLast().id());
    assertThat(engine.step()).isFalse();
    assertThat(heard.tokens).hasSize(before);
    assertThat(engine.status().ledger().owned()).isPositive();
    engine.checkIntegrity();
    engine.release(generation.session());
    assertThat(engine.status().ledger().owned()).isZero();
  }

  @Test
  void contextThatGrewWhileItsKvCameGoesOnFromAllOfIt() {
    Generation plain = generation("a", prompt(20), ignoringEos(10));
    List<Integer> expected = FakeModelRunner.plainRun(plain, CONTEXT);
    Generation known =
        new Generation(id("b"), plain.prompt(), first(expected, 2), plain.sampling(), "", 0);
    engine.reserve(known, 30, heard);
    assertThat(engine.kv(id("b")).tokens()).isGreaterThanOrEqualTo(20 + 9);
    bring(new Generation(id("b"), plain.prompt(), first(expected, 6), plain.sampling(), "", 0), 0);

    engine.start(
        id("b"),
        new int[] {at(expected, 2), at(expected, 3), at(expected, 4), at(expected, 5)},
        at(expected, 6));

    engine.checkIntegrity();
    runDry();
    assertThat(heard.ids()).isEqualTo(expected.subList(7, 10));
    assertThat(engine.status().ledger().owned()).isZero();
  }

  @Test
  void contextGrowsNoFurtherThanItsRoomAndItsLimit() {
    engine.reserve(generation("a", prompt(20), ignoringEos(10)), 3, heard);
    assertRefused(Kind.INVALID, () -> engine.start(id("a"), new int[4], 1));
    assertRefused(Kind.INVALID, () -> engine.start(id("a"), new int[] {-1}, 1));
    engine.release(id("a"));
    engine.reserve(generation("b", prompt(20), ignoringEos(4)), 30, heard);
    assertRefused(Kind.INVALID, () -> engine.start(id("b"), new int[4], 1));
    engine.release(id("b"));
  }

  @Test
  void aViewOfASessionThatDecodesShowsWhatIsComputedAndEndsWhenItIsPreempted() {
    Generation low = generation("a", prompt(20), ignoringEos(100));
    engine.generate(low, heard);
    engine.step();
    KvView view = engine.kv(id("a"));
    MemorySegment slab = MemorySegment.ofArray(new float[200]);
    for (int step = 0; step < 40; step++) {
      assertThat(view.computed()).isEqualTo(19 + heard.tokens.size());
      view.pack(FakeModelRunner.region(view.computed() - 1, view.computed()), slab);
      assertThat(slab.get(ValueLayout.JAVA_FLOAT, 4)).isEqualTo(view.computed() - 1);
      engine.step();
    }
    for (String urgent : List.of("b", "c")) {
      engine.generate(
          new Generation(id(urgent), prompt(90), new int[0], ignoringEos(3), urgent, 9),
          new RecordingListener());
    }
    engine.step();
    assertThat(engine.status().preemptions()).isPositive();
    assertThatThrownBy(() -> view.pack(FakeModelRunner.region(0, 1), slab))
        .hasMessageContaining("preempted");
    assertRefused(Kind.INVALID, () -> engine.kv(id("a")));
    runDry();
    assertThat(heard.tokens).hasSize(100);
  }

  private static int[] first(List<Integer> tokens, int count) {
    return tokens.subList(0, count).stream().mapToInt(Integer::intValue).toArray();
  }

  private static int at(List<Integer> tokens, int index) {
    return tokens.get(index);
  }

  @Test
  void endsAtAStopTokenEvenWhenEndOfSequenceIsIgnored() {
    List<Integer> plain =
        FakeModelRunner.plainRun(generation("a", prompt(9), ignoringEos(10)), CONTEXT);
    Sampling stopping = new Sampling(10, 0f, 0, 1f, 0, -1, true, List.of(plain.get(3)));
    engine.generate(generation("a", prompt(9), stopping), heard);
    runDry();
    assertThat(heard.ids()).isEqualTo(plain.subList(0, plain.indexOf(plain.get(3)) + 1));
    assertThat(heard.tokens.getLast().finish()).isEqualTo(FinishReason.STOP);
  }

  @Test
  void endsAtTheEndOfTheContext() {
    engine.generate(generation("a", prompt(CONTEXT - 3), ignoringEos(1000)), heard);
    runDry();
    assertThat(heard.tokens).hasSize(3);
    assertThat(heard.tokens.getLast().finish()).isEqualTo(FinishReason.LENGTH);
  }

  @Test
  void goesOnFromTheTokensOfAnEarlierAttempt() {
    Sampling sampling = new Sampling(12, 1f, 0, 1f, 77, -1, true, List.of());
    List<Integer> plain = FakeModelRunner.plainRun(generation("a", prompt(30), sampling), CONTEXT);
    int[] known = plain.stream().limit(5).mapToInt(Integer::intValue).toArray();
    engine.generate(
        new Generation(new SessionId("a", 2), prompt(30), known, sampling, "", 0), heard);
    runDry();
    assertThat(heard.ids()).isEqualTo(plain.subList(5, 12));
    assertThat(heard.tokens.getFirst().index()).isEqualTo(5);
  }

  @Test
  void reportsLogProbabilitiesOnlyWhenAsked() {
    engine.generate(
        generation("a", prompt(3), new Sampling(2, 0f, 0, 1f, 0, 5, true, List.of())), heard);
    RecordingListener without = new RecordingListener();
    engine.generate(generation("b", prompt(3), ignoringEos(2)), without);
    runDry();
    SampledToken.Logprobs logprobs = requireNonNull(heard.tokens.getFirst().logprobs());
    assertThat(logprobs.top()).hasSize(5);
    assertThat(logprobs.top().getFirst().id()).isEqualTo(heard.ids().getFirst());
    assertThat(logprobs.top().getFirst().logprob()).isEqualTo(logprobs.chosen());
    assertThat(without.tokens.getFirst().logprobs()).isNull();
  }

  @Test
  void aPrefillTellsEachChunkThenItsTokenAndKeepsItsBlocks() {
    engine.prefill(generation("a", prompt(50), ignoringEos(10)), heard);
    runDry();
    assertThat(heard.calls)
        .containsExactly("admitted 0", "computed 20", "computed 40", "computed 50", "token 0");
    assertThat(heard.tokens.getFirst().finish()).isNull();
    assertThat(engine.status().ledger().owned()).isEqualTo(2);
    assertThat(engine.kv(id("a")).tokens()).isEqualTo(64);
    engine.release(id("a"));
    assertThat(engine.status().ledger().owned()).isZero();
    assertThat(engine.status().ledger().cached()).isEqualTo(1);
  }

  @Test
  void theFirstComputedCountsWhatThePrefixCacheHad() {
    engine.generate(generation("a", prompt(70), ignoringEos(1)), new RecordingListener());
    runDry();
    engine.prefill(generation("b", prompt(90), ignoringEos(10)), heard);
    runDry();
    assertThat(heard.calls).startsWith("admitted 64", "computed 84", "computed 90", "token 0");
    assertThat(engine.status().cachedTokens()).isEqualTo(64);
    assertThat(engine.status().promptTokens()).isEqualTo(70 + 26);
  }

  @Test
  void theLastContextTokenIsComputedEvenWhenThePrefixCacheHasItAll() {
    engine.generate(generation("a", prompt(64), ignoringEos(3)), new RecordingListener());
    runDry();
    engine.prefill(generation("b", prompt(64), ignoringEos(3)), heard);
    runDry();
    assertThat(heard.cachedTokens).isEqualTo(32);
    assertThat(heard.ids())
        .isEqualTo(FakeModelRunner.plainRun(generation("b", prompt(64), ignoringEos(1)), CONTEXT));
  }

  @Test
  void aPrefillWhoseFirstTokenEndsItSaysSoAndStillKeepsItsBlocks() {
    engine.prefill(generation("a", prompt(33), ignoringEos(1)), heard);
    runDry();
    assertThat(heard.tokens.getFirst().finish()).isEqualTo(FinishReason.LENGTH);
    assertThat(engine.status().ledger().owned()).isEqualTo(2);
    engine.close();
    assertThat(heard.failure).isNull();
  }

  @Test
  void aHandedOffSessionGoesOnFromTheFirstToken() {
    Generation generation = generation("a", prompt(40), ignoringEos(10));
    List<Integer> plain = FakeModelRunner.plainRun(generation, CONTEXT);
    assertThat(engine.reserve(generation, heard)).isZero();
    assertThat(engine.status().ledger().reserved()).isEqualTo(2);
    assertThat(engine.step()).isFalse();

    bring(generation, 0);
    engine.start(id("a"), plain.getFirst());
    assertThat(engine.status().ledger().reserved()).isZero();
    runDry();

    assertThat(heard.ids()).isEqualTo(plain.subList(1, 10));
    assertThat(heard.tokens.getFirst().index()).isEqualTo(1);
    assertThat(engine.status().promptTokens()).isZero();
  }

  @Test
  void aReservationNeedsOnlyWhatThePrefixCacheLacks() {
    engine.generate(generation("a", prompt(40), ignoringEos(1)), new RecordingListener());
    runDry();
    Generation generation = generation("b", prompt(60), ignoringEos(5));
    assertThat(engine.reserve(generation, heard)).isEqualTo(32);
    bring(generation, 32);
    List<Integer> plain = FakeModelRunner.plainRun(generation, CONTEXT);
    engine.start(id("b"), plain.getFirst());
    runDry();
    assertThat(heard.ids()).isEqualTo(plain.subList(1, 5));
  }

  @Test
  void aReservationLeavesAtLeastOneTokenToTheHandOff() {
    engine.generate(generation("a", prompt(64), ignoringEos(2)), new RecordingListener());
    runDry();
    assertThat(engine.reserve(generation("b", prompt(64), ignoringEos(5)), heard)).isEqualTo(32);
  }

  @Test
  void whatAHandOffBroughtIsAPrefixForOthers() {
    Generation generation = generation("a", prompt(40), ignoringEos(1 + 1));
    engine.reserve(generation, heard);
    bring(generation, 0);
    assertThat(
            engine.reserve(
                generation("early", prompt(40), ignoringEos(2)), new RecordingListener()))
        .isZero();
    engine.start(id("a"), FakeModelRunner.plainRun(generation, CONTEXT).getFirst());
    assertThat(
            engine.reserve(generation("late", prompt(40), ignoringEos(2)), new RecordingListener()))
        .isEqualTo(32);
  }

  @Test
  void aPinHoldsTheWholeBlocksThatAreCachedAndGivesThemBack() {
    Generation first = generation("a", prompt(70), ignoringEos(1));
    engine.generate(first, new RecordingListener());
    runDry();
    Generation whole = generation("p", prompt(64), Sampling.greedy(1));
    assertThat(engine.pin(whole, heard)).isEqualTo(64);
    assertThat(engine.status().ledger().owned()).isEqualTo(2);
    engine.release(id("p"));
    assertThat(engine.status().ledger().closed()).isTrue();
    assertThat(engine.pin(generation("q", prompt(90), Sampling.greedy(1)), heard)).isEqualTo(64);
    engine.release(id("q"));
    int[] others = prompt(64);
    others[0]++;
    assertThat(engine.pin(generation("r", others, Sampling.greedy(1)), heard)).isZero();
    engine.release(id("r"));
    assertThat(heard.calls).isEmpty();
  }

  @Test
  void aPrefixThatAHandOffBroughtIsFoundByThoseThatComeLater() {
    Generation prefix = generation("p", prompt(64), Sampling.greedy(1));
    assertThat(engine.reserve(prefix, heard)).isZero();
    bring(prefix, 0);
    engine.publish(id("p"));
    assertThat(engine.status().ledger().closed()).isTrue();
    Generation generation = generation("b", prompt(70), ignoringEos(5));
    engine.generate(generation, heard);
    runDry();
    assertThat(heard.ids()).isEqualTo(FakeModelRunner.plainRun(generation, CONTEXT));
    assertThat(engine.status().cachedTokens()).isEqualTo(64);
  }

  @Test
  void aFirstTokenThatEndsTheSessionFreesItWithoutAWord() {
    engine.reserve(generation("a", prompt(40), Sampling.greedy(5)), heard);
    engine.start(id("a"), FakeModelRunner.EOS);
    engine.reserve(generation("b", prompt(40), ignoringEos(1)), heard);
    engine.start(id("b"), 7);
    assertThat(heard.calls).isEmpty();
    assertThat(engine.status().ledger().closed()).isTrue();
    assertThat(engine.step()).isFalse();
  }

  @Test
  void reservingBeyondTheFreeBlocksIsNoCapacityAndChangesNothing() {
    engine.reserve(generation("a", prompt(120), ignoringEos(8)), new RecordingListener());
    engine.reserve(generation("b", prompt(90), ignoringEos(8)), new RecordingListener());
    LedgerSnapshot before = engine.status().ledger();
    assertRefused(
        Kind.NO_CAPACITY,
        () -> engine.reserve(generation("c", prompt(60), ignoringEos(8)), new RecordingListener()));
    assertThat(engine.status().ledger()).isEqualTo(before);
    engine.release(id("b"));
    assertThatCode(
            () ->
                engine.reserve(
                    generation("c", prompt(60), ignoringEos(8)), new RecordingListener()))
        .doesNotThrowAnyException();
  }

  @Test
  void refusesWhatItCanNeverRun() {
    assertRefused(
        Kind.INVALID,
        () -> engine.generate(generation("a", new int[] {1, 97}, ignoringEos(1)), heard));
    assertRefused(
        Kind.INVALID, () -> engine.prefill(generation("a", new int[] {-1}, ignoringEos(1)), heard));
    assertRefused(
        Kind.TOO_LONG, () -> engine.generate(generation("a", prompt(128), ignoringEos(1)), heard));
    engine.generate(generation("a", prompt(127), ignoringEos(1)), heard);
    assertRefused(
        Kind.INVALID, () -> engine.generate(generation("a", prompt(3), ignoringEos(1)), heard));
    assertRefused(Kind.INVALID, () -> engine.start(id("a"), 3));
    assertRefused(Kind.INVALID, () -> engine.start(id("nobody"), 3));
    assertRefused(Kind.INVALID, () -> engine.kv(id("nobody")));
    assertRefused(Kind.INVALID, () -> engine.kv(id("a")));
    engine.reserve(generation("b", prompt(3), ignoringEos(2)), new RecordingListener());
    assertRefused(Kind.INVALID, () -> engine.start(id("b"), 97));
  }

  @Test
  void refusesWhatCanNeverFitThePool() {
    FakeModelRunner small = new FakeModelRunner(2, options, CONTEXT);
    try (Engine tight = Engine.on(small, options)) {
      assertRefused(
          Kind.TOO_LONG, () -> tight.generate(generation("a", prompt(56), ignoringEos(10)), heard));
      assertRefused(
          Kind.TOO_LONG, () -> tight.reserve(generation("a", prompt(56), ignoringEos(10)), heard));
      // 64 positions are needed, for the KV of the last token never is.
      tight.generate(generation("b", prompt(56), ignoringEos(9)), heard);
      tight.prefill(generation("c", prompt(64), ignoringEos(50)), new RecordingListener());
    }
  }

  @Test
  void aSessionCanBeReleasedInEveryState() {
    for (int i = 0; i < 6; i++) {
      engine.generate(generation("g" + i, prompt(30), ignoringEos(20)), new RecordingListener());
    }
    engine.step();
    engine.step();
    engine.release(id("g5"));
    engine.release(id("g0"));
    engine.release(id("g1"));
    engine.release(id("g1"));
    engine.release(id("nobody"));
    engine.checkIntegrity();
    engine.release(id("g2"));
    engine.release(id("g3"));
    engine.release(id("g4"));
    engine.reserve(generation("r", prompt(30), ignoringEos(20)), new RecordingListener());
    engine.release(id("r"));
    assertThat(engine.status().ledger().closed()).isTrue();
    assertThat(engine.step()).isFalse();
  }

  @Test
  void aListenerMayReleaseItselfAndOthersAndSubmitMore() {
    RecordingListener third = new RecordingListener();
    RecordingListener second = new RecordingListener();
    RecordingListener first =
        new RecordingListener() {
          @Override
          public void onToken(SampledToken token) {
            super.onToken(token);
            engine.release(id("first"));
            engine.release(id("second"));
            engine.checkIntegrity();
            engine.generate(generation("third", prompt(4), ignoringEos(3)), third);
          }
        };
    engine.generate(generation("first", prompt(5), ignoringEos(9)), first);
    engine.generate(generation("second", prompt(6), ignoringEos(9)), second);
    engine.generate(generation("a", prompt(7), ignoringEos(9)), heard);
    runDry();
    assertThat(first.tokens).hasSize(1);
    assertThat(second.calls).isEmpty();
    assertThat(third.tokens).hasSize(3);
    assertThat(heard.ids())
        .isEqualTo(FakeModelRunner.plainRun(generation("a", prompt(7), ignoringEos(9)), CONTEXT));
  }

  @Test
  void aListenerMayReleaseItsPrefillBeforeItsToken() {
    RecordingListener leaving =
        new RecordingListener() {
          @Override
          public void onComputed(int tokens) {
            super.onComputed(tokens);
            engine.release(id("a"));
          }
        };
    engine.prefill(generation("a", prompt(10), ignoringEos(9)), leaving);
    runDry();
    assertThat(leaving.calls).containsExactly("admitted 0", "computed 10");
  }

  @Test
  void aListenerThatThrowsLosesItsSessionAndNobodyElseDoes() {
    RecordingListener throwing =
        new RecordingListener() {
          @Override
          public void onToken(SampledToken token) {
            throw new IllegalStateException("listener bug");
          }
        };
    engine.generate(generation("bad", prompt(5), ignoringEos(9)), throwing);
    engine.generate(generation("a", prompt(7), ignoringEos(9)), heard);
    runDry();
    assertThat(heard.tokens).hasSize(9);
    assertThat(engine.status().ledger().closed()).isTrue();
  }

  @Test
  void unusableLogitsFailTheirSessionAndLeaveNothingInThePrefixCache() {
    int[] prompt = prompt(40);
    prompt[39] = 96;
    runner.unusable = token -> token == 96;
    engine.generate(generation("bad", prompt, ignoringEos(9)), heard);
    runDry();
    assertThat(heard.tokens).isEmpty();
    assertThat(heard.calls).containsExactly("admitted 0", "failed INTERNAL");
    assertThat(engine.status().ledger().free()).isEqualTo(BLOCKS);
  }

  @Test
  void aFailingDeviceFailsAllSessionsAndEveryLaterCall() {
    RecordingListener waiting = new RecordingListener();
    engine.generate(generation("a", prompt(40), ignoringEos(9)), heard);
    engine.step();
    engine.reserve(generation("r", prompt(40), ignoringEos(9)), waiting);
    runner.failing = true;

    assertRefused(Kind.INTERNAL, engine::step);

    assertThat(heard.calls).endsWith("failed INTERNAL");
    assertThat(waiting.calls).containsExactly("failed INTERNAL");
    assertThat(engine.status().ledger().free()).isEqualTo(BLOCKS);
    runner.failing = false;
    assertRefused(Kind.INTERNAL, engine::step);
    assertRefused(
        Kind.INTERNAL, () -> engine.generate(generation("b", prompt(4), ignoringEos(9)), heard));
    engine.release(id("a"));
  }

  @Test
  void closingFailsWhoIsThereAndMayBeRepeated() {
    engine.generate(generation("a", prompt(40), ignoringEos(9)), heard);
    engine.close();
    engine.close();
    assertThat(heard.calls).containsExactly("failed INTERNAL");
    assertRefused(Kind.INTERNAL, engine::step);
  }

  @Test
  void aPrefillWhoseBlocksAreStillBeingReadHearsOfAClose() {
    engine.prefill(generation("a", prompt(17), ignoringEos(5)), heard);
    runDry();
    engine.close();
    assertThat(heard.calls).endsWith("token 0", "failed INTERNAL");
  }

  @Test
  void aListenerMayNotStepOrClose() {
    RecordingListener meddling =
        new RecordingListener() {
          @Override
          public void onToken(SampledToken token) {
            super.onToken(token);
            assertThatThrownBy(engine::step).isInstanceOf(IllegalStateException.class);
            assertThatThrownBy(engine::close).isInstanceOf(IllegalStateException.class);
          }
        };
    engine.generate(generation("a", prompt(4), ignoringEos(2)), meddling);
    runDry();
    assertThat(meddling.tokens).hasSize(2);
  }

  @Test
  void aViewReadsOnlyWhatIsComputed() {
    engine.prefill(generation("a", prompt(50), ignoringEos(9)), heard);
    engine.step();
    KvView view = engine.kv(id("a"));
    MemorySegment slab = MemorySegment.ofArray(new float[200]);
    view.pack(FakeModelRunner.region(0, 20), slab);
    assertThatThrownBy(() -> view.pack(FakeModelRunner.region(0, 21), slab))
        .hasMessageContaining("20 computed");
    assertThatThrownBy(() -> view.unpack(FakeModelRunner.region(0, 20), slab))
        .isInstanceOf(IllegalStateException.class);
    engine.step();
    view.pack(FakeModelRunner.region(20, 40), slab);
    engine.release(id("a"));
    assertThatThrownBy(() -> view.pack(FakeModelRunner.region(0, 20), slab))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aViewNeverWritesIntoSharedBlocksNorAfterTheStart() {
    engine.generate(generation("a", prompt(40), ignoringEos(1)), new RecordingListener());
    runDry();
    engine.reserve(generation("b", prompt(50), ignoringEos(9)), heard);
    KvView view = engine.kv(id("b"));
    MemorySegment slab = MemorySegment.ofArray(new float[200]);
    assertThatThrownBy(() -> view.unpack(FakeModelRunner.region(31, 50), slab))
        .hasMessageContaining("[32, 50)");
    assertThatThrownBy(() -> view.unpack(FakeModelRunner.region(32, 51), slab))
        .isInstanceOf(IllegalArgumentException.class);
    view.unpack(FakeModelRunner.region(32, 50), slab);
    engine.start(id("b"), 3);
    assertThatThrownBy(() -> view.unpack(FakeModelRunner.region(32, 50), slab))
        .isInstanceOf(IllegalStateException.class);
    engine.release(id("b"));
  }

  @Test
  void theStatusCountsWhatHappened() {
    engine.generate(generation("a", prompt(50), ignoringEos(3)), heard);
    assertThat(engine.status().waitingSessions()).isEqualTo(1);
    assertThat(engine.status().queuedPromptTokens()).isEqualTo(50);
    engine.step();
    assertThat(engine.status().waitingSessions()).isZero();
    assertThat(engine.status().runningSessions()).isEqualTo(1);
    assertThat(engine.status().queuedPromptTokens()).isEqualTo(30);
    runDry();
    EngineStatus status = engine.status();
    assertThat(status.steps()).isEqualTo(5);
    assertThat(status.promptTokens()).isEqualTo(50);
    assertThat(status.generatedTokens()).isEqualTo(3);
    assertThat(status.runningSessions()).isZero();
  }

  private void runDry() {
    while (engine.step()) {
      engine.checkIntegrity();
    }
  }

  private void bring(Generation generation, int from) {
    int[] context = generation.context();
    float[] slab = new float[2 * (context.length - from)];
    for (int position = from; position < context.length; position++) {
      slab[2 * (position - from)] = context[position];
      slab[2 * (position - from) + 1] = position;
    }
    engine
        .kv(generation.session())
        .unpack(FakeModelRunner.region(from, context.length), MemorySegment.ofArray(slab));
  }

  private static int[] promptThatLeadsTo(int token) {
    for (int start = 0; ; start++) {
      int[] prompt = prompt(5);
      prompt[0] = start % FakeModelRunner.VOCABULARY;
      prompt[1] = start / FakeModelRunner.VOCABULARY;
      Generation generation = generation("x", prompt, ignoringEos(1));
      if (FakeModelRunner.plainRun(generation, CONTEXT).getFirst() == token) {
        return prompt;
      }
    }
  }

  private static void assertRefused(Kind kind, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(EngineException.class, e -> assertThat(e.kind()).isEqualTo(kind));
  }

  private static Generation generation(String name, int[] prompt, Sampling sampling) {
    return Generation.of(id(name), prompt, sampling);
  }

  private static SessionId id(String name) {
    return new SessionId(name, 1);
  }

  private static Sampling ignoringEos(int maxTokens) {
    return new Sampling(maxTokens, 0f, 0, 1f, 0, -1, true, List.of());
  }

  private static int[] prompt(int length) {
    int[] prompt = new int[length];
    Arrays.setAll(prompt, i -> 3 + i % 90);
    return prompt;
  }

  private static List<Integer> upTo(int count) {
    return IntStream.range(0, count).boxed().toList();
  }
}

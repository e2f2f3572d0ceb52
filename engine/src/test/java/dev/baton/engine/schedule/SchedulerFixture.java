package dev.baton.engine.schedule;

import static org.assertj.core.api.Assertions.assertThat;

import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.Sampling;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.engine.cache.BlockPool;
import dev.baton.engine.cache.SwapSpace;
import dev.baton.engine.cache.Window;
import dev.baton.engine.schedule.Session.Kind;
import dev.baton.engine.schedule.Session.State;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;

/** A scheduler whose steps compute nothing; every account is recounted after each of them. */
abstract class SchedulerFixture {

  static final int BLOCK = 16;

  final List<Session> sessions = new ArrayList<>();
  BlockPool pool = new BlockPool(64, "model", Window.none(BLOCK), System::nanoTime);
  final Pace pace = new Pace(0);
  int stepTokens = 32;
  SwapSpace swap = new SwapSpace(0, 1, BLOCK, new NoCopies(), System::nanoTime);
  Scheduler scheduler = new Scheduler(pool, swap, pace, 32, 20, 8, 32, _ -> {});

  @AfterEach
  void recount() {
    checkIntegrity();
    for (Session session : sessions) {
      if (session.state() != State.ENDED) {
        scheduler.end(session);
      }
    }
    checkIntegrity();
    assertThat(pool.snapshot().closed()).isTrue();
  }

  void poolOf(int blocks) {
    pool = new BlockPool(blocks, "model", Window.none(BLOCK), System::nanoTime);
    scheduler = new Scheduler(pool, swap, pace, 32, 20, 8, 32, _ -> {});
  }

  Session enqueue(String name, int context) {
    return enqueue(name, context, 0, Kind.GENERATE, 60);
  }

  Session enqueue(String name, int context, int priority, Kind kind, int maxTokens) {
    Session session = session(name, context, priority, kind, maxTokens);
    scheduler.enqueue(session);
    return session;
  }

  Session session(String name, int context, int priority, Kind kind, int maxTokens) {
    int[] prompt = new int[context];
    // A token of its own at the front, so that no prefix is shared.
    prompt[0] = sessions.size() + 1;
    SessionId id = new SessionId(name, 1);
    Generation generation =
        new Generation(id, prompt, new int[0], Sampling.greedy(maxTokens), "", priority);
    Session session =
        new Session(
            generation, new Deaf(), kind, context + maxTokens, pool.open(id, ""), sessions.size());
    sessions.add(session);
    return session;
  }

  /** Runs a step as the engine does; the plan as "name tokens". */
  List<String> step() {
    StepPlan plan = scheduler.schedule();
    assertThat(plan.totalTokens()).isLessThanOrEqualTo(stepTokens);
    List<String> ran = new ArrayList<>();
    for (int i = 0; i < plan.size(); i++) {
      Session session = plan.session(i);
      ran.add(session.id().id() + " " + plan.tokens(i));
      session.advance(plan.tokens(i));
      pool.publish(session.table(), session.tokens(), session.computed());
      if (session.computed() == session.length() && session.kind() != Kind.PREFILL) {
        session.append(1);
        if (session.length() == session.tokenLimit()) {
          scheduler.end(session);
        }
      }
    }
    checkIntegrity();
    return ran;
  }

  void runUntilPreempted() {
    for (int steps = 0; steps < 100 && scheduler.preemptions() == 0; steps++) {
      step();
    }
    assertThat(scheduler.preemptions()).isEqualTo(1);
  }

  void checkIntegrity() {
    scheduler.checkIntegrity();
    pool.checkIntegrity(sessions.stream().map(Session::table).toList());
  }

  /** For tests that look at who runs, not at KV. */
  static final class NoCopies implements SwapSpace.Copier {
    @Override
    public void copyOut(int[] blocks, int from, int to, MemorySegment page) {}

    @Override
    public void copyIn(int[] blocks, int from, int to, MemorySegment page) {}
  }

  static final class Deaf implements SessionListener {
    @Override
    public void onToken(SampledToken token) {}

    @Override
    public void onFailed(EngineException cause) {}
  }
}

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
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Random queues on small pools, counted in steps: the first in order moves on in every step, so all
 * of them end within the sum of their tokens; sessions are not preempted in turns; and each ends
 * with the numbers in its blocks that its tokens put there, wherever they have been. Replays with
 * -Dseed=.
 */
class SchedulerPropertyTest {

  private static final int RUNS = 200;
  private static final int BLOCK = 4;
  private static final long PAGE = BLOCK * (long) Integer.BYTES;

  @Test
  void everyStepMovesTheFirstOnAndPreemptionsAreBounded() {
    long first = Long.getLong("seed", System.nanoTime());
    int runs = System.getProperty("seed") == null ? RUNS : 1;
    long preemptions = 0;
    long ahead = 0;
    long returning = 0;
    long turnedBack = 0;
    for (int i = 0; i < runs; i++) {
      try {
        Queue queue = new Queue(first + i);
        preemptions += queue.drain();
        ahead += queue.stepsWithCopiesAhead;
        returning += queue.stepsReturning;
        turnedBack += queue.turnedBack;
      } catch (RuntimeException | AssertionError e) {
        throw new AssertionError("replay with -Dseed=" + (first + i), e);
      }
    }
    System.out.printf(
        "seeds from %d: %d preemptions (%d of sessions on their way back), %d steps with copies"
            + " ahead, %d with sessions on their way back%n",
        first, preemptions, turnedBack, ahead, returning);
    if (runs == RUNS) {
      assertThat(ahead).isPositive();
      assertThat(returning).isPositive();
    }
  }

  private static final class Queue {
    final Random random;
    final BlockPool pool;
    final SwapSpace swap;
    final Scheduler scheduler;
    final List<Session> all = new ArrayList<>();
    final List<Session> living = new ArrayList<>();

    /** One number for each position of the pool. */
    final int[] kv;

    int blocksOfGrowth;
    int names;
    int stepsWithCopiesAhead;
    int stepsReturning;
    int turnedBack;
    int brought;

    Queue(long seed) {
      random = new Random(seed);
      int window = random.nextInt(3) == 0 ? 2 + random.nextInt(60) : 0;
      int stepTokens = 1 + random.nextInt(60);
      pool =
          new BlockPool(
              33 + random.nextInt(40),
              "model",
              new Window(window, BLOCK, stepTokens),
              System::nanoTime);
      kv = new int[pool.capacity() * BLOCK];
      swap =
          new SwapSpace(
              random.nextInt(2) * random.nextInt(120) * PAGE,
              PAGE,
              BLOCK,
              new Numbers(),
              System::nanoTime);
      Pace pace = new Pace(0);
      for (int i = random.nextInt(2) * 100; i > 0; i--) {
        pace.copied(1, 1_000_000_000); // so slow that blocks go one by one, ahead
      }
      scheduler =
          new Scheduler(
              pool,
              swap,
              pace,
              stepTokens,
              random.nextInt(2) * (1 + random.nextInt(30)),
              1 + random.nextInt(8),
              stepTokens,
              session -> turnedBack += session.state() == State.RETURNING ? 1 : 0);
    }

    long drain() {
      boolean trickle = random.nextBoolean();
      int toCome = 25;
      int tokens = 0;
      int steps = 0;
      while (toCome > 0 || !living.isEmpty()) {
        // Those that come while somebody's KV comes back may take its blocks again.
        int one = random.nextInt(someoneReturns() ? 3 : 12) == 0 ? 1 : 0;
        int come = trickle ? one : random.nextInt(3);
        for (int i = come; i > 0 && toCome > 0; i--, toCome--) {
          tokens += arrive();
        }
        if (random.nextInt(40) == 0 && !living.isEmpty()) {
          leave(living.get(random.nextInt(living.size())));
        }
        steps += living.isEmpty() ? 0 : 1;
        step();
        // What has come so far cannot have kept the engine busy for longer.
        assertThat(steps).isLessThanOrEqualTo(tokens + brought + 2 * 25);
      }
      assertThat(scheduler.preemptions())
          .isLessThanOrEqualTo(blocksOfGrowth + (long) all.size() * all.size());
      assertThat(pool.snapshot().closed()).isTrue();
      assertThat(swap.used()).isZero();
      swap.close();
      return scheduler.preemptions();
    }

    private int arrive() {
      int context = 1 + random.nextInt(70);
      int most = 1 + random.nextInt(60);
      SessionId id = new SessionId("s" + names++, 1);
      int[] prompt = new int[context];
      // Often a prefix of its own, so that what comes back is not in the prefix cache.
      prompt[0] = random.nextBoolean() ? random.nextInt(4) : 10 + names;
      Generation generation =
          new Generation(id, prompt, new int[0], Sampling.greedy(most), "", random.nextInt(5) - 2);
      Session session =
          new Session(
              generation, new Deaf(), Kind.GENERATE, context + most, pool.open(id, ""), names);
      assertThat(scheduler.canEverFit(session)).isTrue();
      scheduler.enqueue(session);
      all.add(session);
      living.add(session);
      blocksOfGrowth += Math.ceilDiv(most, BLOCK) + 1;
      return context + most;
    }

    /** Its client has gone, wherever it is. */
    private void leave(Session session) {
      scheduler.end(session);
      living.remove(session);
    }

    private void step() {
      living.sort(Session::compare);
      Session first = living.isEmpty() ? null : living.getFirst();
      int before = first == null ? 0 : first.computed();
      State stateBefore = first == null ? State.NEW : first.state();
      int broughtBefore = brought;
      StepPlan plan = scheduler.schedule();
      for (int i = 0; i < plan.size(); i++) {
        Session session = plan.session(i);
        int computed = session.computed();
        for (int at = computed; at < computed + plan.tokens(i); at++) {
          kv[slot(session.table().blocks(), at)] = number(session, at);
        }
        session.advance(plan.tokens(i));
        pool.publish(session.table(), session.tokens(), session.computed());
        if (session.computed() == session.length()) {
          session.append(random.nextInt(3));
          if (session.length() == session.tokenLimit()) {
            requireItsNumbers(session);
            scheduler.end(session);
            living.remove(session);
          }
        }
      }
      if (first != null) {
        boolean comesBack = stateBefore != State.RUNNING && brought > broughtBefore;
        assertThat(first.computed() > before || comesBack).as("%s moves on", first).isTrue();
      }
      scheduler.checkIntegrity();
      pool.checkIntegrity(all.stream().map(Session::table).toList());
      assertThat(living).noneMatch(session -> session.state() == State.ENDED);
      stepsWithCopiesAhead += swap.sessionsAhead();
      stepsReturning += someoneReturns() ? 1 : 0;
    }

    private boolean someoneReturns() {
      return living.stream().anyMatch(session -> session.state() == State.RETURNING);
    }

    private void requireItsNumbers(Session session) {
      int end = session.computed();
      int seen = pool.window().size() == 0 ? end : Math.min(end, pool.window().size());
      for (int at = end - seen; at < end; at++) {
        assertThat(kv[slot(session.table().blocks(), at)])
            .as("position %d of %s", at, session)
            .isEqualTo(number(session, at));
      }
    }

    /** Depends on the tokens up to the position, as KV does. */
    private static int number(Session session, int position) {
      int hash = position;
      for (int i = 0; i <= position; i++) {
        hash = 31 * hash + session.tokens()[i];
      }
      return hash;
    }

    private final class Numbers implements SwapSpace.Copier {
      @Override
      public void copyOut(int[] blocks, int from, int to, MemorySegment page) {
        for (int at = from; at < to; at++) {
          page.setAtIndex(ValueLayout.JAVA_INT, at - from, kv[slot(blocks, at)]);
        }
      }

      @Override
      public void copyIn(int[] blocks, int from, int to, MemorySegment page) {
        brought++;
        for (int at = from; at < to; at++) {
          kv[slot(blocks, at)] = page.getAtIndex(ValueLayout.JAVA_INT, at - from);
        }
      }
    }
  }

  private static int slot(int[] blocks, int position) {
    return blocks[position / BLOCK] * BLOCK + position % BLOCK;
  }

  private static final class Deaf implements SessionListener {
    @Override
    public void onToken(SampledToken token) {}

    @Override
    public void onFailed(EngineException cause) {}
  }
}

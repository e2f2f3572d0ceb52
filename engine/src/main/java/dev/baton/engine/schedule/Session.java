package dev.baton.engine.schedule;

import dev.baton.engine.Generation;
import dev.baton.engine.PromptLogprobs;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.engine.cache.BlockTable;
import dev.baton.engine.sample.Adjustments;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * One session on this engine: its tokens, how many of them have KV, and its blocks. States are
 * changed by {@link Scheduler} only. Step thread only.
 */
public final class Session {

  /** The shapes of a session, see {@link dev.baton.engine.Engine}. */
  public enum Kind {
    GENERATE,
    PREFILL,
    HANDOFF
  }

  /** Where a session is in its life. */
  public enum State {
    /** Not with the scheduler yet. */
    NEW,
    /** In the queue, without blocks. */
    WAITING,
    /** Holds blocks and takes part in steps. */
    RUNNING,
    /** Holds blocks, into which its KV comes back from the swap space; takes part in no steps. */
    RETURNING,
    /** Holds blocks for KV that has not arrived. */
    RESERVED,
    /** Prefill is done; its blocks are kept for their reader. */
    HELD,
    /** Holds nothing. */
    ENDED
  }

  private static final int ROOM_FOR_TOKENS = 64;

  private final Generation generation;
  private final SessionListener listener;
  private final Kind kind;
  private final int tokenLimit;
  private final BlockTable table;
  private final long arrival;
  private final EnergyAccount.Share energy = new EnergyAccount.Share();

  private State state = State.NEW;
  private long due;
  private int[] tokens;
  private int length;
  private int computed;
  private int prefillEnd;
  private int room;
  private int cachedTokens = -1;
  private boolean announced;
  private @Nullable Adjustments adjustments;

  /** Null when none are wanted, or when the first token has taken them along. */
  private @Nullable PromptLogprobs promptLogprobs;

  /** Prompt tokens whose successors' log probabilities are known. */
  private int scored;

  /**
   * @param tokenLimit most tokens of the session, prompt and generated together; more than the
   *     context
   * @param arrival rises from session to session
   */
  public Session(
      Generation generation,
      SessionListener listener,
      Kind kind,
      int tokenLimit,
      BlockTable table,
      long arrival) {
    this.generation = generation;
    this.listener = listener;
    this.kind = kind;
    this.tokenLimit = tokenLimit;
    this.table = table;
    this.arrival = arrival;
    this.length = generation.contextTokens();
    this.tokens =
        Arrays.copyOf(
            generation.context(), (int) Math.min(tokenLimit, length + (long) ROOM_FOR_TOKENS));
    this.prefillEnd = length;
    int tops = generation.sampling().promptLogprobs();
    // An earlier attempt has delivered them with its first token; an importer gets its from there.
    if (tops >= 0 && generation.generated().length == 0 && kind != Kind.HANDOFF) {
      this.promptLogprobs = PromptLogprobs.of(generation.prompt().length - 1, tops);
    }
  }

  public SessionId id() {
    return generation.session();
  }

  public Generation generation() {
    return generation;
  }

  public SessionListener listener() {
    return listener;
  }

  public Kind kind() {
    return kind;
  }

  public State state() {
    return state;
  }

  EnergyAccount.Share energy() {
    return energy;
  }

  public BlockTable table() {
    return table;
  }

  /** Tokens known: context and what was generated since. */
  public int length() {
    return length;
  }

  /** Most tokens that the session may come to. */
  public int tokenLimit() {
    return tokenLimit;
  }

  /** Leading tokens whose KV is in blocks, or in the swap space while it is away. */
  public int computed() {
    return computed;
  }

  /** Generated tokens, those of earlier attempts included: the index of the next one. */
  public int generatedCount() {
    return length - generation.prompt().length;
  }

  public int token(int position) {
    return tokens[position];
  }

  /** The tokens; the first {@link #length} entries hold. The session's own array: read only. */
  public int[] tokens() {
    return tokens;
  }

  /** What the session changes in its logits; null = nothing. */
  public @Nullable Adjustments adjustments() {
    return adjustments;
  }

  public void setAdjustments(@Nullable Adjustments value) {
    adjustments = value;
  }

  /** The prompt's log probabilities as far as they are known; null when none are wanted. */
  public @Nullable PromptLogprobs promptLogprobs() {
    return promptLogprobs;
  }

  /** The logits after the prompt token at {@code position} have been put down. */
  public void markScored(int position) {
    scored = position + 1;
  }

  /** Gives the prompt's log probabilities away; the session does not need them any more. */
  public @Nullable PromptLogprobs takePromptLogprobs() {
    PromptLogprobs taken = promptLogprobs;
    promptLogprobs = null;
    return taken;
  }

  /** Whether the logits after the token at {@code position} tell how likely the next one was. */
  public boolean scores(int position) {
    return promptLogprobs != null
        && position >= scored
        && position < generation.prompt().length - 1;
  }

  /** Whether the logits after the token at {@code position} are wanted at all. */
  public boolean needsLogits(int position) {
    return position == length - 1 || scores(position);
  }

  /**
   * Leading tokens that may come from the prefix cache, and one more: what is cached has no logits,
   * so prompt tokens that are still to be scored must be computed.
   */
  int cacheableLength() {
    return promptLogprobs == null ? length : Math.min(length, scored + 1);
  }

  /** Still computing tokens that were known when it was admitted. */
  public boolean isPrefilling() {
    return computed < prefillEnd;
  }

  /** Tokens that the prefix cache had when the session was first given blocks. */
  public int cachedTokens() {
    return Math.max(0, cachedTokens);
  }

  /** Marks the session as known to its listener; true on the first call. */
  public boolean announce() {
    boolean first = !announced;
    announced = true;
    return first;
  }

  /** The KV of the next {@code count} tokens is in blocks. */
  public void advance(int count) {
    computed += count;
  }

  /** Tokens that may be added to the context of a reserved session before it starts. */
  public int room() {
    return room;
  }

  public void setRoom(int value) {
    room = value;
  }

  /** Adds tokens to the context of a reserved session. */
  public void extend(int[] added) {
    for (int token : added) {
      append(token);
    }
    prefillEnd = length;
    room = 0;
  }

  public void append(int token) {
    if (length == tokens.length) {
      tokens = Arrays.copyOf(tokens, (int) Math.min(tokenLimit, 2L * length));
    }
    tokens[length++] = token;
  }

  /**
   * Positions that must have room before the session may run: its tokens, those that may be added,
   * and the next one unless that one's KV is never needed.
   */
  int positionsToAdmit() {
    return Math.max(length, Math.min(length + room + 1, mostPositions()));
  }

  /** Positions that the session may come to need; the last token's KV is never read. */
  int mostPositions() {
    return kind == Kind.PREFILL ? generation.contextTokens() : tokenLimit - 1;
  }

  /** Its blocks grow as it generates; so it can also be preempted. */
  boolean grows() {
    return kind != Kind.PREFILL;
  }

  void setState(State value) {
    state = value;
  }

  /** Sets the session's place in the order; smaller is earlier. */
  void setDue(long value) {
    due = value;
  }

  /**
   * Starts, or starts again.
   *
   * @param cached leading tokens that the prefix cache had
   * @param present leading tokens whose KV is there now, those included
   * @return whether it is the first start
   */
  boolean restart(int cached, int present) {
    computed = present;
    boolean first = cachedTokens < 0;
    if (first) {
      cachedTokens = cached;
    }
    return first;
  }

  /** Goes back to nothing computed. */
  void reset() {
    computed = 0;
    prefillEnd = length;
  }

  /** The order of sessions: due first, then larger priority, then earlier arrival. */
  static int compare(Session a, Session b) {
    if (a.due != b.due) {
      return Long.compare(a.due, b.due);
    }
    int byPriority = Integer.compare(b.generation.priority(), a.generation.priority());
    return byPriority != 0 ? byPriority : Long.compare(a.arrival, b.arrival);
  }

  boolean hasLowerPriorityThan(Session other) {
    return generation.priority() < other.generation.priority();
  }

  @Override
  public String toString() {
    return "session %s, %s %s, %d of %d tokens computed"
        .formatted(id(), kind, state, computed, length);
  }
}

package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The exporter's side of one hand-off, as a pure state machine: events in, effects out.
 *
 * <pre>
 * CONNECTING --welcome--> STREAMING --all packed, finish sent--> FINISHED --done--> ACKNOWLEDGED
 *      |                      |                                     |
 *      +-------- abort, loss, silence, too many resends ------------+-------------> FAILED
 * </pre>
 *
 * <p>docs/handoff.md has the whole table of states and events, and a test holds this to it.
 *
 * <p>Lease: the importer must be heard from within {@code lease}, be it by a heartbeat. While an
 * answer is due from it (of a slab, or the last one) and none has come for a second, it is asked
 * again: the slabs are announced anew, and it says what has become of each, or that it is at it. If
 * it says nothing within another second, or gets nothing done for a lease, it is given up. Credit:
 * slabs that are cut and not acknowledged, each counted at the size agreed on, never exceed what
 * the importer has granted, except that one is always allowed.
 *
 * <p>Invariants: a sequence number has one range for ever; a slab is kept from its packing to its
 * acknowledgement; FINISH leaves after every slab was sent once; after an end every event is
 * ignored, so at most one of Acknowledged and Failed is ever given, and nothing after it. Whatever
 * a peer sends that does not fit the state is ignored too: it is a duplicate or late.
 */
final class ExportMachine {

  enum State {
    CONNECTING,
    STREAMING,
    FINISHED,
    ACKNOWLEDGED,
    FAILED
  }

  /** Within this an answer is due, or a quarter of the lease; what is lost costs no more. */
  static final Duration ANSWER = Duration.ofSeconds(1);

  /** Heartbeats in a lease. */
  static final int BEATS = 4;

  /** A slab to pack: the memory's first {@code bytes} bytes are its payload. */
  record Job(int sequence, SlabRange range, int bytes) {}

  private static final class Kept {
    final Job job;
    boolean packed;
    int crc32c;
    int attempt;

    Kept(Job job) {
      this.job = job;
    }
  }

  private final Ticket ticket;
  private final Route route;
  private final HandoffReason reason;
  private final KvGeometry geometry;
  private final int firstToken;
  private final int ownSlabBytes;
  private final int maxResends;
  private final LongSupplier clock;
  private final long connectDeadline;
  private final long lease;
  private final long answer;
  private final Map<Integer, Kept> kept = new HashMap<>();

  private State state = State.CONNECTING;
  private @Nullable Slicer slicer;
  private @Nullable Manifest manifest;
  private int contextTokens;
  private int room;
  private int computed;
  private int packing;
  private int agreedSlabBytes;
  private long credit;
  private long beat;
  private long heard;
  private long said;
  private long progressed;
  private long asked;
  private int slabs;
  private int resent;
  private long bytes;

  /**
   * @param sourceToken the first token that the source has
   * @param slabBytes of the exporter's own slabs
   * @param lease silence of the importer after which it is given up
   * @param clock nanoseconds, rising
   */
  ExportMachine(
      Ticket ticket,
      Route route,
      HandoffReason reason,
      KvGeometry geometry,
      int sourceToken,
      int slabBytes,
      int maxResends,
      Duration connectTimeout,
      Duration lease,
      LongSupplier clock) {
    this.ticket = ticket;
    this.route = route;
    this.reason = reason;
    this.geometry = geometry;
    this.firstToken = Math.max(ticket.firstToken(), sourceToken);
    this.ownSlabBytes = slabBytes;
    this.maxResends = maxResends;
    this.clock = clock;
    long now = clock.getAsLong();
    this.connectDeadline = now + connectTimeout.toNanos();
    this.lease = lease.toNanos();
    this.answer = Math.min(ANSWER.toNanos(), this.lease / BEATS);
    this.beat = this.lease / BEATS;
    this.heard = now;
    this.said = now;
    this.progressed = now;
    this.asked = now;
    this.computed = firstToken;
  }

  State state() {
    return state;
  }

  boolean ended() {
    return state == State.ACKNOWLEDGED || state == State.FAILED;
  }

  HandoffReason reason() {
    return reason;
  }

  Route route() {
    return route;
  }

  /** Slabs cut so far. */
  int slabs() {
    return slabs;
  }

  /** Bytes of slabs cut so far, each counted once. */
  long bytes() {
    return bytes;
  }

  int resent() {
    return resent;
  }

  List<ExportEffect> begin() {
    return List.of(
        say(
            new Message.Hello(
                route,
                ticket.secret(),
                reason,
                geometry,
                firstToken,
                ownSlabBytes,
                (int) Math.clamp(TimeUnit.NANOSECONDS.toMillis(lease), 1, Integer.MAX_VALUE))));
  }

  List<ExportEffect> computed(int tokens) {
    if (ended() || manifest != null || tokens <= computed) {
      return List.of();
    }
    computed = tokens;
    return checkTokens();
  }

  List<ExportEffect> finish(Manifest end) {
    if (ended() || manifest != null) {
      return List.of();
    }
    if (end.tokens() < computed || end.tokens() <= firstToken) {
      return fail(
          Kind.INTERNAL,
          "manifest.tokens: %d (expected: at least the %d computed, more than the first, %d)"
              .formatted(end.tokens(), computed, firstToken));
    }
    computed = end.tokens();
    manifest = end;
    List<ExportEffect> wrong = checkTokens();
    return wrong.isEmpty() ? finishIfPacked() : wrong;
  }

  /** Whether {@link #nextJob} has something. */
  boolean hasJob() {
    return state == State.STREAMING && slicer != null && slicer.hasNext() && hasCredit();
  }

  private boolean hasCredit() {
    return kept.isEmpty() || (kept.size() + 1L) * agreedSlabBytes <= credit;
  }

  /** Slabs cut and not acknowledged. */
  int unanswered() {
    return kept.size();
  }

  /** Cuts the next slab; {@link #packed} or {@link #sourceFailed} must follow. */
  Job nextJob() {
    if (slicer == null || !hasJob()) {
      throw new IllegalStateException("state: %s, nothing to pack".formatted(state));
    }
    SlabRange range = slicer.next();
    Job job = new Job(slabs++, range, Math.toIntExact(geometry.bytes(range)));
    bytes += job.bytes();
    packing++;
    kept.put(job.sequence(), new Kept(job));
    return job;
  }

  List<ExportEffect> packed(int sequence, int crc32c) {
    Kept slab = kept.get(sequence);
    if (ended() || slab == null || slab.packed) {
      return List.of();
    }
    if (packing == kept.size()) {
      progressed = clock.getAsLong(); // from now on an answer is due
    }
    slab.packed = true;
    slab.crc32c = crc32c;
    packing--;
    List<ExportEffect> effects = new ArrayList<>();
    effects.add(send(slab));
    effects.addAll(finishIfPacked());
    return effects;
  }

  /** A message of the importer, known to come from the hand-off's own connection. */
  List<ExportEffect> message(Message message) {
    if (ended() || !message.route().equals(route)) {
      return List.of();
    }
    heard = clock.getAsLong();
    return switch (message) {
      case Message.Welcome m -> welcome(m);
      case Message.SlabAck m -> acknowledged(m);
      case Message.SlabNack m -> resend(m);
      case Message.Done _ -> done();
      case Message.Heartbeat m -> {
        grant(m.credit());
        yield List.of();
      }
      // Nobody expects this hand-off: the answer to a hello, and to one that came twice and late.
      case Message.Abort m when m.kind() == Kind.PEER_LOST && state != State.CONNECTING ->
          List.of();
      case Message.Abort m ->
          end(Kind.PEER_ABORTED, "importer: %s: %s".formatted(m.kind(), m.text()), null);
      case Message.Hello _, Message.Slab _, Message.Finish _ -> List.of();
    };
  }

  List<ExportEffect> abort(String reason) {
    return fail(Kind.CANCELLED, reason);
  }

  List<ExportEffect> peerLost(String cause) {
    return end(Kind.PEER_LOST, cause, null);
  }

  List<ExportEffect> sourceFailed(Throwable cause) {
    if (ended()) {
      return List.of();
    }
    List<ExportEffect> effects = new ArrayList<>();
    String text = "packing failed: " + cause.getMessage();
    effects.add(abortMessage(Kind.INTERNAL, text));
    effects.addAll(end(Kind.INTERNAL, text, cause));
    return effects;
  }

  List<ExportEffect> tick() {
    long now = clock.getAsLong();
    if (state == State.CONNECTING && now - connectDeadline >= 0) {
      return fail(Kind.TIMEOUT, "the importer did not answer before the connect deadline");
    }
    if (ended() || state == State.CONNECTING) {
      return List.of();
    }
    if (now - heard >= lease) {
      return fail(Kind.TIMEOUT, "the importer was silent for a whole lease in state " + state);
    }
    boolean due = state == State.FINISHED || kept.size() > packing;
    if (due && now - Math.max(progressed, asked) >= answer) {
      if (asked - progressed > 0 && heard - asked < 0) {
        return fail(
            Kind.TIMEOUT,
            "the importer left %d slabs unanswered, asked twice, in state %s"
                .formatted(kept.size(), state));
      }
      if (now - progressed >= lease) {
        return fail(
            Kind.TIMEOUT,
            "the importer left %d slabs unanswered for a lease in state %s"
                .formatted(kept.size(), state));
      }
      return ask(now);
    }
    return now - said >= beat ? List.of(say(new Message.Heartbeat(route, 0))) : List.of();
  }

  /** Says again all that is not answered. */
  private List<ExportEffect> ask(long now) {
    asked = now;
    List<ExportEffect> effects = new ArrayList<>();
    kept.values().stream()
        .filter(slab -> slab.packed)
        .sorted(Comparator.comparingInt(slab -> slab.job.sequence()))
        .forEach(slab -> effects.add(send(slab)));
    if (state == State.FINISHED) {
      effects.add(finishMessage());
    }
    return effects;
  }

  private ExportEffect finishMessage() {
    return say(new Message.Finish(route, slabs, bytes, Objects.requireNonNull(manifest)));
  }

  private List<ExportEffect> welcome(Message.Welcome m) {
    if (state != State.CONNECTING) {
      return List.of();
    }
    int slabBytes = Math.min(ownSlabBytes, m.slabBytes());
    if (geometry.bytesPerLayerToken() > slabBytes) {
      return fail(
          Kind.INTERNAL,
          "slab bytes of the importer: %d (expected: at least %d)"
              .formatted(m.slabBytes(), geometry.bytesPerLayerToken()));
    }
    state = State.STREAMING;
    progressed = clock.getAsLong();
    beat = Math.min(lease, TimeUnit.MILLISECONDS.toNanos(m.leaseMillis())) / BEATS;
    agreedSlabBytes = slabBytes;
    credit = m.credit();
    contextTokens = m.tokens();
    room = m.room();
    slicer = new Slicer(geometry, slabBytes, firstToken);
    return checkTokens();
  }

  /** Holds what is computed against what the importer expects, and gives it to the slicer. */
  private List<ExportEffect> checkTokens() {
    if (slicer == null) {
      return List.of();
    }
    boolean wrong = manifest != null && computed != (long) contextTokens + manifest.added().size();
    if (wrong || computed > (long) contextTokens + room) {
      return fail(
          Kind.INTERNAL,
          "tokens computed: %d (expected by the importer: %d, and at most %d more, as added)"
              .formatted(computed, contextTokens, room));
    }
    slicer.computed(computed);
    return List.of();
  }

  private List<ExportEffect> finishIfPacked() {
    if (state != State.STREAMING
        || manifest == null
        || packing > 0
        || slicer == null
        || slicer.hasNext()) {
      return List.of();
    }
    state = State.FINISHED;
    progressed = clock.getAsLong();
    return List.of(new ExportEffect.Packed(), finishMessage());
  }

  /** A grant may shrink: what is under way stays, and nothing new leaves until it fits. */
  private void grant(long bytes) {
    credit = bytes;
  }

  private List<ExportEffect> acknowledged(Message.SlabAck m) {
    grant(m.credit());
    Kept slab = kept.get(m.sequence());
    if (slab == null || !slab.packed) {
      return List.of();
    }
    progressed = clock.getAsLong();
    kept.remove(m.sequence());
    return List.of(new ExportEffect.Release(m.sequence(), slab.job.bytes()));
  }

  private List<ExportEffect> resend(Message.SlabNack m) {
    Kept slab = kept.get(m.sequence());
    if (slab == null || !slab.packed || slab.attempt != m.attempt()) {
      return List.of();
    }
    if (slab.attempt >= maxResends) {
      return fail(
          Kind.CORRUPT, "slab %d arrived wrong %d times".formatted(m.sequence(), slab.attempt + 1));
    }
    progressed = clock.getAsLong();
    slab.attempt++;
    resent++;
    return List.of(send(slab));
  }

  private List<ExportEffect> done() {
    if (state != State.FINISHED) {
      return List.of();
    }
    state = State.ACKNOWLEDGED;
    kept.clear();
    return List.of(new ExportEffect.Acknowledged());
  }

  private ExportEffect send(Kept slab) {
    said = clock.getAsLong();
    return new ExportEffect.SendSlab(
        new Message.Slab(
            route,
            slab.job.sequence(),
            slab.attempt,
            slab.job.range(),
            geometry.bytesPerElement(),
            slab.job.bytes(),
            slab.crc32c));
  }

  private ExportEffect say(Message message) {
    said = clock.getAsLong();
    return new ExportEffect.Send(message);
  }

  private List<ExportEffect> fail(Kind kind, String text) {
    if (ended()) {
      return List.of();
    }
    List<ExportEffect> effects = new ArrayList<>();
    effects.add(abortMessage(kind, text));
    effects.addAll(end(kind, text, null));
    return effects;
  }

  private ExportEffect abortMessage(Kind kind, String text) {
    return new ExportEffect.Send(new Message.Abort(route, kind, text));
  }

  private List<ExportEffect> end(Kind kind, String text, @Nullable Throwable cause) {
    if (ended()) {
      return List.of();
    }
    state = State.FAILED;
    kept.clear();
    return List.of(new ExportEffect.Failed(new HandoffException(kind, route + ": " + text, cause)));
  }
}

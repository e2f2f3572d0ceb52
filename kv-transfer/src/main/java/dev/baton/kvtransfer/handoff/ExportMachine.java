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
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The exporter's side of one hand-off, as a pure state machine: events in, effects out.
 *
 * <pre>
 * CONNECTING --welcome--> STREAMING --all packed, finish sent--> FINISHED --done--> ACKNOWLEDGED
 *      |                      |                                     |
 *      +-------- abort, loss, deadline, too many resends -----------+-------------> FAILED
 * </pre>
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
  private final int ownSlabBytes;
  private final int maxResends;
  private final LongSupplier clock;
  private final long connectDeadline;
  private final long leaseDeadline;
  private final Map<Integer, Kept> kept = new HashMap<>();

  private State state = State.CONNECTING;
  private @Nullable Slicer slicer;
  private @Nullable Manifest manifest;
  private int contextTokens;
  private int computed;
  private int packing;
  private int slabs;
  private int resent;
  private long bytes;

  /**
   * @param slabBytes of the exporter's own slabs
   * @param clock nanoseconds, rising
   */
  ExportMachine(
      Ticket ticket,
      Route route,
      HandoffReason reason,
      KvGeometry geometry,
      int slabBytes,
      int maxResends,
      Duration connectTimeout,
      LongSupplier clock) {
    this.ticket = ticket;
    this.route = route;
    this.reason = reason;
    this.geometry = geometry;
    this.ownSlabBytes = slabBytes;
    this.maxResends = maxResends;
    this.clock = clock;
    long now = clock.getAsLong();
    this.connectDeadline = now + connectTimeout.toNanos();
    this.leaseDeadline = now + Duration.ofMillis(ticket.leaseMillis()).toNanos();
    this.computed = ticket.firstToken();
  }

  State state() {
    return state;
  }

  boolean ended() {
    return state == State.ACKNOWLEDGED || state == State.FAILED;
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
        new ExportEffect.Send(
            new Message.Hello(
                route,
                ticket.secret(),
                reason,
                geometry,
                ticket.firstToken(),
                ownSlabBytes,
                leaseMillis())));
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
    if (end.tokens() < computed || end.tokens() <= ticket.firstToken()) {
      return fail(
          Kind.INTERNAL,
          "manifest.tokens: %d (expected: at least the %d computed, more than the importer's %d)"
              .formatted(end.tokens(), computed, ticket.firstToken()));
    }
    computed = end.tokens();
    manifest = end;
    List<ExportEffect> wrong = checkTokens();
    return wrong.isEmpty() ? finishIfPacked() : wrong;
  }

  /** Whether {@link #nextJob} has something. */
  boolean hasJob() {
    return state == State.STREAMING && slicer != null && slicer.hasNext();
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
    return switch (message) {
      case Message.Welcome m -> welcome(m);
      case Message.SlabAck m -> acknowledged(m);
      case Message.SlabNack m -> resend(m);
      case Message.Done _ -> done();
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
    return now - leaseDeadline >= 0
        ? fail(Kind.TIMEOUT, "the lease ended in state " + state)
        : List.of();
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
    contextTokens = m.tokens();
    slicer = new Slicer(geometry, slabBytes, ticket.firstToken());
    return checkTokens();
  }

  /** Holds what is computed against what the importer expects, and gives it to the slicer. */
  private List<ExportEffect> checkTokens() {
    if (slicer == null) {
      return List.of();
    }
    boolean wrong = manifest == null ? computed > contextTokens : computed != contextTokens;
    if (wrong) {
      return fail(
          Kind.INTERNAL,
          "tokens computed: %d (expected by the importer: %d)".formatted(computed, contextTokens));
    }
    slicer.computed(computed);
    return List.of();
  }

  private List<ExportEffect> finishIfPacked() {
    if (state != State.STREAMING || manifest == null || packing > 0 || hasJob()) {
      return List.of();
    }
    state = State.FINISHED;
    return List.of(
        new ExportEffect.Packed(),
        new ExportEffect.Send(new Message.Finish(route, slabs, bytes, manifest)));
  }

  private List<ExportEffect> acknowledged(Message.SlabAck m) {
    Kept slab = kept.get(m.sequence());
    if (slab == null || !slab.packed) {
      return List.of();
    }
    kept.remove(m.sequence());
    return List.of(new ExportEffect.Release(m.sequence()));
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
    return new ExportEffect.SendSlab(
        new Message.Slab(
            route,
            slab.job.sequence(),
            slab.attempt,
            slab.job.range(),
            geometry.bytesPerElement(),
            slab.job.bytes(),
            slab.crc32c,
            leaseMillis()));
  }

  private int leaseMillis() {
    long left = Duration.ofNanos(leaseDeadline - clock.getAsLong()).toMillis();
    return (int) Math.clamp(left, 0, Integer.MAX_VALUE);
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

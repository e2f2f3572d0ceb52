package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffException.Kind;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.Route;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;

/**
 * The importer's side of one hand-off, as a pure state machine: events in, effects out.
 *
 * <pre>
 * EXPECTING --hello with the secret--> RECEIVING --manifest and all slabs verified--> COMPLETED
 *     |                                    |
 *     +---- cancel, abort, loss, silence, what stays wrong --------------------------> FAILED
 * </pre>
 *
 * <p>docs/handoff.md has the whole table of states and events, and a test holds this to it.
 *
 * <p>Each slab goes LANDING -> VERIFIED, or LANDING -> WRONG -> LANDING again with a later attempt.
 *
 * <p>Lease: the exporter must come within the ticket's life, and be heard from within {@code lease}
 * from then on, be it by a heartbeat. Credit: no more slabs land at a time than the largest grant
 * so far allows at the size agreed on.
 *
 * <p>Invariants: a position is claimed by at most one sequence number, at its first announcement; a
 * sequence number keeps its range; only VERIFIED slabs count; COMPLETED means that exactly the
 * manifest's slabs are verified, that they cover exactly {@code [0, layers) x [firstToken, tokens)}
 * from the first token that HELLO names, which leaves out nothing but what is here already or
 * behind the window of the context's end, and that the hash is that of the context which the
 * importer asked for, with the tokens added that the manifest names, no more than there was room
 * for. Messages that are late, twice or of another epoch change nothing. What a peer with the
 * secret sends against the rules is refused and asked for again, so that a fault on the way costs a
 * resend and a fault at the peer soon fails the hand-off.
 */
final class ImportMachine {

  enum State {
    EXPECTING,
    RECEIVING,
    COMPLETED,
    FAILED
  }

  private enum Phase {
    LANDING,
    WRONG,
    VERIFIED
  }

  private static final class Piece {
    final SlabRange range;
    int attempt;
    Phase phase = Phase.LANDING;

    Piece(SlabRange range, int attempt) {
      this.range = range;
      this.attempt = attempt;
    }
  }

  private final ImportSpec spec;
  private final Route route;
  private final Bits128 secret;
  private final int slabBytes;
  private final int maxResends;
  private final LongSupplier clock;
  private final long ticketDeadline;
  private final long lease;
  private final LongSupplier credit;
  private Coverage coverage;
  private final Map<Integer, Piece> pieces = new HashMap<>();

  private State state = State.EXPECTING;
  private int firstToken;
  private Message.@Nullable Finish finish;
  private int highestSequence = -1;
  private int verified;
  private int resent;
  private int violations;
  private int landing;
  private int wrong;
  private int agreedSlabBytes;
  private long granted;
  private long beat;
  private long heard;
  private long said;
  private long bytes;

  /**
   * @param slabBytes of the importer's landing slabs
   * @param lease silence of the exporter after which it is given up
   * @param credit bytes of landing slabs to grant this hand-off now
   * @param clock nanoseconds, rising
   */
  ImportMachine(
      ImportSpec spec,
      Ticket ticket,
      int slabBytes,
      int maxResends,
      Duration lease,
      LongSupplier credit,
      LongSupplier clock) {
    this.spec = spec;
    this.route = new Route(ticket.transfer(), spec.session(), spec.epoch());
    this.secret = ticket.secret();
    this.slabBytes = slabBytes;
    this.maxResends = maxResends;
    this.clock = clock;
    this.credit = credit;
    this.lease = lease.toNanos();
    this.beat = this.lease / ExportMachine.BEATS;
    long now = clock.getAsLong();
    this.ticketDeadline = now + TimeUnit.MILLISECONDS.toNanos(ticket.leaseMillis());
    this.heard = now;
    this.said = now;
    this.firstToken = spec.firstToken();
    this.coverage = coverage();
    if (spec.geometry().bytesPerLayerToken() > slabBytes) {
      throw new IllegalArgumentException(
          "bytes of a layer of a token: %d (expected: at most a slab's %d)"
              .formatted(spec.geometry().bytesPerLayerToken(), slabBytes));
    }
  }

  private Coverage coverage() {
    return new Coverage(spec.geometry().layers(), firstToken, spec.mostTokens());
  }

  State state() {
    return state;
  }

  boolean ended() {
    return state == State.COMPLETED || state == State.FAILED;
  }

  Route route() {
    return route;
  }

  /** Slabs verified so far. */
  int slabs() {
    return verified;
  }

  /** Bytes of slabs verified so far. */
  long bytes() {
    return bytes;
  }

  int resent() {
    return resent;
  }

  /**
   * Whether this may open the hand-off: its route and its secret are the ticket's. If not, {@link
   * #hello} must not be called.
   */
  boolean admits(Message.Hello m) {
    long difference = (m.secret().high() ^ secret.high()) | (m.secret().low() ^ secret.low());
    return !ended() && m.route().equals(route) && difference == 0;
  }

  /** A hello that is admitted; the same again is answered again. */
  List<ImportEffect> hello(Message.Hello m) {
    if (ended()) {
      return List.of();
    }
    boolean another =
        state == State.RECEIVING
            ? m.firstToken() != firstToken
            : m.firstToken() < spec.firstToken()
                || !spec.sufficesFrom(m.firstToken(), spec.mostTokens());
    if (!m.geometry().equals(spec.geometry()) || another) {
      return fail(
          Kind.INTERNAL,
          "exporter has %s from token %d (expected: %s from token %d)"
              .formatted(m.geometry(), m.firstToken(), spec.geometry(), firstToken));
    }
    if (m.slabBytes() < spec.geometry().bytesPerLayerToken()) {
      return fail(
          Kind.INTERNAL,
          "slab bytes of the exporter: %d (expected: at least %d)"
              .formatted(m.slabBytes(), spec.geometry().bytesPerLayerToken()));
    }
    if (state == State.EXPECTING) {
      firstToken = m.firstToken();
      coverage = coverage();
      state = State.RECEIVING;
    }
    heard = clock.getAsLong();
    agreedSlabBytes = Math.min(slabBytes, m.slabBytes());
    beat = Math.min(lease, TimeUnit.MILLISECONDS.toNanos(m.leaseMillis())) / ExportMachine.BEATS;
    return List.of(
        say(
            new Message.Welcome(
                route,
                spec.tokens(),
                spec.room(),
                slabBytes,
                grant(),
                (int) Math.clamp(TimeUnit.NANOSECONDS.toMillis(lease), 1, Integer.MAX_VALUE))));
  }

  /**
   * A slab announced on the hand-off's own connection. The effects hold exactly one of Land and
   * Refuse.
   *
   * @param payload bytes that came with it
   */
  List<ImportEffect> slab(Message.Slab m, long payload) {
    if (state != State.RECEIVING || !m.route().equals(route)) {
      return List.of(new ImportEffect.Refuse());
    }
    heard = clock.getAsLong();
    if (!fits(m, payload)) {
      return violation(m);
    }
    Piece piece = pieces.get(m.sequence());
    if (piece == null) {
      // As the exporter counts: what was found wrong is on its way again.
      int unanswered = landing + wrong;
      boolean creditLeft = unanswered == 0 || (unanswered + 1L) * agreedSlabBytes <= granted;
      if (!creditLeft || !coverage.add(m.range())) {
        return violation(m);
      }
      landing++;
      pieces.put(m.sequence(), new Piece(m.range(), m.attempt()));
      highestSequence = Math.max(highestSequence, m.sequence());
      return List.of(new ImportEffect.Land(m));
    }
    if (!piece.range.equals(m.range())) {
      return violation(m);
    }
    return switch (piece.phase) {
      case LANDING ->
          List.of(
              new ImportEffect.Refuse(), say(new Message.Heartbeat(route, grant()))); // is at it
      case VERIFIED ->
          List.of(
              new ImportEffect.Refuse(), say(new Message.SlabAck(route, m.sequence(), grant())));
      case WRONG -> {
        if (m.attempt() <= piece.attempt) {
          // The answer to it may be lost.
          yield List.of(
              new ImportEffect.Refuse(),
              say(new Message.SlabNack(route, m.sequence(), piece.attempt)));
        }
        piece.attempt = m.attempt();
        piece.phase = Phase.LANDING;
        wrong--;
        landing++;
        yield List.of(new ImportEffect.Land(m));
      }
    };
  }

  /** A landed slab had the announced checksum and is unpacked. */
  List<ImportEffect> verified(int sequence) {
    Piece piece = pieces.get(sequence);
    if (state != State.RECEIVING || piece == null || piece.phase != Phase.LANDING) {
      return List.of();
    }
    piece.phase = Phase.VERIFIED;
    landing--;
    verified++;
    bytes += spec.geometry().bytes(piece.range);
    List<ImportEffect> effects = new ArrayList<>();
    effects.add(say(new Message.SlabAck(route, sequence, grant())));
    effects.addAll(completeIfAll());
    return effects;
  }

  /** A slab did not land, or not with the announced checksum. */
  List<ImportEffect> wrong(int sequence) {
    Piece piece = pieces.get(sequence);
    if (state != State.RECEIVING || piece == null || piece.phase != Phase.LANDING) {
      return List.of();
    }
    if (piece.attempt >= maxResends) {
      return fail(
          Kind.CORRUPT, "slab %d arrived wrong %d times".formatted(sequence, piece.attempt + 1));
    }
    piece.phase = Phase.WRONG;
    landing--;
    wrong++;
    resent++;
    return List.of(say(new Message.SlabNack(route, sequence, piece.attempt)));
  }

  /** Finish, heartbeat or abort, on the hand-off's own connection. */
  List<ImportEffect> message(Message message) {
    if (state != State.RECEIVING || !message.route().equals(route)) {
      return List.of();
    }
    heard = clock.getAsLong();
    return switch (message) {
      case Message.Finish m -> finish(m);
      case Message.Abort m ->
          end(Kind.PEER_ABORTED, "exporter: %s: %s".formatted(m.kind(), m.text()), null);
      case Message.Hello _,
          Message.Slab _,
          Message.Welcome _,
          Message.SlabAck _,
          Message.SlabNack _,
          Message.Done _,
          Message.Heartbeat _ ->
          List.of();
    };
  }

  List<ImportEffect> cancel(String reason) {
    return fail(Kind.CANCELLED, reason);
  }

  List<ImportEffect> peerLost(String cause) {
    return end(Kind.PEER_LOST, cause, null);
  }

  List<ImportEffect> sinkFailed(Throwable cause) {
    return fail(Kind.INTERNAL, "unpacking failed: " + cause.getMessage(), cause);
  }

  List<ImportEffect> tick() {
    long now = clock.getAsLong();
    return switch (state) {
      case EXPECTING ->
          now - ticketDeadline >= 0
              ? fail(Kind.TIMEOUT, "no exporter came within the ticket's life")
              : List.of();
      case RECEIVING -> {
        if (now - heard >= lease) {
          yield fail(Kind.TIMEOUT, "the exporter was silent for a whole lease");
        }
        yield now - said >= beat ? List.of(say(new Message.Heartbeat(route, grant()))) : List.of();
      }
      case COMPLETED, FAILED -> List.of();
    };
  }

  private long grant() {
    long now = credit.getAsLong();
    granted = Math.max(granted, now);
    return now;
  }

  private ImportEffect say(Message message) {
    said = clock.getAsLong();
    return new ImportEffect.Send(message);
  }

  private boolean fits(Message.Slab m, long payload) {
    KvGeometry geometry = spec.geometry();
    SlabRange range = m.range();
    // Bounds first: the byte count of an unbounded range may overflow.
    return range.layerTo() <= geometry.layers()
        && range.tokenFrom() >= firstToken
        && range.tokenTo() <= (finish == null ? spec.mostTokens() : finish.manifest().tokens())
        && m.bytesPerElement() == geometry.bytesPerElement()
        && m.length() == geometry.bytes(range)
        && m.length() == payload
        && m.length() <= slabBytes
        && m.attempt() <= maxResends
        && m.sequence() < (finish == null ? maxSlabs() : finish.slabs());
  }

  /** One position per slab is the worst case. */
  private long maxSlabs() {
    return (long) spec.geometry().layers() * (spec.mostTokens() - firstToken);
  }

  private List<ImportEffect> violation(Message.Slab m) {
    List<ImportEffect> effects = new ArrayList<>();
    effects.add(new ImportEffect.Refuse());
    if (++violations > maxResends) {
      effects.addAll(
          fail(Kind.CORRUPT, "slab %d does not fit the hand-off".formatted(m.sequence())));
    } else {
      effects.add(say(new Message.SlabNack(route, m.sequence(), m.attempt())));
    }
    return effects;
  }

  private List<ImportEffect> finish(Message.Finish m) {
    if (finish != null) {
      return finish.equals(m)
          ? List.of(say(new Message.Heartbeat(route, grant())))
          : fail(Kind.CORRUPT, "a second, different manifest");
    }
    Manifest manifest = m.manifest();
    int added = manifest.added().size();
    if (added > spec.room()) {
      return fail(
          Kind.CORRUPT,
          "manifest: %d tokens added (expected: at most %d)".formatted(added, spec.room()));
    }
    int tokens = spec.tokens() + added;
    if (!spec.sufficesFrom(firstToken, tokens)) {
      return fail(
          Kind.CORRUPT,
          "manifest: %d tokens, their KV from token %d on (expected: what their window sees)"
              .formatted(tokens, firstToken));
    }
    long contextHash = spec.hasher().with(manifest.added());
    long expectedBytes =
        spec.geometry().bytes(new SlabRange(0, spec.geometry().layers(), firstToken, tokens));
    if (manifest.tokens() != tokens
        || manifest.contextHash() != contextHash
        || m.bytes() != expectedBytes
        || m.slabs() <= highestSequence
        || m.slabs() > maxSlabs()) {
      return fail(
          Kind.CORRUPT,
          "manifest: %d tokens, hash %016x, %d bytes (expected: %d, %016x, %d)"
              .formatted(
                  manifest.tokens(),
                  manifest.contextHash(),
                  m.bytes(),
                  tokens,
                  contextHash,
                  expectedBytes));
    }
    finish = m;
    return completeIfAll();
  }

  private List<ImportEffect> completeIfAll() {
    if (finish == null || verified != finish.slabs()) {
      return List.of();
    }
    if (!coverage.isExactly(finish.manifest().tokens())) {
      return fail(Kind.CORRUPT, "the slabs of the manifest leave positions uncovered");
    }
    state = State.COMPLETED;
    return List.of(
        new ImportEffect.Send(new Message.Done(route)),
        new ImportEffect.Completed(finish.manifest()));
  }

  private List<ImportEffect> fail(Kind kind, String text) {
    return fail(kind, text, null);
  }

  private List<ImportEffect> fail(Kind kind, String text, @Nullable Throwable cause) {
    if (ended()) {
      return List.of();
    }
    List<ImportEffect> effects = new ArrayList<>();
    effects.add(new ImportEffect.Send(new Message.Abort(route, kind, text)));
    effects.addAll(end(kind, text, cause));
    return effects;
  }

  private List<ImportEffect> end(Kind kind, String text, @Nullable Throwable cause) {
    if (ended()) {
      return List.of();
    }
    state = State.FAILED;
    pieces.clear();
    return List.of(new ImportEffect.Failed(new HandoffException(kind, route + ": " + text, cause)));
  }
}

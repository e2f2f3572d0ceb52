package dev.baton.kvtransfer.handoff;

import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvGeometry;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvSource;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabHolding;
import dev.baton.kvtransfer.SlabMemory;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.TransferTotals;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.IncomingPayload;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.transport.TransportListener;
import dev.baton.kvtransfer.wire.HandoffReason;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.kvtransfer.wire.Route;
import java.security.SecureRandom;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * {@link KvTransfer} over a {@link Transport}: routes messages and calls to the hand-offs they
 * belong to.
 *
 * <p>All state is the transport's thread's. Calls of other threads are handed to it in order; it
 * hands packing and unpacking, and every call of source, sink and listeners, to its two workers, in
 * order, and gets the results back. So there is no lock around a hand-off's state, and the whole
 * service runs on one thread, in any order of events, where a test wants it to.
 */
public final class HandoffService implements KvTransfer {
  private static final Logger log = LoggerFactory.getLogger(HandoffService.class);

  /** Refused messages after which a connection that never showed a secret is closed. */
  private static final int STRIKES = 16;

  /** Refused messages within a lease after which any connection is closed. */
  private static final int FLOOD = 1000;

  /** Connections at a time that have not shown a secret; more are closed at once. */
  private static final int STRANGERS = 256;

  private static final long CLOSE_SECONDS = 5;

  private static final String CLOSING = "the worker closes";

  private final TransferOptions options;
  private final Transport transport;
  private final HandoffWorkers workers;
  private final LongSupplier clock;
  private final RandomGenerator random;
  private final HandoffCounters counters = new HandoffCounters();
  private final ExportDesk exports;
  private final ImportDesk imports;

  /** Connections that we made, or that have shown a secret. */
  private final Set<Connection> known = Collections.newSetFromMap(new IdentityHashMap<>());

  /** Connections that have come and not shown a secret yet, and when they came. */
  private final Map<Connection, Long> strangers = new ConcurrentHashMap<>();

  private final Map<Connection, Integer> strikes = new IdentityHashMap<>();
  private long strikesSince;
  private final Object gate = new Object();
  private boolean closed;

  /**
   * With names and secrets that nobody can guess, and slabs in host memory.
   *
   * @param clock nanoseconds, rising
   */
  public HandoffService(
      TransferOptions options, Transport transport, HandoffWorkers workers, LongSupplier clock) {
    this(options, transport, workers, SlabMemory::host, clock, new SecureRandom());
  }

  /**
   * With slabs in host memory.
   *
   * @param random of names and secrets; a {@link SecureRandom} wherever there are strangers
   */
  public HandoffService(
      TransferOptions options,
      Transport transport,
      HandoffWorkers workers,
      LongSupplier clock,
      RandomGenerator random) {
    this(options, transport, workers, SlabMemory::host, clock, random);
  }

  /**
   * As above.
   *
   * @param memory of the slabs that leave, then of those that land; each is closed
   * @param random of names and secrets; a {@link SecureRandom} wherever there are strangers
   */
  public HandoffService(
      TransferOptions options,
      Transport transport,
      HandoffWorkers workers,
      Supplier<SlabMemory> memory,
      LongSupplier clock,
      RandomGenerator random) {
    this.random = random;
    this.options = options;
    this.transport = transport;
    this.workers = workers;
    this.clock = clock;
    this.exports =
        new ExportDesk(
            new SlabPool(options.slabBytes(), options.exportSlabs(), memory.get(), clock),
            new Leftovers(),
            workers.packer(),
            transport::execute,
            clock,
            counters);
    this.imports =
        new ImportDesk(
            new SlabPool(options.slabBytes(), options.importSlabs(), memory.get(), clock),
            new Leftovers(),
            workers.unpacker(),
            transport::execute,
            clock,
            counters);
    transport.start(new Arrivals());
    workers.everyTick(this::tick);
  }

  @Override
  public String address() {
    return transport.host() + ":" + transport.port();
  }

  @Override
  public Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener) {
    Ticket ticket =
        new Ticket(
            Bits128.random(random),
            Bits128.random(random),
            transport.host(),
            transport.port(),
            spec.firstToken(),
            options.ticketLife().toMillis());
    ImportMachine machine =
        new ImportMachine(
            spec,
            ticket,
            options.slabBytes(),
            options.maxResends(),
            options.lease(),
            imports::credit,
            clock);
    ImportSession session = new ImportSession(machine, sink, listener, imports);
    synchronized (gate) {
      requireOpen();
      imports.add(session);
    }
    return ticket;
  }

  @Override
  public void cancelImport(Bits128 transfer) {
    transport.execute(
        () -> {
          ImportSession session = imports.get(transfer);
          if (session != null) {
            session.apply(session.machine().cancel("cancelled"));
          }
        });
  }

  @Override
  public Export export(
      Ticket ticket,
      String session,
      int epoch,
      HandoffReason reason,
      KvGeometry geometry,
      KvSource source,
      ExportListener listener) {
    ExportMachine machine =
        new ExportMachine(
            ticket,
            new Route(ticket.transfer(), session, epoch),
            reason,
            geometry,
            source.firstToken(),
            options.slabBytes(),
            options.maxResends(),
            options.connectTimeout(),
            options.lease(),
            clock);
    AtomicLong acknowledgedBytes = new AtomicLong();
    synchronized (gate) {
      requireOpen();
      transport.execute(
          () -> {
            if (exports.get(ticket.transfer()) != null) {
              exports.tell(
                  () ->
                      listener.onFailed(
                          new HandoffException(
                              HandoffException.Kind.INTERNAL, ticket + " is in use already")));
              return;
            }
            Connection connection = transport.connect(ticket.host(), ticket.port());
            known.add(connection);
            ExportSession opened =
                new ExportSession(
                    machine, source, listener, exports, connection, acknowledgedBytes);
            exports.add(opened);
            opened.apply(machine.begin());
          });
    }
    return new Export() {
      @Override
      public void computed(int tokens) {
        onSession(open -> open.toldOfSource(machine.computed(tokens)));
      }

      @Override
      public void finish(Manifest manifest) {
        onSession(open -> open.toldOfSource(machine.finish(manifest)));
      }

      @Override
      public void abort(String reason) {
        onSession(open -> open.apply(machine.abort(reason)));
      }

      @Override
      public long acknowledgedBytes() {
        return acknowledgedBytes.get();
      }

      private void onSession(Consumer<ExportSession> event) {
        transport.execute(
            () -> {
              ExportSession open = exports.get(ticket.transfer());
              if (open != null && open.machine() == machine) {
                event.accept(open);
              }
            });
      }
    };
  }

  @Override
  public TransferTotals totals() {
    return counters.totals(
        exports.open(),
        imports.open(),
        exports.pool().ledger(exports.leftovers().quarantined()),
        imports.pool().ledger(imports.leftovers().quarantined()));
  }

  @Override
  public List<SlabHolding> holdings() {
    List<SlabHolding> all = exports.pool().holdings(SlabHolding.Side.SENDING);
    all.addAll(imports.pool().holdings(SlabHolding.Side.LANDING));
    return all;
  }

  /** Messages refused since the start: garbage, strangers', late ones. Any thread. */
  public long refusedMessages() {
    return counters.refusedMessages.sum();
  }

  @Override
  public void close() {
    synchronized (gate) {
      if (closed) {
        return;
      }
      closed = true;
    }
    CountDownLatch fetched = new CountDownLatch(1);
    transport.execute(
        () -> {
          imports.all().forEach(open -> open.apply(open.machine().cancel(CLOSING)));
          for (ExportSession open : exports.all()) {
            if (open.machine().state() != ExportMachine.State.FINISHED) {
              open.apply(open.machine().abort(CLOSING));
            }
          }
          exports.whenNoneIsOpen(fetched::countDown);
        });
    if (!workers.await(fetched, options.lease())) {
      log.warn("{} exports were not fetched within a lease", exports.open());
    }
    CountDownLatch failed = new CountDownLatch(1);
    transport.execute(
        () -> {
          exports.all().forEach(open -> open.apply(open.machine().abort(CLOSING)));
          failed.countDown();
        });
    boolean idle = workers.close(failed, CLOSE_SECONDS);
    transport.close();
    if (idle) {
      exports.pool().checkIntegrity();
      imports.pool().checkIntegrity();
      exports.pool().close();
      imports.pool().close();
    } else {
      log.warn(
          "a source, sink or listener did not return in {} s; slabs stay allocated", CLOSE_SECONDS);
    }
  }

  /** Looks at the deadlines. Any thread. */
  void tick() {
    if (exports.open() + imports.open() > 0
        || !exports.leftovers().isEmpty()
        || !imports.leftovers().isEmpty()
        || exports.pool().out() + imports.pool().out() > 0
        || !strangers.isEmpty()) {
      transport.execute(this::checkDeadlines);
    }
  }

  private void checkDeadlines() {
    for (ExportSession open : exports.all()) {
      boolean connecting = open.machine().state() == ExportMachine.State.CONNECTING;
      open.apply(open.machine().tick());
      if (connecting && open.machine().ended() && !inUse(open.connection())) {
        // A peer that never answers may hang in the connection: the next export gets a new one.
        open.connection().close();
      }
    }
    imports.all().forEach(open -> open.apply(open.machine().tick()));
    exports.leftovers().check(clock.getAsLong());
    imports.leftovers().check(clock.getAsLong());
    strangers.forEach(this::closeIfLate);
    if (clock.getAsLong() - strikesSince >= options.lease().toNanos()) {
      // A stranger keeps its strikes: it has twice the connect timeout to show a ticket anyway.
      strikesSince = clock.getAsLong();
      strikes.keySet().removeIf(known::contains);
    }
    // Last, for what it throws ends this look; slabs are few, so it costs next to nothing.
    exports.pool().checkIntegrity();
    imports.pool().checkIntegrity();
  }

  /** A peer that has a ticket says so at once. */
  private void closeIfLate(Connection stranger, long since) {
    if (clock.getAsLong() - since >= 2 * options.connectTimeout().toNanos()) {
      log.warn("closing the connection of {}: it has shown no ticket", stranger.peer());
      strangers.remove(stranger);
      stranger.close();
    }
  }

  private boolean inUse(Connection connection) {
    return exports.all().stream()
            .anyMatch(
                open ->
                    open.connection() == connection
                        && open.machine().state() != ExportMachine.State.CONNECTING)
        || imports.all().stream().anyMatch(open -> open.connection() == connection);
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("the transfer is closed");
    }
  }

  /** Gives what arrives to its hand-off, if it has one and comes from its peer. */
  private final class Arrivals implements TransportListener {

    @Override
    public void onMessage(Connection from, byte[] header, @Nullable IncomingPayload payload) {
      Message message = MessageCodec.decode(header);
      boolean taken =
          switch (message) {
            case null -> false;
            case Message.Slab m -> payload != null && slab(from, m, payload);
            case Message.Hello m -> payload == null && hello(from, m);
            case Message.Welcome _, Message.SlabAck _, Message.SlabNack _, Message.Done _ ->
                payload == null && toExport(from, message);
            case Message.Finish _ -> payload == null && toImport(from, message);
            case Message.Heartbeat _ ->
                payload == null && (toExport(from, message) || toImport(from, message));
            case Message.Abort m ->
                payload == null && (toExport(from, m) || toImport(from, m) || early(from, m));
          };
      if (!taken) {
        if (payload != null) {
          payload.refuse();
        }
        refused(from);
      }
    }

    @Override
    public void onAccepted(Connection connection) {
      if (strangers.size() < STRANGERS) {
        strangers.put(connection, clock.getAsLong());
      } else {
        log.warn("closing the connection of {}: too many have shown no ticket", connection.peer());
        connection.close();
      }
    }

    @Override
    public void onLost(Connection connection, String cause) {
      known.remove(connection);
      strangers.remove(connection);
      strikes.remove(connection);
      for (ExportSession open : exports.all()) {
        if (open.connection() == connection) {
          open.apply(open.machine().peerLost(cause));
        }
      }
      for (ImportSession open : imports.all()) {
        if (open.connection() == connection) {
          open.apply(open.machine().peerLost(cause));
        }
      }
    }

    /**
     * Strangers all hear the same, so that it tells them nothing; an exporter with an old ticket
     * need not wait for its deadline.
     */
    private boolean hello(Connection from, Message.Hello m) {
      ImportSession open = imports.get(m.route().transfer());
      if (open != null && open.machine().admits(m) && open.hello(from, m)) {
        known.add(from);
        strangers.remove(from);
        strikes.remove(from);
        return true;
      }
      Message no =
          new Message.Abort(m.route(), HandoffException.Kind.PEER_LOST, "no such hand-off");
      from.send(MessageCodec.encode(no), null, _ -> {});
      return false;
    }

    private boolean slab(Connection from, Message.Slab m, IncomingPayload payload) {
      ImportSession open = imports.get(m.route().transfer());
      if (open == null || open.connection() != from) {
        return false;
      }
      open.slab(m, payload);
      return true;
    }

    private boolean toImport(Connection from, Message message) {
      ImportSession open = imports.get(message.route().transfer());
      if (open == null || open.connection() != from) {
        return false;
      }
      open.apply(open.machine().message(message));
      return true;
    }

    /** An abort that has overtaken its hello; refused all the same, for who sends it is unknown. */
    private boolean early(Connection from, Message.Abort m) {
      ImportSession open = imports.get(m.route().transfer());
      if (open != null && open.connection() == null && m.route().equals(open.machine().route())) {
        open.abortedEarly(from, m);
      }
      return false;
    }

    private boolean toExport(Connection from, Message message) {
      ExportSession open = exports.get(message.route().transfer());
      if (open == null || open.connection() != from) {
        return false;
      }
      open.apply(open.machine().message(message));
      return true;
    }

    private void refused(Connection from) {
      counters.refusedMessages.increment();
      int most = known.contains(from) ? FLOOD : STRIKES;
      if (strikes.merge(from, 1, Integer::sum) >= most) {
        log.warn("closing the connection of {}: {} messages of no hand-off", from.peer(), most);
        strikes.remove(from);
        from.close();
      }
    }
  }
}

package dev.baton.simulation.sabotage;

import dev.baton.device.SlabRegion;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SessionId;
import dev.baton.engine.SessionListener;
import dev.baton.engine.model.ModelRunner;
import dev.baton.kvtransfer.Bits128;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.SlabRange;
import dev.baton.kvtransfer.Ticket;
import dev.baton.kvtransfer.transport.Completion;
import dev.baton.kvtransfer.transport.Connection;
import dev.baton.kvtransfer.transport.Transport;
import dev.baton.kvtransfer.wire.Message;
import dev.baton.kvtransfer.wire.MessageCodec;
import dev.baton.proto.worker.v1.SampledToken;
import dev.baton.proto.worker.v1.SessionSpec;
import dev.baton.simulation.clock.Process;
import dev.baton.simulation.cluster.Seams;
import io.grpc.ClientInterceptor;
import io.grpc.ServerInterceptor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import java.util.function.UnaryOperator;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;

/**
 * Promises to break, one at a time. Each gives a run its own seams, since some remember what they
 * have seen. This list is long because it is a list: one entry per promise, each by itself.
 */
enum Sabotage {

  /** A worker does not know that two attempts belong to one session. */
  NO_EPOCH_CHECK_AT_THE_WORKER(
      () ->
          calls(
              spec ->
                  spec.toBuilder()
                      .setSessionId(spec.getSessionId() + "#" + spec.getEpoch())
                      .build(),
              (_, token) -> token,
              true)),

  /** What an old attempt says counts for the one that took its place. */
  NO_EPOCH_CHECK_AT_THE_ROUTER(
      () ->
          new Seams() {
            private final CrossedCalls crossed = new CrossedCalls();

            @Override
            public List<ClientInterceptor> routerCalls() {
              return List.of(crossed);
            }
          }),

  /** Some payloads are changed on the way, and their checksum fits all the same. */
  NO_CHECKSUM(
      () ->
          new Seams() {
            @Override
            public Transport transport(Process worker, Transport transport) {
              return new Unchecked(transport);
            }
          }),

  /** The importer acknowledges what it has not looked at yet. */
  ACKNOWLEDGED_BEFORE_VERIFIED(
      () ->
          new Seams() {
            @Override
            public Transport transport(Process worker, Transport transport) {
              return new RewritingTransport(transport) {
                @Override
                void arrived(Connection from, Message message) {
                  if (message instanceof Message.Slab m) {
                    from.send(
                        MessageCodec.encode(new Message.SlabAck(m.route(), m.sequence(), 1 << 20)),
                        null,
                        _ -> {});
                  }
                }
              };
            }
          }),

  /** A session goes on when the manifest is there, whatever has become of the slabs. */
  STARTED_BEFORE_VERIFIED(EarlyStarts::new),

  /** The importer's blocks are written to again, some steps after they were declared complete. */
  BLOCKS_FREED_BEFORE_THE_LAST_WRITE(() -> model(LateWrites::new)),

  /** A slab is unpacked where another one belongs. */
  SLAB_AT_THE_WRONG_RANGE(() -> sinks(Sabotage::misplaced)),

  /** One slab of a hand-off is counted and not unpacked. */
  COVERAGE_NOT_CHECKED(() -> sinks(Sabotage::incomplete)),

  /** What was reserved and never verified goes into the prefix cache. */
  CACHED_BEFORE_VERIFIED(
      () ->
          new Seams() {
            @Override
            public Engine engine(Process worker, Engine engine) {
              return new HastyCache(engine);
            }
          }),

  /** A prefix that was asked of another worker, and did not come, goes into the prefix cache. */
  PREFIX_CACHED_BEFORE_IT_IS_THERE(
      () ->
          new Seams() {
            @Override
            public Engine engine(Process worker, Engine engine) {
              return new HastyPrefixes(engine);
            }
          }),

  /** The engine takes the window of the model for one smaller than it is. */
  WINDOW_CUT_SHORT(
      () ->
          model(
              model ->
                  new ForwardingModel(model) {
                    @Override
                    public int window() {
                      return super.window() == 0 ? 0 : Math.max(2, super.window() - 10);
                    }
                  })),

  /** A worker does not hear that the other end of a call is gone. */
  END_OF_CALLS_NOT_NOTICED(
      () ->
          new Seams() {
            @Override
            public List<ServerInterceptor> workerCalls(Process worker) {
              return List.of(new DeafToCancels());
            }
          }),

  /** The client's going away is not told to the workers. */
  LOST_CANCEL(() -> calls(spec -> spec, (_, token) -> token, false)),

  /** A resumed session is given all tokens but the last. */
  DOUBLE_RESUME(
      () ->
          calls(
              spec -> {
                int count = spec.getGeneratedCount();
                return count == 0
                    ? spec
                    : spec.toBuilder()
                        .clearGenerated()
                        .addAllGenerated(spec.getGeneratedList().subList(0, count - 1))
                        .build();
              },
              (_, token) -> token,
              true)),

  /** A resumed session's sampler begins anew. */
  SAMPLER_POSITION_LOST(
      () ->
          calls(
              spec ->
                  spec.toBuilder()
                      .addAllPrompt(spec.getGeneratedList())
                      .clearGenerated()
                      .setSampling(
                          spec.getSampling().toBuilder()
                              .setMaxTokens(
                                  spec.getSampling().getMaxTokens() - spec.getGeneratedCount()))
                      .build(),
              (spec, token) ->
                  token.toBuilder().setIndex(token.getIndex() + spec.getGeneratedCount()).build(),
              true)),

  /** Another attempt draws with another seed. */
  SEED_NOT_KEPT(
      () ->
          calls(
              spec ->
                  spec.toBuilder()
                      .setSampling(
                          spec.getSampling().toBuilder()
                              .setSeed(spec.getSampling().getSeed() + spec.getEpoch() - 1))
                      .build(),
              (_, token) -> token,
              true)),

  /** A hand-off never gives up. */
  LEASE_NEVER_EXPIRES(
      () ->
          new Seams() {
            @Override
            public LongSupplier transferClock(Process worker, LongSupplier clock) {
              long stopped = clock.getAsLong();
              return () -> stopped;
            }
          }),

  /** The manifest speaks of another first token than the client has seen. */
  MANIFEST_NOT_OF_THIS_SESSION(
      () ->
          new Seams() {
            @Override
            public Transport transport(Process worker, Transport transport) {
              return new RewritingTransport(transport) {
                @Override
                void send(
                    Connection to,
                    Message message,
                    @Nullable MemorySegment payload,
                    Completion completion) {
                  super.send(to, changed(message), payload, completion);
                }
              };
            }

            private Message changed(Message message) {
              if (!(message instanceof Message.Finish m)) {
                return message;
              }
              Manifest manifest = m.manifest();
              return new Message.Finish(
                  m.route(),
                  m.slabs(),
                  m.bytes(),
                  new Manifest(
                      manifest.tokens(),
                      manifest.contextHash(),
                      (manifest.firstToken() + 1) % 64,
                      manifest.firstIndex()));
            }
          }),

  /** The blocks of some failed sessions are forgotten. */
  BLOCKS_LEAKED(
      () ->
          new Seams() {
            @Override
            public Engine engine(Process worker, Engine engine) {
              return new ForwardingEngine(engine) {
                private final Set<SessionId> reserved = new HashSet<>();

                @Override
                public int reserve(Generation generation, int room, SessionListener listener) {
                  int here = super.reserve(generation, room, listener);
                  reserved.add(generation.session());
                  return here;
                }

                @Override
                public void start(SessionId session, int[] added, int firstToken) {
                  reserved.remove(session);
                  super.start(session, added, firstToken);
                }

                @Override
                public void release(SessionId session) {
                  if (!reserved.contains(session)) {
                    super.release(session);
                  }
                }
              };
            }
          }),

  /** The memory of sends that failed is not given back. */
  SLABS_LEAKED(
      () ->
          new Seams() {
            @Override
            public Transport transport(Process worker, Transport transport) {
              return new RewritingTransport(transport) {
                @Override
                void send(
                    Connection to,
                    Message message,
                    @Nullable MemorySegment payload,
                    Completion completion) {
                  super.send(
                      to,
                      message,
                      payload,
                      failure -> {
                        if (failure == null || payload == null) {
                          completion.done(failure);
                        }
                      });
                }
              };
            }
          });

  private final Supplier<Seams> seams;

  Sabotage(Supplier<Seams> seams) {
    this.seams = seams;
  }

  Seams seams() {
    return seams.get();
  }

  private static Seams calls(
      UnaryOperator<SessionSpec> session,
      BiFunction<SessionSpec, SampledToken, SampledToken> token,
      boolean cancels) {
    return new Seams() {
      @Override
      public List<ClientInterceptor> routerCalls() {
        return List.of(new RewritingCalls(session, token, cancels));
      }
    };
  }

  private static Seams model(UnaryOperator<ModelRunner> wrapper) {
    return new Seams() {
      @Override
      public ModelRunner model(Process worker, ModelRunner model) {
        return wrapper.apply(model);
      }
    };
  }

  private static Seams sinks(UnaryOperator<KvSink> wrapper) {
    return new Seams() {
      @Override
      public KvTransfer transfer(Process worker, KvTransfer transfer) {
        return new ForwardingTransfer(transfer) {
          @Override
          public Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener) {
            return super.expect(spec, wrapper.apply(sink), listener);
          }
        };
      }
    };
  }

  private static KvSink misplaced(KvSink sink) {
    return (range, slab) ->
        sink.unpack(
            range.layerTo() == 1
                ? new SlabRange(1, 2, range.tokenFrom(), range.tokenTo())
                : range.layerFrom() == 1
                    ? new SlabRange(0, 1, range.tokenFrom(), range.tokenTo())
                    : range,
            slab);
  }

  private static KvSink incomplete(KvSink sink) {
    boolean[] skipped = {false};
    return (range, slab) -> {
      if (skipped[0] || range.tokenFrom() == 0) {
        sink.unpack(range, slab);
      }
      skipped[0] |= range.tokenFrom() > 0;
    };
  }

  /** Flips a bit of every eighth payload before its checksum is made. */
  private static final class Unchecked extends RewritingTransport {
    private int sent;

    Unchecked(Transport inner) {
      super(inner);
    }

    @Override
    void send(
        Connection to, Message message, @Nullable MemorySegment payload, Completion completion) {
      if (!(message instanceof Message.Slab m) || payload == null || ++sent % 8 != 0) {
        super.send(to, message, payload, completion);
        return;
      }
      MemorySegment copy = Arena.ofAuto().allocate(payload.byteSize(), 64).copyFrom(payload);
      copy.set(ValueLayout.JAVA_BYTE, 0, (byte) (copy.get(ValueLayout.JAVA_BYTE, 0) ^ 1));
      CRC32C crc = new CRC32C();
      crc.update(copy.asByteBuffer());
      Message forged =
          new Message.Slab(
              m.route(),
              m.sequence(),
              m.attempt(),
              m.range(),
              m.bytesPerElement(),
              m.length(),
              (int) crc.getValue());
      super.send(to, forged, copy, completion);
    }
  }

  /** Writes what has landed once more, twelve steps later. */
  private static final class LateWrites extends ForwardingModel {
    private record Write(int[] table, SlabRegion region, byte[] bytes, int due) {}

    private final Deque<Write> writes = new ArrayDeque<>();
    private int steps;

    LateWrites(ModelRunner inner) {
      super(inner);
    }

    @Override
    public void unpackKv(int[] blockTable, SlabRegion region, MemorySegment slab) {
      super.unpackKv(blockTable, region, slab);
      byte[] bytes = slab.asSlice(0, region.bytes()).toArray(ValueLayout.JAVA_BYTE);
      writes.add(new Write(blockTable.clone(), region, bytes, steps + 12));
    }

    @Override
    public MemorySegment run() {
      steps++;
      while (!writes.isEmpty() && writes.element().due() <= steps) {
        Write write = writes.remove();
        MemorySegment slab = Arena.ofAuto().allocate(write.bytes().length, 64);
        slab.copyFrom(MemorySegment.ofArray(write.bytes()));
        super.unpackKv(write.table(), write.region(), slab);
      }
      return super.run();
    }
  }

  /** Starts a reserved session that is given up, so that its blocks count as computed. */
  private static final class HastyCache extends ForwardingEngine {
    private final Set<SessionId> reserved = new HashSet<>();

    HastyCache(Engine inner) {
      super(inner);
    }

    @Override
    public int reserve(Generation generation, int room, SessionListener listener) {
      int here = super.reserve(generation, room, listener);
      reserved.add(generation.session());
      return here;
    }

    @Override
    public void start(SessionId session, int[] added, int firstToken) {
      reserved.remove(session);
      super.start(session, added, firstToken);
    }

    @Override
    public void release(SessionId session) {
      if (reserved.remove(session)) {
        try {
          super.start(session, 5);
        } catch (EngineException e) {
          throw new IllegalStateException("a reserved session cannot be started", e);
        }
      }
      super.release(session);
    }
  }

  /** Publishes what was reserved for a prefix, whatever has become of it. */
  private static final class HastyPrefixes extends ForwardingEngine {

    HastyPrefixes(Engine inner) {
      super(inner);
    }

    @Override
    public int reservePrefix(Generation generation, SessionListener listener) {
      int here = super.reservePrefix(generation, listener);
      super.publish(generation.session());
      return here;
    }
  }

  /** Tells importers that all is there as soon as the manifest is. */
  private static final class EarlyStarts implements Seams {
    private final Map<Bits128, ImportListener> open = new HashMap<>();

    @Override
    public Transport transport(Process worker, Transport transport) {
      return new RewritingTransport(transport) {
        @Override
        void arrived(Connection from, Message message) {
          if (message instanceof Message.Finish m) {
            ImportListener listener = open.remove(m.route().transfer());
            if (listener != null) {
              listener.onCompleted(
                  m.manifest(), new HandoffStats(m.bytes(), m.slabs(), 0, 1_000_000));
            }
          }
        }
      };
    }

    @Override
    public KvTransfer transfer(Process worker, KvTransfer transfer) {
      return new ForwardingTransfer(transfer) {
        @Override
        public Ticket expect(ImportSpec spec, KvSink sink, ImportListener listener) {
          Bits128[] name = {new Bits128(0, 0)};
          Ticket ticket =
              super.expect(
                  spec,
                  sink,
                  new ImportListener() {
                    @Override
                    public void onCompleted(Manifest manifest, HandoffStats stats) {
                      if (open.remove(name[0]) != null) {
                        listener.onCompleted(manifest, stats);
                      }
                    }

                    @Override
                    public void onFailed(HandoffException cause) {
                      if (open.remove(name[0]) != null) {
                        listener.onFailed(cause);
                      }
                    }
                  });
          name[0] = ticket.transfer();
          open.put(ticket.transfer(), listener);
          return ticket;
        }
      };
    }
  }
}

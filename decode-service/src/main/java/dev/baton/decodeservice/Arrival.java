package dev.baton.decodeservice;

import dev.baton.engine.Engine;
import dev.baton.engine.Generation;
import dev.baton.engine.KvView;
import dev.baton.engine.ModelInfo;
import dev.baton.engine.SessionListener;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.proto.worker.v1.HandoffTicket;
import dev.baton.worker.WorkerContext;
import dev.baton.worker.session.EngineKv;
import dev.baton.worker.wire.Tickets;
import java.util.Optional;
import org.jspecify.annotations.Nullable;

/**
 * A session's KV on its way in, from a prefill worker or from another decode worker: the blocks
 * that wait for it, the ticket, and what its manifest must say. Step thread.
 */
final class Arrival {

  private final Engine engine;
  private final ModelInfo model;
  private final KvTransfer transfer;
  private final Generation generation;
  private final int wantedRoom;
  private final ContextHash contextHash;
  private @Nullable Ticket ticket;
  private int room;

  /**
   * @param room tokens by which the context may still grow where it comes from
   */
  Arrival(WorkerContext worker, KvTransfer transfer, Generation generation, int room) {
    this.engine = worker.engine();
    this.model = worker.model();
    this.transfer = transfer;
    this.generation = generation;
    this.wantedRoom = Math.min(room, Manifest.MOST_ADDED);
    this.contextHash = ContextHash.begin(generation.context());
  }

  /** From another decode worker, where the session goes on meanwhile. */
  boolean growing() {
    return wantedRoom > 0;
  }

  /**
   * Reserves blocks and opens the import.
   *
   * @param tokens hears the session's tokens when it has started
   */
  HandoffTicket open(SessionListener tokens, ImportListener listener) {
    int here = engine.reserve(generation, wantedRoom, tokens);
    try {
      KvView blocks = engine.kv(generation.session());
      room = Math.clamp(blocks.tokens() - generation.contextTokens(), 0, wantedRoom);
      EngineKv kv = new EngineKv(model);
      kv.open(blocks);
      ImportSpec spec =
          new ImportSpec(
              generation.session().id(),
              generation.session().epoch(),
              kv.geometry(),
              here,
              generation.contextTokens(),
              room,
              blocks.window(),
              contextHash::with);
      Ticket issued = transfer.expect(spec, kv, listener);
      ticket = issued;
      return Tickets.write(issued, model).toBuilder().setRoomTokens(room).build();
    } catch (RuntimeException e) {
      engine.release(generation.session());
      throw e;
    }
  }

  void cancel() {
    if (ticket != null) {
      transfer.cancelImport(ticket.transfer());
    }
  }

  /** What of the manifest speaks of another context than this session's. */
  Optional<String> mismatch(Manifest manifest) {
    int added = manifest.added().size();
    if (added > room || manifest.tokens() != generation.contextTokens() + added) {
      return Optional.of(
          "manifest.tokens: %d, %d of them added (expected: %d, and at most %d added)"
              .formatted(manifest.tokens(), added, generation.contextTokens(), room));
    }
    long hash = contextHash.with(manifest.added());
    if (manifest.contextHash() != hash) {
      return Optional.of(
          "manifest.contextHash: %016x (expected: %016x)".formatted(manifest.contextHash(), hash));
    }
    int index = generation.generated().length + added;
    if (manifest.firstIndex() != index) {
      return Optional.of(
          "manifest.firstIndex: %d (expected: %d)".formatted(manifest.firstIndex(), index));
    }
    if (manifest.added().stream().anyMatch(token -> !isToken(token))
        || !isToken(manifest.firstToken())) {
      return Optional.of(
          "manifest.added: %s, firstToken: %d (expected: 0 to %d)"
              .formatted(manifest.added(), manifest.firstToken(), model.vocabularySize() - 1));
    }
    return endsSession(manifest.tokens(), manifest.firstToken(), index)
        ? Optional.of(
            "manifest.firstToken: %d ends the session (expected: not handed off)"
                .formatted(manifest.firstToken()))
        : Optional.empty();
  }

  private boolean isToken(int id) {
    return id >= 0 && id < model.vocabularySize();
  }

  /** The engine would decode nothing and say nothing after such a token. */
  private boolean endsSession(int context, int token, int index) {
    var sampling = generation.sampling();
    return index + 1 >= sampling.maxTokens()
        || context + 1 >= model.contextLength()
        || sampling.stopTokenIds().contains(token)
        || (!sampling.ignoreEos() && model.eosTokenIds().contains(token));
  }
}

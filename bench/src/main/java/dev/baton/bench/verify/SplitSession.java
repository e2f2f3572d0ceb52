package dev.baton.bench.verify;

import dev.baton.engine.Engine;
import dev.baton.engine.EngineException;
import dev.baton.engine.Generation;
import dev.baton.engine.SampledToken;
import dev.baton.engine.SessionListener;
import dev.baton.kvtransfer.Export;
import dev.baton.kvtransfer.ExportListener;
import dev.baton.kvtransfer.HandoffException;
import dev.baton.kvtransfer.HandoffStats;
import dev.baton.kvtransfer.ImportListener;
import dev.baton.kvtransfer.ImportSpec;
import dev.baton.kvtransfer.KvSink;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.Manifest;
import dev.baton.kvtransfer.Ticket;
import dev.baton.peer.ContextHash;
import dev.baton.worker.session.EngineKv;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * One session computed by one engine and continued by another, with nothing between them but the
 * transfer. A failed hand-off is a failure here: nothing is computed again behind the back of the
 * comparison. Confined to the thread that steps both engines.
 */
final class SplitSession {

  /** A worker, as far as a session needs one. */
  record Side(Engine engine, KvTransfer transfer) {}

  private final Side exporter;
  private final Side importer;
  private final Consumer<Runnable> post;
  private final Generation generation;
  private final Answer answer;
  private final int looked;
  private final Runnable onEnd;
  private final EngineKv sourceKv;
  private final EngineKv sinkKv;
  private final long contextHash;

  private @Nullable Export export;
  private boolean sourceHeld;
  private boolean exported;
  private boolean decoded;

  /**
   * @param post runs a task on the stepping thread; any thread
   * @param looked first token of the context whose KV is compared
   * @param onEnd runs once, when neither side holds anything of the session
   */
  SplitSession(
      Side exporter,
      Side importer,
      Consumer<Runnable> post,
      Generation generation,
      Answer answer,
      int looked,
      Runnable onEnd) {
    this.exporter = exporter;
    this.importer = importer;
    this.post = post;
    this.generation = generation;
    this.answer = answer;
    this.looked = looked;
    this.onEnd = onEnd;
    this.sourceKv = new EngineKv(exporter.engine().model());
    this.sinkKv = new EngineKv(importer.engine().model());
    this.contextHash = ContextHash.of(generation.context());
  }

  /**
   * Reserves, and starts the prefill.
   *
   * @param landing wraps what receives the KV
   */
  void begin(UnaryOperator<KvSink> landing) {
    int here = importer.engine().reserve(generation, new Decoding());
    sinkKv.open(importer.engine().kv(generation.session()));
    ImportSpec spec =
        new ImportSpec(
            generation.session().id(),
            generation.session().epoch(),
            sinkKv.geometry(),
            here,
            generation.contextTokens(),
            contextHash);
    Ticket ticket = importer.transfer().expect(spec, landing.apply(sinkKv), new Arrival());
    exporter.engine().prefill(generation, new Prefilling());
    sourceHeld = true;
    export =
        exporter
            .transfer()
            .export(
                ticket,
                generation.session().id(),
                generation.session().epoch(),
                sourceKv.geometry(),
                sourceKv,
                new Departure());
  }

  private void releaseSource() {
    if (sourceHeld) {
      sourceHeld = false;
      exporter.engine().release(generation.session());
    }
  }

  private void exported() {
    releaseSource();
    exported = true;
    endIfBoth();
  }

  private void decoded() {
    importer.engine().release(generation.session());
    decoded = true;
    endIfBoth();
  }

  private void endIfBoth() {
    if (exported && decoded) {
      onEnd.run();
    }
  }

  private void failed(Exception cause) {
    if (answer.failure == null) {
      answer.failure = "failed: " + cause.getMessage();
    }
  }

  private void arrived(Manifest manifest) {
    Engine engine = importer.engine();
    answer.kv = KvDigest.of(sinkKv, engine.model(), looked, generation.contextTokens());
    engine.start(generation.session(), manifest.firstToken());
  }

  private final class Prefilling implements SessionListener {

    @Override
    public void onComputed(int tokens) {
      if (export != null && sourceHeld) {
        sourceKv.open(exporter.engine().kv(generation.session()));
        export.computed(tokens);
      }
    }

    @Override
    public void onToken(SampledToken token) {
      answer.tokens.addFirst(token);
      if (export != null) {
        export.finish(
            new Manifest(generation.contextTokens(), contextHash, token.id(), token.index()));
      }
    }

    @Override
    public void onFailed(EngineException cause) {
      failed(cause);
      sourceHeld = false;
      if (export != null) {
        export.abort("prefill failed");
      }
    }
  }

  private final class Decoding implements SessionListener {

    @Override
    public void onToken(SampledToken token) {
      answer.tokens.add(token);
      if (token.finish() != null) {
        decoded();
      }
    }

    @Override
    public void onFailed(EngineException cause) {
      failed(cause);
      decoded();
    }
  }

  private final class Departure implements ExportListener {

    @Override
    public void onPacked() {
      post.accept(SplitSession.this::releaseSource);
    }

    @Override
    public void onAcknowledged(HandoffStats stats) {
      post.accept(SplitSession.this::exported);
    }

    @Override
    public void onFailed(HandoffException cause) {
      post.accept(
          () -> {
            failed(cause);
            exported();
          });
    }
  }

  private final class Arrival implements ImportListener {

    @Override
    public void onCompleted(Manifest manifest, HandoffStats stats) {
      post.accept(() -> arrived(manifest));
    }

    @Override
    public void onFailed(HandoffException cause) {
      post.accept(
          () -> {
            failed(cause);
            decoded();
          });
    }
  }
}

package dev.baton.router.session;

import dev.baton.router.registry.Worker;
import dev.baton.router.registry.WorkerDirectory;
import io.grpc.stub.ClientCallStreamObserver;
import org.jspecify.annotations.Nullable;

/**
 * One epoch of a session: its workers, its places on them and its open calls. Only the session's
 * own serial context touches it.
 */
final class Attempt {

  final int epoch;
  final Worker decode;
  final @Nullable Worker prefill;

  /** Tokens of the context that its workers were told. */
  final int contextTokens;

  private final Worker.Charge decodeCharge;
  private final Worker.@Nullable Charge prefillCharge;
  private @Nullable ClientCallStreamObserver<?> decodeCall;
  private @Nullable ClientCallStreamObserver<?> prefillCall;

  private long handOffNanos;

  /** Decode messages taken and not yet asked for anew. */
  private int owed;

  private Attempt(
      int epoch, Worker decode, @Nullable Worker prefill, int contextTokens, int toCompute) {
    this.epoch = epoch;
    this.decode = decode;
    this.prefill = prefill;
    this.contextTokens = contextTokens;
    this.decodeCharge = decode.charge(prefill == null ? toCompute : 0);
    this.prefillCharge = prefill == null ? null : prefill.charge(toCompute);
  }

  /**
   * Of a session whose context is to be computed.
   *
   * @param toCompute tokens of it that its workers are believed to have to compute
   */
  static Attempt computing(
      int epoch, Worker decode, @Nullable Worker prefill, int contextTokens, int toCompute) {
    return new Attempt(epoch, decode, prefill, contextTokens, toCompute);
  }

  /** Of a session that brings its KV along. */
  static Attempt moving(int epoch, Worker decode, int contextTokens) {
    return new Attempt(epoch, decode, null, contextTokens, 0);
  }

  void decodeOpened(ClientCallStreamObserver<?> call) {
    decodeCall = call;
  }

  void prefillOpened(ClientCallStreamObserver<?> call) {
    prefillCall = call;
  }

  /** The workers are being told of each other. */
  void handOffBegins(long nowNanos) {
    handOffNanos = nowNanos;
  }

  /** What a worker says may tell how the hand-off went: the directory is to know. */
  void handOff(HandoffOutcome outcome, WorkerDirectory directory) {
    if (prefill != null && outcome != HandoffOutcome.UNTOLD) {
      directory.handOffOver(prefill, decode, outcome == HandoffOutcome.ARRIVED, handOffNanos);
    }
  }

  void decodeTaken() {
    owed++;
  }

  /** Asks the decode worker for as many messages as were taken. */
  void repay() {
    if (owed > 0 && decodeCall != null) {
      decodeCall.request(owed);
      owed = 0;
    }
  }

  void decodeEnded() {
    decodeCall = null;
    decodeCharge.close();
  }

  void prefillEnded() {
    prefillCall = null;
    if (prefillCharge != null) {
      prefillCharge.close();
    }
  }

  /** Cancels what is open. */
  void cancel() {
    ClientCallStreamObserver<?> decoding = decodeCall;
    ClientCallStreamObserver<?> prefilling = prefillCall;
    decodeEnded();
    prefillEnded();
    if (prefilling != null) {
      prefilling.cancel("session ended or tried anew", null);
    }
    if (decoding != null) {
      decoding.cancel("session ended or tried anew", null);
    }
  }
}

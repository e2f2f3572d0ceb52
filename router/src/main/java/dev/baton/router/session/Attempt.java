package dev.baton.router.session;

import dev.baton.router.registry.Worker;
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
  private final Worker.Charge decodeCharge;
  private final Worker.@Nullable Charge prefillCharge;
  private @Nullable ClientCallStreamObserver<?> decodeCall;
  private @Nullable ClientCallStreamObserver<?> prefillCall;

  /** Decode messages taken and not yet asked for anew. */
  private int owed;

  /**
   * @param toCompute tokens that its workers are believed to have to compute
   */
  Attempt(int epoch, Worker decode, @Nullable Worker prefill, int toCompute) {
    this.epoch = epoch;
    this.decode = decode;
    this.prefill = prefill;
    this.decodeCharge = decode.charge(prefill == null ? toCompute : 0);
    this.prefillCharge = prefill == null ? null : prefill.charge(toCompute);
  }

  void decodeOpened(ClientCallStreamObserver<?> call) {
    decodeCall = call;
  }

  void prefillOpened(ClientCallStreamObserver<?> call) {
    prefillCall = call;
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

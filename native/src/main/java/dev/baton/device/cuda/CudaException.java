package dev.baton.device.cuda;

/** A call of the CUDA driver failed; nothing on the GPU may be trusted any more. */
public final class CudaException extends RuntimeException {

  CudaException(String message) {
    super(message);
  }
}

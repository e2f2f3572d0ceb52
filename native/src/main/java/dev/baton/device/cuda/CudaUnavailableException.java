package dev.baton.device.cuda;

/**
 * This machine, or this build, cannot run kernels on GPUs as asked for. The message says what is
 * missing and what to do; nothing falls back to the CPU by itself.
 */
public final class CudaUnavailableException extends IllegalArgumentException {

  CudaUnavailableException(String message) {
    super(message);
  }
}

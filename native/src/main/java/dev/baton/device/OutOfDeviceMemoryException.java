package dev.baton.device;

/**
 * An allocation does not fit the device. The message gives what was asked for, what is free, and
 * what to change.
 */
public final class OutOfDeviceMemoryException extends RuntimeException {

  public OutOfDeviceMemoryException(String message) {
    super(message);
  }
}

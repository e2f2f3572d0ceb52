package dev.baton.device.cuda;

import java.lang.foreign.MemorySegment;
import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;

/** Addresses as JCuda takes them. */
final class Address {

  private Address() {}

  /** A place in host memory outside the heap. */
  private static final class Host extends Pointer {
    Host(long address) {
      super(address);
    }
  }

  /** A place in a GPU's memory. */
  private static final class OnDevice extends CUdeviceptr {
    OnDevice(long address) {
      super(new CUdeviceptr(), address);
    }
  }

  static Pointer host(MemorySegment segment) {
    if (!segment.isNative()) {
      throw new IllegalArgumentException("memory: of the heap (expected: outside of it)");
    }
    return new Host(segment.address());
  }

  static CUdeviceptr device(long address) {
    return new OnDevice(address);
  }

  /** The address that a call has left in a pointer. */
  static long of(Pointer pointer) {
    return new Reader(pointer).address();
  }

  /** A stream that tells where it is, for libraries that JCuda knows nothing of. */
  private static final class OpenStream extends CUstream {
    long address() {
      return getNativePointer();
    }
  }

  /** A stream for the driver to make. */
  static CUstream stream() {
    return new OpenStream();
  }

  /**
   * @param stream from {@link #stream()}
   */
  static long of(CUstream stream) {
    return ((OpenStream) stream).address();
  }

  /** JCuda keeps an address where subclasses alone can read it. */
  private static final class Reader extends Pointer {
    Reader(Pointer of) {
      super(of);
    }

    long address() {
      return getNativePointer() + getByteOffset();
    }
  }
}

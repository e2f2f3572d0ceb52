package dev.baton.worker;

import dev.baton.device.DeviceSlabs;
import dev.baton.device.cpu.CpuDevice;
import dev.baton.engine.DeviceOptions;
import dev.baton.engine.Engine;
import dev.baton.engine.EngineOptions;
import dev.baton.kvtransfer.KvTransfer;
import dev.baton.kvtransfer.KvTransferFactory;
import dev.baton.kvtransfer.SlabMemory;
import dev.baton.kvtransfer.TransferOptions;
import dev.baton.kvtransfer.transport.Transport;
import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * Where the slabs of a worker's hand-offs lie. In a GPU's memory KV is packed, checked and sent, or
 * received, checked and unpacked, without ever coming to the host; that takes a UCX with CUDA's
 * modules. In host memory it is staged through pinned buffers.
 *
 * @param onDevice in a GPU's memory
 * @param cpu the engine computes on the CPU, and its KV is in host memory too
 * @param reason for people
 */
public record SlabPlacement(boolean onDevice, boolean cpu, String reason) {

  /** Each slab costs some calls of the driver; of this size they take less than the copying. */
  private static final int DEVICE_SLAB_BYTES = 2 << 20;

  /**
   * Decides.
   *
   * @param ucxKnowsCuda it can send from and receive to GPUs
   * @throws IllegalStateException when slabs are to lie on a GPU and cannot
   */
  public static SlabPlacement of(DeviceOptions device, boolean ucxKnowsCuda) {
    return switch (device.kind()) {
      case CPU -> new SlabPlacement(false, true, "the device is the CPU");
      case EMULATED_CUDA ->
          device.slabs() == DeviceOptions.Slabs.DEVICE
              ? new SlabPlacement(true, false, "--kv-slabs device")
              : new SlabPlacement(false, false, "the GPU is emulated");
      case CUDA -> ofGpus(device.slabs(), ucxKnowsCuda);
    };
  }

  private static SlabPlacement ofGpus(DeviceOptions.Slabs asked, boolean ucxKnowsCuda) {
    if (asked == DeviceOptions.Slabs.HOST) {
      return new SlabPlacement(false, false, "--kv-slabs host");
    }
    if (ucxKnowsCuda) {
      return new SlabPlacement(true, false, "UCX sends from GPUs and receives to them");
    }
    if (asked == DeviceOptions.Slabs.DEVICE) {
      throw new IllegalStateException(
          "kv-slabs: device (expected: a UCX with CUDA's modules, as its own packages have them,"
              + " and cuda among UCX_TLS where that is set; or --kv-slabs auto)");
    }
    return new SlabPlacement(
        false,
        false,
        "UCX knows nothing of GPUs: without its CUDA modules, or cuda not among UCX_TLS");
  }

  /** Sizes that suit the place. */
  public TransferOptions sized(TransferOptions options) {
    return onDevice ? options.withSlabBytes(DEVICE_SLAB_BYTES) : options;
  }

  /**
   * An engine that sets memory aside for the slabs.
   *
   * @param options as {@link #sized} gave them
   */
  public EngineOptions reserved(EngineOptions engine, TransferOptions options) {
    return onDevice
        ? engine.withDevice(engine.device().withSlabBytes(options.poolBytes()))
        : engine;
  }

  /**
   * The transfer of an engine that was loaded with {@link #reserved} options. It is to be closed
   * before the engine.
   *
   * @param options as {@link #sized} gave them
   */
  public KvTransfer open(TransferOptions options, Transport transport, Engine engine) {
    if (cpu) {
      return KvTransferFactory.onHost(
          options, transport, () -> SlabMemory.host(CpuDevice.pages()::allocate));
    }
    if (!onDevice) {
      return KvTransferFactory.open(options, transport, SlabMemory::host);
    }
    DeviceSlabs slabs = Objects.requireNonNull(engine.slabs(), "slabs of the device");
    return KvTransferFactory.open(options, transport, () -> new OnDevice(slabs));
  }

  /** The device's memory, which goes with the device. */
  private record OnDevice(DeviceSlabs slabs) implements SlabMemory {

    @Override
    public MemorySegment take(int bytes) {
      return slabs.take(bytes);
    }

    @Override
    public int crc32c(MemorySegment slab) {
      return slabs.crc32c(slab);
    }

    @Override
    public void close() {}
  }
}

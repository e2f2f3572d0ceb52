package dev.baton.device;

/**
 * What a device has for a model, before anything is allocated.
 *
 * @param available bytes over all ranks
 * @param copies of what the ranks have alike: 1 where they share memory, else one a rank
 * @param separate whether this is memory of the device's own, which nobody else is to leave room in
 */
public record DeviceMemory(long available, int copies, boolean separate) {

  /** Host memory of no more than so many bytes; memory of a device's own stays as it is. */
  public DeviceMemory limit(long bytes) {
    return separate ? this : new DeviceMemory(Math.min(available, bytes), copies, false);
  }
}

package dev.baton.device;

import java.util.List;

/**
 * How a device's chips are, as its maker's library tells; empty where there is nothing to tell.
 *
 * @param chips one for each chip that the device uses
 */
public record DeviceHealth(List<Chip> chips) {

  public static final DeviceHealth UNKNOWN = new DeviceHealth(List.of());

  public DeviceHealth {
    chips = List.copyOf(chips);
  }

  /**
   * One GPU.
   *
   * @param name for people, such as {@code GPU 0}
   * @param celsius its temperature; negative = not known
   * @param watts what it draws; negative = not known
   * @param joules drawn since its driver was loaded; negative = not known
   * @param uncorrected memory errors that could not be corrected since then; negative = not known
   * @param throttled why it runs slower than it could; empty = it does not
   * @param sick what makes it unfit for work; empty = nothing
   */
  public record Chip(
      String name,
      double celsius,
      double watts,
      double joules,
      long uncorrected,
      List<String> throttled,
      List<String> sick) {

    public Chip {
      throttled = List.copyOf(throttled);
      sick = List.copyOf(sick);
    }
  }

  /** What makes the device unfit for work, chip by chip; empty = nothing. */
  public List<String> sick() {
    return chips.stream()
        .flatMap(chip -> chip.sick().stream().map(why -> chip.name() + ": " + why))
        .toList();
  }
}

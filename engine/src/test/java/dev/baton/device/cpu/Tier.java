package dev.baton.device.cpu;

import dev.baton.device.Device;
import java.util.ArrayList;
import java.util.List;

/** Opens a CPU by tier, for tests that compare tiers within one process. */
public final class Tier {

  private Tier() {}

  /** All that this machine runs, from the Java reference to the fastest. */
  public static List<String> running() {
    List<String> tiers = new ArrayList<>(List.of("reference"));
    tiers.addAll(CpuDevice.runningTiers());
    return tiers;
  }

  public static Device open(String tier) {
    return CpuDevice.open(tier, "", CpuTeam.PART_NANOS);
  }
}

package dev.baton.device.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.baton.device.DeviceHealth;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayList;
import java.util.List;

/**
 * NVIDIA's management library: temperature, power, energy, memory errors, reasons for throttling
 * and XID events of one GPU. What a GPU does not tell counts as not known. Any thread, one at a
 * time. Functions and constants are those of nvml.h, whose interface version 1 lasts.
 */
final class Nvml implements AutoCloseable {

  private static final int SUCCESS = 0;
  private static final int LOST = 15;
  private static final int TEMPERATURE_OF_GPU = 0;
  private static final int UNCORRECTED = 1;
  private static final int VOLATILE = 0;
  private static final long XID_EVENTS = 8;
  private static final int EVENT_BYTES = 32;

  /** Clocks are held down: by heat, by power supply, by a brake outside of the GPU. */
  private static final long HARDWARE_SLOWDOWN = 0x8;

  private static final long SOFTWARE_HEAT = 0x20;
  private static final long HARDWARE_HEAT = 0x40;
  private static final long POWER_BRAKE = 0x80;
  private static final long POWER_CAP = 0x4;

  /**
   * XIDs after which a GPU's results or its memory cannot be relied on: 48 and 94 to 95 errors of
   * memory, 63 and 64 pages retired, 62 and 79 to 81 the GPU or its bus, 74 NVLink, 119 and 120 its
   * firmware, 140 and 143 uncontained errors. Source: NVIDIA, "XID Errors". Those that a faulty
   * program causes (13, 31, 43, 45) are not among them.
   */
  private static final List<Long> FATAL_XIDS =
      List.of(48L, 62L, 63L, 64L, 74L, 79L, 80L, 81L, 94L, 95L, 119L, 120L, 140L, 143L);

  private final String name;
  private final SystemLibrary library;
  private final MemorySegment device;
  private final MemorySegment events;
  private final boolean watchesEvents;
  private final Arena arena = Arena.ofShared();
  private final MemorySegment place = arena.allocate(EVENT_BYTES, Long.BYTES);
  private final MethodHandle temperature;
  private final MethodHandle power;
  private final MethodHandle energy;
  private final MethodHandle errors;
  private final MethodHandle reasons;
  private final MethodHandle nextEvent;
  private final List<String> sick = new ArrayList<>();

  /**
   * @param busId of the GPU, as the driver tells it
   * @param emulated the library is part of the emulated driver
   * @throws CudaUnavailableException when the machine has no such library, or it does not know the
   *     GPU
   */
  Nvml(String name, String busId, boolean emulated) {
    this.name = name;
    library =
        SystemLibrary.open(
            emulated ? "libcuda.so" : "libnvidia-ml.so",
            List.of(1),
            "temperature, memory errors, XID events and energy of GPUs; a sick one is found only"
                + " when it fails");
    temperature = of("nvmlDeviceGetTemperature", ADDRESS, JAVA_INT, ADDRESS);
    power = of("nvmlDeviceGetPowerUsage", ADDRESS, ADDRESS);
    energy = of("nvmlDeviceGetTotalEnergyConsumption", ADDRESS, ADDRESS);
    errors = of("nvmlDeviceGetTotalEccErrors", ADDRESS, JAVA_INT, JAVA_INT, ADDRESS);
    reasons = of("nvmlDeviceGetCurrentClocksThrottleReasons", ADDRESS, ADDRESS);
    nextEvent = of("nvmlEventSetWait_v2", ADDRESS, ADDRESS, JAVA_INT);
    require("nvmlInit_v2", call(of("nvmlInit_v2")));
    MemorySegment id = arena.allocateFrom(busId);
    require(
        "nvmlDeviceGetHandleByPciBusId_v2",
        call(of("nvmlDeviceGetHandleByPciBusId_v2", ADDRESS, ADDRESS), id, place));
    device = place.get(ADDRESS, 0);
    require("nvmlEventSetCreate", call(of("nvmlEventSetCreate", ADDRESS), place));
    events = place.get(ADDRESS, 0);
    // A GPU or a container that does not tell of events is watched without.
    int registered =
        call(
            of("nvmlDeviceRegisterEvents", ADDRESS, JAVA_LONG, ADDRESS),
            device,
            XID_EVENTS,
            events);
    watchesEvents = registered == SUCCESS;
  }

  private MethodHandle of(String function, MemoryLayout... parameters) {
    return library.function(function, FunctionDescriptor.of(JAVA_INT, parameters));
  }

  private static int call(MethodHandle function, Object... arguments) {
    try {
      return (int) function.invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new CudaException("NVML: " + e);
    }
  }

  private static void require(String function, int status) {
    if (status != SUCCESS) {
      throw new CudaUnavailableException(
          "%s: status %d (expected: 0); without it: health and energy of GPUs"
              .formatted(function, status));
    }
  }

  /** How the GPU is now; what made it sick once stays. */
  synchronized DeviceHealth.Chip look() {
    int status = call(temperature, device, TEMPERATURE_OF_GPU, place);
    if (status == LOST) {
      note("fallen off its bus");
    }
    double celsius = status == SUCCESS ? place.get(JAVA_INT, 0) : -1;
    double watts = call(power, device, place) == SUCCESS ? place.get(JAVA_INT, 0) / 1e3 : -1;
    double joules = joules();
    long uncorrected =
        call(errors, device, UNCORRECTED, VOLATILE, place) == SUCCESS
            ? place.get(JAVA_LONG, 0)
            : -1;
    if (uncorrected > 0) {
      note("%d memory errors that could not be corrected".formatted(uncorrected));
    }
    long why = call(reasons, device, place) == SUCCESS ? place.get(JAVA_LONG, 0) : 0;
    readEvents();
    return new DeviceHealth.Chip(
        name, celsius, watts, joules, uncorrected, throttled(why), List.copyOf(sick));
  }

  /** Drawn since the driver was loaded; negative = the GPU does not tell. */
  synchronized double joules() {
    return call(energy, device, place) == SUCCESS ? place.get(JAVA_LONG, 0) / 1e3 : -1;
  }

  private void readEvents() {
    while (watchesEvents && call(nextEvent, events, place, 0) == SUCCESS) {
      long type = place.get(JAVA_LONG, 8);
      long xid = place.get(JAVA_LONG, 16);
      if (type == XID_EVENTS && FATAL_XIDS.contains(xid)) {
        note("XID " + xid);
      }
    }
  }

  private void note(String why) {
    if (!sick.contains(why)) {
      sick.add(why);
    }
  }

  /** Why clocks are lower than they could be; a GPU that idles or was told so is not throttled. */
  static List<String> throttled(long reasons) {
    List<String> why = new ArrayList<>();
    if ((reasons & (HARDWARE_HEAT | SOFTWARE_HEAT)) != 0) {
      why.add("heat");
    }
    if ((reasons & POWER_CAP) != 0) {
      why.add("power cap");
    }
    if ((reasons & POWER_BRAKE) != 0) {
      why.add("power brake");
    }
    if ((reasons & HARDWARE_SLOWDOWN) != 0) {
      why.add("hardware slowdown");
    }
    return List.copyOf(why);
  }

  @Override
  public synchronized void close() {
    call(of("nvmlEventSetFree", ADDRESS), events);
    call(of("nvmlShutdown"));
    arena.close();
  }
}

// NVML on a machine without a GPU, in the same library as the driver: what Baton asks of it. GPUs are 40 degrees warm, draw
// 100 W and have drawn a joule for each thousand launches.
//
// BATON_EMULATED_GPU_XIDS: a file; each of its lines, as soon as it is there, is an event: the GPU's number and the XID.
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace baton {
namespace emulation {
std::atomic<unsigned long long> launches{0};
}  // namespace emulation
}  // namespace baton

namespace {

using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kNotFound = 6;
constexpr Status kTimeout = 10;
constexpr unsigned long long kXidEvents = 8;
constexpr int kMostDevices = 16;

struct Chip {
  int number;
};

struct Events {
  const Chip* chip;
  long told;  // lines of the file
};

// nvmlEventData_t of nvml.h.
struct Event {
  const Chip* device;
  unsigned long long type;
  unsigned long long data;
  unsigned instance[2];
};

Chip chips[kMostDevices];
std::mutex guard;

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Status nvmlInit_v2() { return kSuccess; }

EXPORT Status nvmlShutdown() { return kSuccess; }

EXPORT Status nvmlDeviceGetHandleByPciBusId_v2(const char* id, const Chip** chip) {
  unsigned domain = 0;
  unsigned bus = 0;
  if (std::sscanf(id, "%x:%x", &domain, &bus) != 2 || bus >= kMostDevices) {
    return kNotFound;
  }
  std::lock_guard<std::mutex> lock(guard);
  chips[bus].number = static_cast<int>(bus);
  *chip = &chips[bus];
  return kSuccess;
}

EXPORT Status nvmlDeviceGetTemperature(const Chip*, int, unsigned* celsius) {
  *celsius = 40;
  return kSuccess;
}

EXPORT Status nvmlDeviceGetPowerUsage(const Chip*, unsigned* milliwatts) {
  *milliwatts = 100000;
  return kSuccess;
}

EXPORT Status nvmlDeviceGetTotalEnergyConsumption(const Chip*, unsigned long long* millijoules) {
  *millijoules = baton::emulation::launches.load(std::memory_order_relaxed);
  return kSuccess;
}

EXPORT Status nvmlDeviceGetTotalEccErrors(const Chip*, int, int, unsigned long long* errors) {
  *errors = 0;
  return kSuccess;
}

EXPORT Status nvmlDeviceGetCurrentClocksThrottleReasons(const Chip*, unsigned long long* reasons) {
  *reasons = 0;
  return kSuccess;
}

EXPORT Status nvmlEventSetCreate(Events** events) {
  *events = new Events{};
  return kSuccess;
}

EXPORT Status nvmlDeviceRegisterEvents(const Chip* chip, unsigned long long, Events* events) {
  events->chip = chip;
  return kSuccess;
}

EXPORT Status nvmlEventSetWait_v2(Events* events, Event* event, unsigned) {
  const char* name = std::getenv("BATON_EMULATED_GPU_XIDS");
  std::FILE* file = name != nullptr ? std::fopen(name, "r") : nullptr;
  if (file == nullptr) {
    return kTimeout;
  }
  Status status = kTimeout;
  int gpu = 0;
  unsigned long long xid = 0;
  for (long line = 0; status != kSuccess && std::fscanf(file, "%d %llu", &gpu, &xid) == 2; line++) {
    if (line >= events->told) {
      events->told = line + 1;
      if (events->chip != nullptr && gpu == events->chip->number) {
        *event = {events->chip, kXidEvents, xid, {0, 0}};
        status = kSuccess;
      }
    }
  }
  std::fclose(file);
  return status;
}

EXPORT Status nvmlEventSetFree(Events* events) {
  delete events;
  return kSuccess;
}

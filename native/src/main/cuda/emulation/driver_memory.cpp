// The emulated driver's memory: what is allocated, pinned and copied. Copies begin and end within one allocation.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "streams.h"

namespace baton {
namespace emulation {
void announce(void* address, size_t bytes, int device, bool live);
}  // namespace emulation
}  // namespace baton

using namespace baton::driver;

namespace {

constexpr int kPinned = -1;
constexpr int kPageable = -2;

std::mutex guard;
struct Allocation {
  size_t bytes;
  int device;
};
std::map<void*, Allocation> allocations;  // guarded
size_t used[kMostDevices];                // guarded

// Where so many bytes lie: on a device, in pinned memory, or in what the driver does not know of.
int owner_of(const void* address, size_t bytes) {
  std::lock_guard<std::mutex> lock(guard);
  auto next = allocations.upper_bound(const_cast<void*>(address));
  if (next == allocations.begin()) {
    return kPageable;
  }
  auto& found = *std::prev(next);
  size_t from = static_cast<const char*>(address) - static_cast<char*>(found.first);
  if (from >= found.second.bytes) {
    return kPageable;
  }
  // What reaches beyond its allocation is nobody's.
  return bytes <= found.second.bytes - from ? found.second.device : kMostDevices;
}

bool on_device(uint64_t address, size_t bytes) {
  int owner = owner_of(reinterpret_cast<void*>(address), bytes);
  return owner >= 0 && owner < kMostDevices;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  Status status = usable();
  if (status != kSuccess) {
    return status;
  }
  std::lock_guard<std::mutex> lock(guard);
  *total = device_memory();
  *free = *total - used[current()->device];
  return kSuccess;
}

EXPORT Status cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  called("cuMemAlloc");
  Status status = safe_call();
  if (status != kSuccess) {
    return status;
  }
  if (bytes == 0) {
    return kInvalidValue;
  }
  std::lock_guard<std::mutex> lock(guard);
  if (bytes > device_memory() - used[current()->device]) {
    return kOutOfMemory;
  }
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) {
    return kOutOfMemory;
  }
  std::memset(memory, 0xff, bytes);
  allocations[memory] = {bytes, current()->device};
  used[current()->device] += bytes;
  baton::emulation::announce(memory, bytes, current()->device, true);
  *address = reinterpret_cast<uint64_t>(memory);
  return kSuccess;
}

namespace {

// Waits for whatever may use it, as drivers do.
Status free_memory(void* memory, bool pinned) {
  Status status = safe_call();
  if (status == kCaptureUnsupported || current() == nullptr) {
    return status;
  }
  for (int device = 0; device < device_count(); device++) {
    finish(context_of(device));
  }
  std::lock_guard<std::mutex> lock(guard);
  auto found = allocations.find(memory);
  if (found == allocations.end() || (found->second.device == kPinned) != pinned) {
    return kInvalidValue;
  }
  if (!pinned) {
    used[found->second.device] -= found->second.bytes;
  }
  baton::emulation::announce(memory, found->second.bytes, found->second.device, false);
  allocations.erase(found);
  std::free(memory);
  return status;
}

}  // namespace

EXPORT Status cuMemFree_v2(uint64_t address) { return free_memory(reinterpret_cast<void*>(address), false); }

EXPORT Status cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  called("cuMemHostAlloc");
  Status status = safe_call();
  if (status != kSuccess) {
    return status;
  }
  void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (memory == nullptr) {
    return kOutOfMemory;
  }
  std::memset(memory, 0xff, bytes);
  baton::emulation::announce(memory, bytes, kPinned, true);
  std::lock_guard<std::mutex> lock(guard);
  allocations[memory] = {bytes, kPinned};
  *address = memory;
  return kSuccess;
}

EXPORT Status cuMemFreeHost(void* memory) { return free_memory(memory, true); }

namespace {

Status refused(Stream* stream) {
  std::shared_ptr<Stream> own = stream_of(stream);
  return own == nullptr ? kInvalidHandle : refuse_capture(*own);
}

}  // namespace

EXPORT Status cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Stream* stream) {
  called("cuMemcpyHtoDAsync");
  int owner = owner_of(from, bytes);
  if (!on_device(to, bytes) || owner >= 0) {
    return kInvalidValue;
  }
  auto* target = reinterpret_cast<void*>(to);
  if (owner == kPinned) {
    return enqueue(stream, [=] {
      std::memcpy(target, from, bytes);
      return kSuccess;
    });
  }
  // A graph would find something else there later; without one the source is taken before the call returns.
  if (captures(stream)) {
    return refused(stream);
  }
  auto* source = static_cast<const char*>(from);
  auto taken = std::make_shared<std::vector<char>>(source, source + bytes);
  return enqueue(stream, [=] {
    std::memcpy(target, taken->data(), bytes);
    return kSuccess;
  });
}

EXPORT Status cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Stream* stream) {
  called("cuMemcpyDtoHAsync");
  int owner = owner_of(to, bytes);
  if (!on_device(from, bytes) || owner >= 0) {
    return kInvalidValue;
  }
  if (owner == kPageable && captures(stream)) {
    return refused(stream);
  }
  Status status = enqueue(stream, [=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return kSuccess;
  });
  return status == kSuccess && owner == kPageable ? synchronize(stream) : status;
}

EXPORT Status cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream* stream) {
  called("cuMemcpyDtoDAsync");
  if (!on_device(to, bytes) || !on_device(from, bytes)) {
    return kInvalidValue;
  }
  return enqueue(stream, [=] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return kSuccess;
  });
}

// CUDA_MEMCPY2D of cuda.h; memory types 1 = host, 2 = device.
struct Copy2D {
  size_t srcXInBytes, srcY;
  int srcMemoryType;
  const void* srcHost;
  uint64_t srcDevice;
  void* srcArray;
  size_t srcPitch;
  size_t dstXInBytes, dstY;
  int dstMemoryType;
  void* dstHost;
  uint64_t dstDevice;
  void* dstArray;
  size_t dstPitch;
  size_t widthInBytes, height;
};

EXPORT Status cuMemcpy2DAsync_v2(const Copy2D* given, Stream* stream) {
  called("cuMemcpy2DAsync");
  Copy2D c = *given;
  size_t fromBytes = (c.srcY + c.height - 1) * c.srcPitch + c.srcXInBytes + c.widthInBytes;
  size_t toBytes = (c.dstY + c.height - 1) * c.dstPitch + c.dstXInBytes + c.widthInBytes;
  // From device to device alone: nobody asks for more.
  if (c.srcMemoryType != 2 || c.dstMemoryType != 2 || c.srcPitch < c.widthInBytes || c.dstPitch < c.widthInBytes ||
      !on_device(c.srcDevice, fromBytes) || !on_device(c.dstDevice, toBytes)) {
    return kInvalidValue;
  }
  return enqueue(stream, [c] {
    const char* from = reinterpret_cast<const char*>(c.srcDevice);
    char* to = reinterpret_cast<char*>(c.dstDevice);
    for (size_t row = 0; row < c.height; row++) {
      std::memcpy(to + (c.dstY + row) * c.dstPitch + c.dstXInBytes, from + (c.srcY + row) * c.srcPitch + c.srcXInBytes,
                  c.widthInBytes);
    }
    return kSuccess;
  });
}

EXPORT Status cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, Stream* stream) {
  called("cuMemsetD8Async");
  if (!on_device(to, count)) {
    return kInvalidValue;
  }
  return enqueue(stream, [=] {
    std::memset(reinterpret_cast<void*>(to), value, count);
    return kSuccess;
  });
}

EXPORT Status cuMemsetD32Async(uint64_t to, unsigned value, size_t count, Stream* stream) {
  called("cuMemsetD32Async");
  if (to % 4 != 0 || !on_device(to, 4 * count)) {
    return kInvalidValue;
  }
  return enqueue(stream, [=] {
    for (size_t i = 0; i < count; i++) {
      reinterpret_cast<unsigned*>(to)[i] = value;
    }
    return kSuccess;
  });
}

// libcuda.so.1 on a machine without a GPU: the functions of the driver API that Baton calls, over host memory. Built into
// libbaton_cuda_emulated.so, whose soname is libcuda.so.1, so that the very same Java, JCuda and kernels' launches run in
// tests as on a GPU. Streams run at once, on the caller's thread; a stream that is captured keeps launches, copies and
// fills, and replays them on the thread that launches the graph. Memory is full of NaNs when it is handed out.
// Long, because it is one flat list of the driver's functions.
//
// BATON_EMULATED_GPUS: how many GPUs there are (default 8); BATON_EMULATED_GPU_MEMORY: MiB of each (default 4096).
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

extern "C" {
int baton_emulate(const char* kernel, const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes, void* const* params);
const char* baton_emulate_error();
void baton_emulate_memory(void* address, size_t bytes, int live);
int baton_emulate_parameters(const char* kernel, uint32_t* sizes, int most);
}

namespace baton {
namespace emulation {
extern std::atomic<unsigned long long> launches;
}
}  // namespace baton

namespace {

using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kInvalidValue = 1;
constexpr Status kOutOfMemory = 2;
constexpr Status kInvalidDevice = 101;
constexpr Status kInvalidImage = 200;
constexpr Status kInvalidContext = 201;
constexpr Status kNotFound = 500;
constexpr Status kLaunchFailed = 719;
constexpr Status kCaptureInvalid = 901;

constexpr int kMostParameters = 64;
constexpr int kMostDevices = 16;

// What a GPU refuses to launch.
constexpr int kMostShared = 232448;
constexpr uint32_t kPlainShared = 48 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostGrid = 65535;  // in the second and third dimension

struct Context {
  int device;
};

struct Graph {
  std::vector<std::function<Status()>> work;
};

struct Stream {
  std::unique_ptr<Graph> captured;
};

struct Event {
  uint64_t nanos;
};

struct Function {
  std::string name;
  std::vector<uint32_t> sizes;
  std::atomic<uint32_t> shared{kPlainShared};
};

struct Module {
  std::map<std::string, std::unique_ptr<Function>> functions;
};

long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != 0 ? std::strtol(text, nullptr, 10) : otherwise;
}

int device_count() { return static_cast<int>(std::min<long>(setting("BATON_EMULATED_GPUS", 8), kMostDevices)); }

size_t device_memory() { return static_cast<size_t>(setting("BATON_EMULATED_GPU_MEMORY", 4096)) << 20; }

Context contexts[kMostDevices];
thread_local Context* current = nullptr;

std::mutex guard;
struct Allocation {
  size_t bytes;
  int device;
};
std::map<void*, Allocation> allocations;  // guarded
size_t used[kMostDevices];                // guarded
std::string last_failure;                 // guarded

// Now, or when the graph that is being captured is launched.
Status enqueue(Stream* stream, std::function<Status()> work) {
  if (current == nullptr) {
    return kInvalidContext;
  }
  if (stream != nullptr && stream->captured != nullptr) {
    stream->captured->work.push_back(std::move(work));
    return kSuccess;
  }
  return work();
}

// What was called of what a step may call, as long as it is asked for (baton_emulate_trace).
std::atomic<bool> tracing{false};
std::string trace;  // guarded

void called(const char* what) {
  if (tracing.load(std::memory_order_relaxed)) {
    std::lock_guard<std::mutex> lock(guard);
    trace += trace.empty() ? what : std::string(" ") + what;
  }
}

Status launch(const char* name, const uint32_t* grid, const uint32_t* block, uint32_t shared, void* const* params) {
  baton::emulation::launches.fetch_add(1, std::memory_order_relaxed);
  if (baton_emulate(name, grid, block, shared, params) != 0) {
    std::lock_guard<std::mutex> lock(guard);
    last_failure = baton_emulate_error();
    std::fprintf(stderr, "emulated GPU: %s\n", last_failure.c_str());
    return kLaunchFailed;
  }
  return kSuccess;
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

// The calls since tracing began, by name, launches by their kernels'; begins to trace anew, or (0) ends it. The text holds
// until the next call of this.
EXPORT const char* baton_emulate_trace(int on) {
  static std::string told;
  std::lock_guard<std::mutex> lock(guard);
  told.swap(trace);
  trace.clear();
  tracing = on != 0;
  return told.c_str();
}

EXPORT Status cuInit(unsigned) { return kSuccess; }

EXPORT Status cuDriverGetVersion(int* version) {
  *version = 12060;
  return kSuccess;
}

EXPORT Status cuGetErrorName(Status status, const char** name) {
  switch (status) {
    case kSuccess: *name = "CUDA_SUCCESS"; break;
    case kInvalidValue: *name = "CUDA_ERROR_INVALID_VALUE"; break;
    case kInvalidImage: *name = "CUDA_ERROR_INVALID_IMAGE"; break;
    case kOutOfMemory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case kInvalidDevice: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case kInvalidContext: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case kNotFound: *name = "CUDA_ERROR_NOT_FOUND"; break;
    case kLaunchFailed: *name = "CUDA_ERROR_LAUNCH_FAILED"; break;
    case kCaptureInvalid: *name = "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"; break;
    default: *name = "CUDA_ERROR_UNKNOWN"; break;
  }
  return kSuccess;
}

EXPORT Status cuGetErrorString(Status status, const char** text) {
  static thread_local std::string copy;
  std::lock_guard<std::mutex> lock(guard);
  copy = status == kLaunchFailed ? last_failure : "refused by the emulated GPU";
  *text = copy.c_str();
  return kSuccess;
}

EXPORT Status cuDeviceGetCount(int* count) {
  *count = device_count();
  return kSuccess;
}

EXPORT Status cuDeviceGet(int* device, int ordinal) {
  if (ordinal < 0 || ordinal >= device_count()) {
    return kInvalidDevice;
  }
  *device = ordinal;
  return kSuccess;
}

EXPORT Status cuDeviceGetName(char* name, int length, int) {
  std::snprintf(name, static_cast<size_t>(length), "emulated GPU");
  return kSuccess;
}

EXPORT Status cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = device_memory();
  return kSuccess;
}

EXPORT Status cuDeviceGetPCIBusId(char* id, int length, int device) {
  std::snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0", device);
  return kSuccess;
}

EXPORT Status cuDeviceGetAttribute(int* value, int attribute, int) {
  switch (attribute) {
    case 75: *value = 9; break;        // compute capability, major
    case 76: *value = 0; break;        // minor
    case 16: *value = 2; break;        // multiprocessors
    case 97: *value = kMostShared; break;   // shared memory of a block at most
    default: *value = 0; break;
  }
  return kSuccess;
}

EXPORT Status cuDevicePrimaryCtxRetain(Context** context, int device) {
  if (device < 0 || device >= device_count()) {
    return kInvalidDevice;
  }
  contexts[device].device = device;
  *context = &contexts[device];
  return kSuccess;
}

EXPORT Status cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }

EXPORT Status cuCtxSetCurrent(Context* context) {
  called("cuCtxSetCurrent");
  current = context;
  return kSuccess;
}

EXPORT Status cuCtxSynchronize() { return kSuccess; }

EXPORT Status cuDeviceCanAccessPeer(int* can, int, int) {
  *can = 1;
  return kSuccess;
}

EXPORT Status cuCtxEnablePeerAccess(Context*, unsigned) { return kSuccess; }

EXPORT Status cuMemGetInfo_v2(size_t* free, size_t* total) {
  if (current == nullptr) {
    return kInvalidContext;
  }
  std::lock_guard<std::mutex> lock(guard);
  *total = device_memory();
  *free = *total - used[current->device];
  return kSuccess;
}

EXPORT Status cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  called("cuMemAlloc");
  if (current == nullptr) {
    return kInvalidContext;
  }
  if (bytes == 0) {
    return kInvalidValue;
  }
  std::lock_guard<std::mutex> lock(guard);
  if (bytes > device_memory() - used[current->device]) {
    return kOutOfMemory;
  }
  void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) {
    return kOutOfMemory;
  }
  std::memset(memory, 0xff, bytes);
  allocations[memory] = {bytes, current->device};
  used[current->device] += bytes;
  baton_emulate_memory(memory, bytes, 1);
  *address = reinterpret_cast<uint64_t>(memory);
  return kSuccess;
}

EXPORT Status cuMemFree_v2(uint64_t address) {
  std::lock_guard<std::mutex> lock(guard);
  void* memory = reinterpret_cast<void*>(address);
  auto found = allocations.find(memory);
  if (found == allocations.end()) {
    return kInvalidValue;
  }
  used[found->second.device] -= found->second.bytes;
  baton_emulate_memory(memory, found->second.bytes, 0);
  allocations.erase(found);
  std::free(memory);
  return kSuccess;
}

EXPORT Status cuMemHostAlloc(void** address, size_t bytes, unsigned) {
  called("cuMemHostAlloc");
  void* memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (memory == nullptr) {
    return kOutOfMemory;
  }
  std::memset(memory, 0xff, bytes);
  baton_emulate_memory(memory, bytes, 1);
  std::lock_guard<std::mutex> lock(guard);
  allocations[memory] = {bytes, -1};
  *address = memory;
  return kSuccess;
}

EXPORT Status cuMemFreeHost(void* memory) {
  std::lock_guard<std::mutex> lock(guard);
  auto found = allocations.find(memory);
  if (found == allocations.end() || found->second.device != -1) {
    return kInvalidValue;
  }
  baton_emulate_memory(memory, found->second.bytes, 0);
  allocations.erase(found);
  std::free(memory);
  return kSuccess;
}

namespace {

Status copy(Stream* stream, void* to, const void* from, size_t bytes) {
  return enqueue(stream, [=] {
    std::memcpy(to, from, bytes);
    return kSuccess;
  });
}

}  // namespace

EXPORT Status cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, Stream* stream) {
  called("cuMemcpyHtoDAsync");
  return copy(stream, reinterpret_cast<void*>(to), from, bytes);
}

EXPORT Status cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, Stream* stream) {
  called("cuMemcpyDtoHAsync");
  return copy(stream, to, reinterpret_cast<const void*>(from), bytes);
}

EXPORT Status cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream* stream) {
  called("cuMemcpyDtoDAsync");
  return copy(stream, reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
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
  return enqueue(stream, [c] {
    const char* from = c.srcMemoryType == 1 ? static_cast<const char*>(c.srcHost) : reinterpret_cast<const char*>(c.srcDevice);
    char* to = c.dstMemoryType == 1 ? static_cast<char*>(c.dstHost) : reinterpret_cast<char*>(c.dstDevice);
    for (size_t row = 0; row < c.height; row++) {
      std::memcpy(to + (c.dstY + row) * c.dstPitch + c.dstXInBytes, from + (c.srcY + row) * c.srcPitch + c.srcXInBytes,
                  c.widthInBytes);
    }
    return kSuccess;
  });
}

EXPORT Status cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, Stream* stream) {
  called("cuMemsetD8Async");
  return enqueue(stream, [=] {
    std::memset(reinterpret_cast<void*>(to), value, count);
    return kSuccess;
  });
}

EXPORT Status cuMemsetD32Async(uint64_t to, unsigned value, size_t count, Stream* stream) {
  called("cuMemsetD32Async");
  return enqueue(stream, [=] {
    for (size_t i = 0; i < count; i++) {
      reinterpret_cast<unsigned*>(to)[i] = value;
    }
    return kSuccess;
  });
}

EXPORT Status cuStreamCreate(Stream** stream, unsigned) {
  *stream = new Stream();
  return kSuccess;
}

EXPORT Status cuStreamDestroy_v2(Stream* stream) {
  delete stream;
  return kSuccess;
}

EXPORT Status cuStreamSynchronize(Stream* stream) {
  called("cuStreamSynchronize");
  return stream != nullptr && stream->captured != nullptr ? kCaptureInvalid : kSuccess;
}

EXPORT Status cuStreamWaitEvent(Stream*, Event*, unsigned) {
  called("cuStreamWaitEvent");
  return kSuccess;
}

EXPORT Status cuStreamBeginCapture_v2(Stream* stream, int) {
  called("cuStreamBeginCapture");
  if (stream == nullptr || stream->captured != nullptr) {
    return kInvalidValue;
  }
  stream->captured = std::make_unique<Graph>();
  return kSuccess;
}

EXPORT Status cuStreamEndCapture(Stream* stream, Graph** graph) {
  called("cuStreamEndCapture");
  if (stream == nullptr || stream->captured == nullptr) {
    return kInvalidValue;
  }
  *graph = stream->captured.release();
  return kSuccess;
}

EXPORT Status cuGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long long) {
  *executable = new Graph(*graph);
  return kSuccess;
}

EXPORT Status cuGraphLaunch(Graph* graph, Stream* stream) {
  called("cuGraphLaunch");
  return enqueue(stream, [graph] {
    for (auto& each : graph->work) {
      Status status = each();
      if (status != kSuccess) {
        return status;
      }
    }
    return kSuccess;
  });
}

EXPORT Status cuGraphUpload(Graph*, Stream*) {
  called("cuGraphUpload");
  return kSuccess;
}

EXPORT Status cuGraphDestroy(Graph* graph) {
  delete graph;
  return kSuccess;
}

EXPORT Status cuGraphExecDestroy(Graph* graph) {
  delete graph;
  return kSuccess;
}

EXPORT Status cuEventCreate(Event** event, unsigned) {
  *event = new Event{};
  return kSuccess;
}

EXPORT Status cuEventDestroy_v2(Event* event) {
  delete event;
  return kSuccess;
}

EXPORT Status cuEventRecord(Event* event, Stream* stream) {
  called("cuEventRecord");
  return enqueue(stream, [event] {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    event->nanos = static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
    return kSuccess;
  });
}

EXPORT Status cuEventSynchronize(Event*) {
  called("cuEventSynchronize");
  return kSuccess;
}

EXPORT Status cuEventElapsedTime(float* milliseconds, Event* from, Event* to) {
  *milliseconds = static_cast<float>(static_cast<double>(to->nanos - from->nanos) / 1e6);
  return kSuccess;
}

// An emulated GPU's image is a byte 0; others are none of its.
EXPORT Status cuModuleLoadData(Module** module, const void* image) {
  if (*static_cast<const char*>(image) != 0) {
    return kInvalidImage;
  }
  *module = new Module();
  return kSuccess;
}

EXPORT Status cuModuleUnload(Module* module) {
  delete module;
  return kSuccess;
}

EXPORT Status cuModuleGetFunction(Function** function, Module* module, const char* name) {
  uint32_t sizes[kMostParameters];
  int count = baton_emulate_parameters(name, sizes, kMostParameters);
  if (count < 0) {
    return kNotFound;
  }
  std::unique_ptr<Function>& own = module->functions[name];
  if (own == nullptr) {
    own = std::make_unique<Function>();
    own->name = name;
    own->sizes.assign(sizes, sizes + count);
  }
  *function = own.get();
  return kSuccess;
}

// Attribute 8: dynamic shared memory that launches may have.
EXPORT Status cuFuncSetAttribute(Function* function, int attribute, int value) {
  if (attribute != 8 || value < 0 || value > kMostShared) {
    return kInvalidValue;
  }
  function->shared = static_cast<uint32_t>(value);
  return kSuccess;
}

// Attribute 3: bytes of local memory of a thread.
EXPORT Status cuFuncGetAttribute(int* value, int attribute, Function*) {
  *value = 0;
  return attribute == 3 ? kSuccess : kInvalidValue;
}

EXPORT Status cuCtxSetLimit(int, size_t) { return current == nullptr ? kInvalidContext : kSuccess; }

EXPORT Status cuLaunchKernel(Function* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                             unsigned blockY, unsigned blockZ, unsigned shared, Stream* stream, void** params, void**) {
  if (gridX == 0 || gridX > 0x7fffffffu || gridY == 0 || gridY > kMostGrid || gridZ == 0 || gridZ > kMostGrid ||
      blockX * blockY * blockZ == 0 || blockX * blockY * blockZ > kMostThreads || shared > function->shared) {
    return kInvalidValue;
  }
  // A launch owns its parameters: the caller's may change as soon as it returns.
  struct Call {
    std::string name;
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t shared;
    std::vector<std::vector<uint64_t>> values;
    std::vector<void*> params;
  };
  called(function->name.c_str());
  auto call = std::make_shared<Call>();
  call->name = function->name;
  uint32_t grid[3] = {gridX, gridY, gridZ};
  uint32_t block[3] = {blockX, blockY, blockZ};
  std::memcpy(call->grid, grid, sizeof grid);
  std::memcpy(call->block, block, sizeof block);
  call->shared = shared;
  if (gridX == 0 || gridY == 0 || gridZ == 0) {
    return kInvalidValue;
  }
  for (size_t i = 0; i < function->sizes.size(); i++) {
    std::vector<uint64_t> value((function->sizes[i] + 7) / 8);
    std::memcpy(value.data(), params[i], function->sizes[i]);
    call->values.push_back(std::move(value));
  }
  for (auto& value : call->values) {
    call->params.push_back(value.data());
  }
  return enqueue(stream, [call] { return launch(call->name.c_str(), call->grid, call->block, call->shared, call->params.data()); });
}

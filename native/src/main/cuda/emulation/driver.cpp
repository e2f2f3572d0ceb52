// libcuda.so.1 on a machine without a GPU: the functions of the driver API that Baton calls, over host memory. Built into
// libbaton_cuda_emulated.so, whose soname is libcuda.so.1, so that the very same Java, JCuda and kernels' launches run in
// tests as on a GPU. Streams run as late as they may (streams.h); a stream that is captured keeps launches, copies and
// fills, and replays them when the graph's turn comes. Memory is full of NaNs when it is handed out. What the driver API
// forbids is refused, also where a GPU would let it pass by luck.
// Memory and copies are in driver_memory.cpp.
//
// BATON_EMULATED_GPUS: how many GPUs there are (default 8); BATON_EMULATED_GPU_MEMORY: MiB of each (default 4096).
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "streams.h"

extern "C" {
int baton_emulate(const char* kernel, const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes, void* const* params);
const char* baton_emulate_error();
int baton_emulate_parameters(const char* kernel, uint32_t* sizes, int most);
}

namespace baton {
namespace emulation {
extern std::atomic<unsigned long long> launches;
void reach(unsigned devices);
int most_threads(const char* kernel);
}  // namespace emulation
}  // namespace baton

using namespace baton::driver;

namespace {

constexpr int kMostParameters = 64;

// What a GPU refuses to launch; of shared memory, what the least of the GPUs that there is code for has.
constexpr int kMostShared = 99 << 10;
constexpr uint32_t kPlainShared = 48 << 10;
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostGrid = 65535;  // in the second and third dimension

struct Function {
  Context* context;
  std::string name;
  std::vector<uint32_t> sizes;
  unsigned most;  // threads of a block
  std::atomic<uint32_t> shared{kPlainShared};
};

struct Module {
  Context* context;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

long setting(const char* name, long otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != 0 ? std::strtol(text, nullptr, 10) : otherwise;
}

std::mutex guard;
std::string last_failure;                 // guarded

// What was called of what a step may call, as long as it is asked for (baton_emulate_trace).
std::atomic<bool> tracing{false};
std::string trace;  // guarded

Status launch(const Context& context, const char* name, const uint32_t* grid, const uint32_t* block, uint32_t shared,
              void* const* params) {
  baton::emulation::launches.fetch_add(1, std::memory_order_relaxed);
  baton::emulation::reach(context.reaches | 1u << context.device);
  if (baton_emulate(name, grid, block, shared, params) != 0) {
    std::lock_guard<std::mutex> lock(guard);
    last_failure = baton_emulate_error();
    std::fprintf(stderr, "emulated GPU: %s\n", last_failure.c_str());
    return kLaunchFailed;
  }
  return kSuccess;
}

}  // namespace

namespace baton::driver {

int device_count() { return static_cast<int>(std::min<long>(setting("BATON_EMULATED_GPUS", 8), kMostDevices)); }

size_t device_memory() { return static_cast<size_t>(setting("BATON_EMULATED_GPU_MEMORY", 4096)) << 20; }

void called(const char* what) {
  if (tracing.load(std::memory_order_relaxed)) {
    std::lock_guard<std::mutex> lock(guard);
    trace += trace.empty() ? what : std::string(" ") + what;
  }
}

}  // namespace baton::driver

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
    case kDestroyed: *name = "CUDA_ERROR_CONTEXT_IS_DESTROYED"; break;
    case kInvalidHandle: *name = "CUDA_ERROR_INVALID_HANDLE"; break;
    case kIllegalState: *name = "CUDA_ERROR_ILLEGAL_STATE"; break;
    case kNotReady: *name = "CUDA_ERROR_NOT_READY"; break;
    case kOutOfResources: *name = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; break;
    case kPeerAlready: *name = "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED"; break;
    case kCaptureUnsupported: *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"; break;
    case kCapturedEvent: *name = "CUDA_ERROR_CAPTURED_EVENT"; break;
    case kCaptureThread: *name = "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"; break;
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
  *context = &context_of(device);
  (*context)->retained++;
  return kSuccess;
}

EXPORT Status cuDevicePrimaryCtxRelease_v2(int device) {
  if (device < 0 || device >= device_count()) {
    return kInvalidDevice;
  }
  Context& context = context_of(device);
  if (context.retained == 0) {
    return kInvalidContext;
  }
  release(context);
  return kSuccess;
}

EXPORT Status cuCtxSetCurrent(Context* context) {
  called("cuCtxSetCurrent");
  return make_current(context);
}

EXPORT Status cuCtxSynchronize() {
  Status status = context_wait();
  return status == kSuccess ? finish(*current()) : status;
}

EXPORT Status cuDeviceCanAccessPeer(int* can, int device, int peer) {
  *can = device == peer ? 0 : 1;
  return kSuccess;
}

EXPORT Status cuCtxEnablePeerAccess(Context* peer, unsigned flags) {
  Status status = usable();
  if (status != kSuccess) {
    return status;
  }
  if (flags != 0) {
    return kInvalidValue;
  }
  if (peer == current()) {
    return kInvalidDevice;
  }
  if (peer == nullptr || peer->retained == 0) {
    return kInvalidContext;
  }
  unsigned bit = 1u << peer->device;
  return (current()->reaches.fetch_or(bit) & bit) != 0 ? kPeerAlready : kSuccess;
}

EXPORT Status cuStreamCreate(Stream** stream, unsigned) {
  Status status = usable();
  if (status == kSuccess) {
    *stream = add_stream();
  }
  return status;
}

EXPORT Status cuStreamDestroy_v2(Stream* stream) { return drop_stream(stream); }

EXPORT Status cuStreamSynchronize(Stream* stream) {
  called("cuStreamSynchronize");
  return synchronize(stream);
}

EXPORT Status cuStreamWaitEvent(Stream* stream, Event* event, unsigned) {
  called("cuStreamWaitEvent");
  return wait_for(stream, event);
}

EXPORT Status cuStreamBeginCapture_v2(Stream* stream, int mode) {
  called("cuStreamBeginCapture");
  return begin_capture(stream, mode);
}

EXPORT Status cuStreamEndCapture(Stream* stream, Graph** graph) {
  called("cuStreamEndCapture");
  return end_capture(stream, graph);
}

EXPORT Status cuGraphInstantiateWithFlags(std::shared_ptr<Graph>** executable, Graph* graph, unsigned long long) {
  Status status = safe_call();
  if (status == kSuccess) {
    *executable = new std::shared_ptr<Graph>(new Graph(*graph));
  }
  return status;
}

EXPORT Status cuGraphLaunch(std::shared_ptr<Graph>* executable, Stream* stream) {
  called("cuGraphLaunch");
  std::shared_ptr<Graph> graph = *executable;
  if (graph->context != current()) {
    return kInvalidContext;
  }
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

EXPORT Status cuGraphUpload(std::shared_ptr<Graph>*, Stream* stream) {
  called("cuGraphUpload");
  return enqueue(stream, [] { return kSuccess; });
}

EXPORT Status cuGraphDestroy(Graph* graph) {
  delete graph;
  return kSuccess;
}

EXPORT Status cuGraphExecDestroy(std::shared_ptr<Graph>* executable) {
  delete executable;
  return kSuccess;
}

// Flag 2: not for times.
EXPORT Status cuEventCreate(Event** event, unsigned flags) {
  Status status = usable();
  if (status == kSuccess) {
    *event = add_event((flags & 2) == 0);
  }
  return status;
}

EXPORT Status cuEventDestroy_v2(Event* event) { return drop_event(event); }

EXPORT Status cuEventRecord(Event* event, Stream* stream) {
  called("cuEventRecord");
  return record(event, stream);
}

EXPORT Status cuEventSynchronize(Event* event) {
  called("cuEventSynchronize");
  return synchronize(event);
}

EXPORT Status cuEventElapsedTime(float* milliseconds, Event* from, Event* to) {
  std::shared_ptr<Event> begin = event_of(from);
  std::shared_ptr<Event> end = event_of(to);
  if (begin == nullptr || end == nullptr || !begin->timed || !end->timed) {
    return kInvalidHandle;
  }
  if (begin->nanos == 0 || end->nanos == 0) {
    return kNotReady;
  }
  *milliseconds = static_cast<float>(static_cast<double>(end->nanos - begin->nanos) / 1e6);
  return kSuccess;
}

// An emulated GPU's image is a byte 0; others are none of its.
EXPORT Status cuModuleLoadData(Module** module, const void* image) {
  if (*static_cast<const char*>(image) != 0) {
    return kInvalidImage;
  }
  Status status = usable();
  if (status == kSuccess) {
    *module = new Module{current(), {}};
  }
  return status;
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
    own->context = module->context;
    own->name = name;
    own->most = static_cast<unsigned>(baton::emulation::most_threads(name));
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

EXPORT Status cuCtxSetLimit(int, size_t) { return context_wait(); }

EXPORT Status cuLaunchKernel(Function* function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                             unsigned blockY, unsigned blockZ, unsigned shared, Stream* stream, void** params, void**) {
  if (gridX == 0 || gridX > 0x7fffffffu || gridY == 0 || gridY > kMostGrid || gridZ == 0 || gridZ > kMostGrid ||
      blockX * blockY * blockZ == 0 || blockX * blockY * blockZ > kMostThreads || shared > function->shared) {
    return kInvalidValue;
  }
  if (blockX > function->most) {
    return kOutOfResources;
  }
  if (function->context != current()) {
    return kInvalidHandle;
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
  for (size_t i = 0; i < function->sizes.size(); i++) {
    std::vector<uint64_t> value((function->sizes[i] + 7) / 8);
    std::memcpy(value.data(), params[i], function->sizes[i]);
    call->values.push_back(std::move(value));
  }
  for (auto& value : call->values) {
    call->params.push_back(value.data());
  }
  Context* context = current();
  return enqueue(stream, [call, context] {
    return launch(*context, call->name.c_str(), call->grid, call->block, call->shared, call->params.data());
  });
}

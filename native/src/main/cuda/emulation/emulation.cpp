// Runs launches for emulation.h: fibers of a block, the memory that is announced, and the C ABI. Long, because
// all of it works on the state of the one block that a thread is running.

#include "../device.h"

#include <sched.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "fiber.h"

namespace baton::emulation {

// Called now and then while a kernel waits for another one.
void (*while_polling)() = nullptr;

namespace {

constexpr int kLanes = 32;
constexpr size_t kMostBytes = 16;  // of a lane in an exchange
constexpr size_t kMostShared = 99 << 10;
constexpr int kEverywhere = -1;
constexpr unsigned kPollsAlone = 64;

struct Kernel {
  Invoke invoke;
  int most_threads;
  std::vector<uint32_t> sizes;  // of its parameters
};

std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

// Memory that kernels may touch, by first byte: its end, and the device that it lies on.
struct Range {
  uintptr_t to;
  int device;
};

std::shared_mutex ranges_lock;
std::map<uintptr_t, Range> ranges;
unsigned long ranges_version = 1;

enum class State { RUNNABLE, WARP, BLOCK, POLLING, DONE };

// The last access of a kind to two bytes of shared memory.
struct Touch {
  uint64_t epoch = 0;     // barriers of this host thread's blocks before it
  int thread = 0;
  int warp_epoch = 0;     // and of the thread's warp
  Access access = Access::READ;
};

struct Cell {
  Touch write;
  Touch read;
  Touch other_read;  // of another warp than `read`; else of another thread
};

constexpr size_t kCellBytes = 2;
bool races = false;

struct Copy {
  void* to;
  const void* from;
  bool valid;
};

struct Fiber {
  void* stack_pointer = nullptr;
  unsigned char* stack = nullptr;
  State state = State::DONE;
  int where = 0;
  Place place{};
  int warp_epoch = 0;
  std::vector<std::vector<Copy>> committed;
  std::vector<Copy> copies;
};

struct Warp {
  int arrived = 0;
  int lanes = 0;
  int where = 0;
  unsigned char inputs[kLanes][kMostBytes];
  unsigned char results[kLanes][kMostBytes];
  unsigned a[kLanes][4];
  unsigned b[kLanes][2];
  float c[kLanes][4];
};

// The bound of the kernel whose registration comes next; kernels are registered one after the other.
int next_bound = 0;

// One launch on one host thread; its fibers and their stacks are kept for the next.
struct Launch {
  const char* name = "";
  Invoke invoke = nullptr;
  void* const* params = nullptr;
  std::vector<Fiber> fibers;
  std::vector<Warp> warps;
  Fiber* running = nullptr;
  void* scheduler = nullptr;
  int arrived = 0;
  int barrier = 0;
  uint64_t epoch = 0;
  std::vector<Cell> cells;
  bool failed = false;
  std::string error;
  unsigned char* shared = nullptr;
  size_t shared_bytes = 0;
  // The range of the last access and the version of the ranges that it was found in.
  uintptr_t from = 1;
  uintptr_t to = 0;
  unsigned long version = 0;
  unsigned devices = ~0u;  // whose memory may be touched
  bool reversed = false;

  ~Launch() {
    for (Fiber& each : fibers) {
      release_stack(each.stack);
    }
    if (shared != nullptr) {
      munmap(shared, kMostShared);
    }
  }
};

thread_local Launch launch;

void enter() {
  Launch& l = launch;
  l.invoke(l.params);
  l.running->state = State::DONE;
  switch_fiber(&l.running->stack_pointer, l.scheduler);
  __builtin_unreachable();
}

void wait_as(State state) {
  Launch& l = launch;
  l.running->state = state;
  switch_fiber(&l.running->stack_pointer, l.scheduler);
}

std::string describe(const Launch& l, const Fiber& fiber) {
  const Place& p = fiber.place;
  char text[256];
  snprintf(text, sizeof(text), "kernel %s: block (%d, %d, %d), thread %d: ", l.name, p.block[0], p.block[1], p.block[2],
           p.thread);
  return text;
}

void start_block(Launch& l, int threads) {
  memset(l.shared, 0xff, l.shared_bytes);
  l.arrived = 0;
  l.epoch++;
  if (races) {
    l.cells.resize(kMostShared / kCellBytes);
  }
  for (int w = 0; w * kLanes < threads; w++) {
    l.warps[w].arrived = 0;
    l.warps[w].lanes = std::min(kLanes, threads - w * kLanes);
  }
  for (int t = 0; t < threads; t++) {
    Fiber& fiber = l.fibers[t];
    fiber.state = State::RUNNABLE;
    fiber.place.thread = t;
    fiber.warp_epoch = 0;
    fiber.copies.clear();
    fiber.committed.clear();
    fiber.stack_pointer = prepare_stack(fiber.stack, enter);
  }
}

// Whether a thread of the warp ran.
bool run_warp(Launch& l, int from, int to, int& done, bool& polling) {
  bool ran = false;
  for (bool again = true; again && !l.failed;) {
    again = false;
    for (int i = from; i < to && !l.failed; i++) {
      Fiber& fiber = l.fibers[l.reversed ? to - 1 - (i - from) : i];
      if (fiber.state != State::RUNNABLE) {
        continue;
      }
      l.running = &fiber;
      switch_fiber(&l.scheduler, fiber.stack_pointer);
      again = true;
      ran = true;
      if (fiber.state == State::DONE) {
        done++;
      }
    }
  }
  for (int t = from; t < to; t++) {
    if (l.fibers[t].state == State::POLLING) {
      l.fibers[t].state = State::RUNNABLE;
      polling = true;
    }
  }
  return ran;
}

void report_stuck(Launch& l, int threads) {
  for (int t = 0; t < threads; t++) {
    Fiber& fiber = l.fibers[t];
    if (fiber.state != State::DONE) {
      l.failed = true;
      l.error = describe(l, fiber) + (fiber.state == State::BLOCK ? "barrier" : "warp operation") + " at line " +
                std::to_string(fiber.where) + " (expected: all threads reach it)";
      return;
    }
  }
}

void run_block(Launch& l, int threads) {
  start_block(l, threads);
  int done = 0;
  unsigned polls = 0;
  int warps = (threads + kLanes - 1) / kLanes;
  while (done < threads && !l.failed) {
    bool ran = false;
    bool polling = false;
    for (int i = 0; i < warps && !l.failed; i++) {
      int from = (l.reversed ? warps - 1 - i : i) * kLanes;
      ran |= run_warp(l, from, std::min(threads, from + kLanes), done, polling);
    }
    if (polling) {
      if (++polls % kPollsAlone == 0 && while_polling != nullptr) {
        while_polling();
      }
      sched_yield();
    } else if (!ran) {
      report_stuck(l, threads);
    }
  }
}

void complete_mma(Warp& w) {
  float a[16][16];
  float b[16][8];
  for (int lane = 0; lane < kLanes; lane++) {
    int g = lane / 4;
    int t = lane % 4 * 2;
    for (int i = 0; i < 4; i++) {
      int row = g + (i & 1) * 8;
      int k = t + (i & 2) * 4;
      a[row][k] = as_float(w.a[lane][i] << 16);
      a[row][k + 1] = as_float(w.a[lane][i] & 0xffff0000u);
    }
    for (int i = 0; i < 2; i++) {
      b[t + i * 8][g] = as_float(w.b[lane][i] << 16);
      b[t + i * 8 + 1][g] = as_float(w.b[lane][i] & 0xffff0000u);
    }
  }
  float c[16][8];
  for (int lane = 0; lane < kLanes; lane++) {
    for (int i = 0; i < 4; i++) {
      c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2] = w.c[lane][i];
    }
  }
  for (int m = 0; m < 16; m++) {
    for (int k = 0; k < 16; k++) {
      for (int n = 0; n < 8; n++) {
        c[m][n] += a[m][k] * b[k][n];
      }
    }
  }
  for (int lane = 0; lane < kLanes; lane++) {
    for (int i = 0; i < 4; i++) {
      w.c[lane][i] = c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
    }
  }
}

// This lane has come to a warp's operation; true for the last, which completes it and lets the others go on.
bool arrive(Launch& l, Warp& w, int where) {
  if (w.arrived == 0) {
    w.where = where;
  } else if (w.where != where) {
    l.running->where = where;
    fail("warp operation: lanes are at different ones (expected: all at the same)", nullptr, 0);
  }
  l.running->where = where;
  if (w.lanes != kLanes) {
    fail("warp operation: in a warp that is not full (expected: blocks of whole warps)", nullptr, 0);
  }
  w.arrived++;
  return w.arrived == w.lanes;
}

void release_warp(Launch& l, Warp& w) {
  w.arrived = 0;
  int first = l.running->place.thread / kLanes * kLanes;
  for (int t = first; t < first + kLanes; t++) {
    l.fibers[t].state = State::RUNNABLE;
  }
}

void perform(const std::vector<Copy>& copies) {
  for (const Copy& each : copies) {
    touch_shared(each.to, 16, Access::WRITE);
    if (each.valid) {
      memcpy(each.to, each.from, 16);
    } else {
      memset(each.to, 0, 16);
    }
  }
}

}  // namespace

const Place& place() noexcept { return launch.running->place; }

void fail(const char* what, const void* address, size_t bytes) {
  Launch& l = launch;
  if (!l.failed) {
    l.failed = true;
    char text[64] = "";
    if (bytes != 0) {
      snprintf(text, sizeof(text), ": %zu bytes at %p", bytes, address);
    }
    l.error = describe(l, *l.running) + what + text;
  }
  wait_as(State::DONE);
  __builtin_unreachable();
}

void check_global(const void* address, size_t bytes, size_t alignment) {
  Launch& l = launch;
  auto at = reinterpret_cast<uintptr_t>(address);
  if (at % (bytes == 16 ? 16 : alignment) != 0) {
    fail("global memory: misaligned access", address, bytes);
  }
  if (at >= l.from && at + bytes <= l.to && l.version == __atomic_load_n(&ranges_version, __ATOMIC_RELAXED)) {
    return;
  }
  bool reachable = true;
  {
    std::shared_lock<std::shared_mutex> guard(ranges_lock);
    auto next = ranges.upper_bound(at);
    if (next != ranges.begin() && at + bytes <= std::prev(next)->second.to) {
      const Range& range = std::prev(next)->second;
      if (range.device != kEverywhere && (l.devices >> range.device & 1) == 0) {
        reachable = false;
      } else {
        l.from = std::prev(next)->first;
        l.to = range.to;
        l.version = ranges_version;
        return;
      }
    }
  }
  if (!reachable) {
    fail("global memory: of a GPU that this one does not reach (expected: peer access)", address, bytes);
  }
  fail("global memory: access outside of what is allocated", address, bytes);
}

void* shared_memory(size_t* bytes) {
  *bytes = launch.shared_bytes;
  return launch.shared;
}

namespace {

// Whether nothing orders an earlier access and one of the running thread.
bool unordered(const Launch& l, const Touch& earlier) {
  const Fiber& fiber = *l.running;
  if (earlier.epoch != l.epoch || earlier.thread == fiber.place.thread) {
    return false;
  }
  return earlier.thread / kLanes != fiber.place.thread / kLanes || earlier.warp_epoch == fiber.warp_epoch;
}

[[noreturn]] void report_race(const Touch& earlier, size_t byte) {
  char text[128];
  snprintf(text, sizeof(text), "shared memory: a race with thread %d for byte %zu (expected: a barrier between)",
           earlier.thread, byte);
  fail(text, nullptr, 0);
}

}  // namespace

void touch_shared(const void* address, size_t bytes, Access access) {
  Launch& l = launch;
  if (!races) {
    return;
  }
  size_t from = static_cast<const unsigned char*>(address) - l.shared;
  Touch now{l.epoch, l.running->place.thread, l.running->warp_epoch, access};
  for (size_t byte = from / kCellBytes * kCellBytes; byte < from + bytes; byte += kCellBytes) {
    Cell& cell = l.cells[byte / kCellBytes];
    bool both_atomic = access == Access::ATOMIC && cell.write.access == Access::ATOMIC;
    if (!both_atomic && unordered(l, cell.write)) {
      report_race(cell.write, byte);
    }
    if (access == Access::READ) {
      // Of two readers one is left that is not the thread that writes next, if possible not of its warp either.
      bool other_warp = cell.read.thread / kLanes != now.thread / kLanes;
      bool known = cell.other_read.epoch == now.epoch && cell.other_read.thread / kLanes != now.thread / kLanes;
      if (other_warp || (!known && cell.read.thread != now.thread)) {
        cell.other_read = cell.read;
      }
      cell.read = now;
      continue;
    }
    for (const Touch* read : {&cell.read, &cell.other_read}) {
      if (unordered(l, *read)) {
        report_race(*read, byte);
      }
    }
    cell.write = now;
  }
}

void warp_ordered() noexcept { launch.running->warp_epoch++; }

void block_barrier(int where) {
  Launch& l = launch;
  l.running->where = where;
  if (l.arrived == 0) {
    l.barrier = where;
  } else if (l.barrier != where) {
    fail("barrier: threads are at different ones (expected: all at the same)", nullptr, 0);
  }
  if (++l.arrived < l.running->place.threads) {
    wait_as(State::BLOCK);
    return;
  }
  l.arrived = 0;
  l.epoch++;
  for (int t = 0; t < l.running->place.threads; t++) {
    l.fibers[t].state = State::RUNNABLE;
  }
}

void warp_exchange(int where, const void* own, size_t bytes, void* all) {
  Launch& l = launch;
  int number = l.running->place.thread;
  Warp& w = l.warps[number / kLanes];
  memcpy(w.inputs[number % kLanes], own, bytes);
  if (arrive(l, w, where)) {
    memcpy(w.results, w.inputs, sizeof(w.inputs));
    release_warp(l, w);
  } else {
    wait_as(State::WARP);
  }
  for (int i = 0; i < kLanes; i++) {
    memcpy(static_cast<unsigned char*>(all) + i * bytes, w.results[i], bytes);
  }
}

void warp_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
  Launch& l = launch;
  int number = l.running->place.thread;
  Warp& w = l.warps[number / kLanes];
  int lane = number % kLanes;
  memcpy(w.a[lane], a, sizeof(a));
  w.b[lane][0] = b0;
  w.b[lane][1] = b1;
  memcpy(w.c[lane], c, sizeof(c));
  if (arrive(l, w, -1)) {
    complete_mma(w);
    release_warp(l, w);
  } else {
    wait_as(State::WARP);
  }
  memcpy(c, w.c[lane], sizeof(c));
}

void copy_async(void* to, const void* from, bool valid) { launch.running->copies.push_back({to, from, valid}); }

void copies_committed() {
  Fiber& fiber = *launch.running;
  fiber.committed.push_back(std::move(fiber.copies));
  fiber.copies.clear();
}

void copies_waited(int left) {
  Fiber& fiber = *launch.running;
  int complete = static_cast<int>(fiber.committed.size()) - left;
  if (complete <= 0) {
    return;
  }
  for (int i = 0; i < complete; i++) {
    perform(fiber.committed[i]);
  }
  fiber.committed.erase(fiber.committed.begin(), fiber.committed.begin() + complete);
}

void give_way() { wait_as(State::POLLING); }

Bound::Bound(int threads) { next_bound = threads; }

Registration::Registration(const char* name, Invoke invoke, const uint32_t* sizes, int count) {
  kernels()[name] = {invoke, next_bound, std::vector<uint32_t>(sizes, sizes + count)};
  next_bound = 0;
}

void announce(void* address, size_t bytes, int device, bool live) {
  std::unique_lock<std::shared_mutex> guard(ranges_lock);
  auto from = reinterpret_cast<uintptr_t>(address);
  if (live) {
    ranges[from] = {from + bytes, device};
  } else {
    ranges.erase(from);
  }
  __atomic_add_fetch(&ranges_version, 1, __ATOMIC_RELAXED);
}

// Of this host thread's launches: a bit for each device whose memory they may touch.
void reach(unsigned devices) {
  launch.devices = devices;
  launch.version = 0;
}

int most_threads(const char* kernel) {
  auto found = kernels().find(kernel);
  return found == kernels().end() ? 0 : found->second.most_threads;
}

}  // namespace baton::emulation

#define EXPORT extern "C" __attribute__((visibility("default")))

// Announces host memory that plays device memory (live = 1), or takes it back (0), by its first byte.
EXPORT void baton_emulate_memory(void* address, size_t bytes, int live) {
  using namespace baton::emulation;
  announce(address, bytes, kEverywhere, live != 0);
}

// Whether later launches look for races in shared memory: they take about twice as long.
EXPORT void baton_emulate_races(int on) { baton::emulation::races = on != 0; }

// Why the last launch of this host thread failed.
EXPORT const char* baton_emulate_error() { return baton::emulation::launch.error.c_str(); }

// How many parameters a kernel has, and the bytes of the first `most`; -1 = there is no such kernel.
EXPORT int baton_emulate_parameters(const char* kernel, uint32_t* sizes, int most) {
  auto found = baton::emulation::kernels().find(kernel);
  if (found == baton::emulation::kernels().end()) {
    return -1;
  }
  const auto& all = found->second.sizes;
  std::copy_n(all.begin(), std::min(static_cast<size_t>(most), all.size()), sizes);
  return static_cast<int>(all.size());
}

// Runs a kernel to its end; parameters as cuLaunchKernel takes them. 0, or 1 and baton_emulate_error.
EXPORT int baton_emulate(const char* kernel, const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes,
                         void* const* params) {
  using namespace baton::emulation;
  Launch& l = launch;
  l.failed = false;
  l.error.clear();
  auto found = kernels().find(kernel);
  if (found == kernels().end()) {
    l.error = std::string("kernel: ") + kernel + " (expected: one of this library)";
    return 1;
  }
  int threads = static_cast<int>(block[0]);
  if (block[0] < 1 || block[0] > static_cast<uint32_t>(found->second.most_threads) || block[1] != 1 || block[2] != 1 || shared_bytes > kMostShared ||
      grid[0] < 1 || grid[1] < 1 || grid[2] < 1 || grid[1] > 65535 || grid[2] > 65535 || grid[0] > 0x7fffffff) {
    char text[256];
    snprintf(text, sizeof(text),
             "kernel %s: grid (%u, %u, %u), block (%u, %u, %u), %u bytes of shared memory (expected: what a GPU can "
             "launch, blocks of one dimension)",
             kernel, grid[0], grid[1], grid[2], block[0], block[1], block[2], shared_bytes);
    l.error = text;
    return 1;
  }
  l.name = found->first.c_str();
  l.invoke = found->second.invoke;
  l.params = params;
  if (l.shared == nullptr) {
    l.shared = static_cast<unsigned char*>(
        mmap(nullptr, kMostShared, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  l.shared_bytes = shared_bytes;
  while (static_cast<int>(l.fibers.size()) < threads) {
    l.fibers.emplace_back();
    l.fibers.back().stack = reserve_stack();
  }
  l.warps.resize(std::max(l.warps.size(), static_cast<size_t>((threads + kLanes - 1) / kLanes)));
  for (Fiber& fiber : l.fibers) {
    fiber.place.threads = threads;
    for (int i = 0; i < 3; i++) {
      fiber.place.grid[i] = static_cast<int>(grid[i]);
    }
  }
  l.reversed = std::hash<std::string>()(found->first + std::to_string(grid[0] + grid[1] + grid[2])) % 2 == 1;
  uint64_t blocks = static_cast<uint64_t>(grid[0]) * grid[1] * grid[2];
  for (uint64_t i = 0; i < blocks && !l.failed; i++) {
    uint64_t number = l.reversed ? blocks - 1 - i : i;
    const int block[3] = {static_cast<int>(number % grid[0]), static_cast<int>(number / grid[0] % grid[1]),
                          static_cast<int>(number / grid[0] / grid[1])};
    for (int t = 0; t < threads; t++) {
      std::copy_n(block, 3, l.fibers[t].place.block);
    }
    run_block(l, threads);
  }
  return l.failed ? 1 : 0;
}

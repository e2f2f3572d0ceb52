// Device memory, shared memory, threads and warps on a host, for the tests of kernels on machines without a GPU.
//
// A launch runs block after block; a block's threads are fibers that give way only where a GPU's threads may wait for
// one another: barriers, operations of a whole warp, and polls of other ranks. Reported as errors of the launch, with
// the kernel, block and thread: an access outside of the memory that was announced (baton_emulate_memory) or of the
// block's shared memory; a misaligned one; a barrier or warp operation that some thread never reaches, or that threads
// reach at different places; a parameter list that does not fit. Shared memory is full of NaNs when a block begins, and
// asynchronous copies land only when they are waited for; on demand (baton_emulate_races), accesses of two threads to
// the same shared memory that no barrier orders are errors too. The lanes of a matrix product add in order of their
// terms, which a GPU does not promise: bits are comparable between emulated kernels, not with a GPU.
//
// Blocks, a block's warps and their lanes run in order or, as name and grid of a launch decide, in the reverse order. One
// thread emulates one launch; several may do so at once (ranks), and meet in memory through signal_system.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#define DEVICE inline
#define BATON_JOINED(a, b) a##b
#define BATON_JOIN(a, b) BATON_JOINED(a, b)
// Tells the most threads of a block to the BATON_KERNEL that follows.
#define KERNEL(threads)                                                                       \
  static const baton::emulation::Bound BATON_JOIN(kernel_bound_, __COUNTER__)(threads);       \
  extern "C" void
#define UNROLL

namespace baton {

namespace emulation {

// What a fiber knows of where it is; one per thread of the block that runs.
struct Place {
  int thread;
  int threads;
  int block[3];
  int grid[3];
};

const Place& place() noexcept;

// Ends the launch with an error; never returns to the kernel.
[[noreturn]] void fail(const char* what, const void* address, size_t bytes);

void check_global(const void* address, size_t bytes, size_t alignment);
void* shared_memory(size_t* bytes);

enum class Access { READ, WRITE, ATOMIC };

// Where races are looked for (baton_emulate_races): fails when another thread of the block has touched these bytes of
// shared memory, one of both has written them, and no barrier lies between.
void touch_shared(const void* address, size_t bytes, Access access);
// All lanes of the warp have met, which orders their accesses.
void warp_ordered() noexcept;

// Waits until all threads of the block, or all lanes of the warp, are here; `where` tells operations apart.
void block_barrier(int where);

// Lane i's `bytes` of input at all[i], once all lanes are here; the caller's own copy is taken.
void warp_exchange(int where, const void* own, size_t bytes, void* all);
// As warp_exchange for a matrix product: computed once for all lanes.
void warp_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

void copy_async(void* to, const void* from, bool valid);
void copies_committed();
void copies_waited(int left);

// Lets other threads, and launches of other ranks, go on.
void give_way();

using Invoke = void (*)(void* const* params);

struct Bound {
  explicit Bound(int threads);
};

struct Registration {
  Registration(const char* name, Invoke invoke, const uint32_t* sizes, int count);
};

template <typename Function>
struct Caller;

template <typename... Parameters>
struct Caller<void (*)(Parameters...)> {
  static constexpr int count = sizeof...(Parameters);
  static constexpr uint32_t sizes[] = {sizeof(Parameters)...};

  template <void (*kernel)(Parameters...)>
  static void invoke(void* const* params) {
    call<kernel>(params, std::index_sequence_for<Parameters...>{});
  }

  template <void (*kernel)(Parameters...), size_t... index>
  static void call(void* const* params, std::index_sequence<index...>) {
    kernel(read<Parameters>(params[index])...);
  }

  template <typename T>
  static T read(const void* from) {
    T value;
    std::memcpy(static_cast<void*>(&value), from, sizeof(T));
    return value;
  }
};

}  // namespace emulation

#define BATON_KERNEL(name)                                         \
  static const baton::emulation::Registration registered_##name(   \
      #name, &baton::emulation::Caller<decltype(&name)>::invoke<&name>, \
      baton::emulation::Caller<decltype(&name)>::sizes, baton::emulation::Caller<decltype(&name)>::count);

// A pointer to device memory; every access through it is checked.
template <typename T>
class Global {
 public:
  Global() = default;
  Global(std::nullptr_t) : to_(nullptr) {}
  explicit Global(T* to) : to_(to) {}
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  Global(const Global<U>& other) : to_(other.raw()) {}

  T& operator[](long long index) const {
    emulation::check_global(to_ + index, sizeof(T), alignof(T));
    return to_[index];
  }
  T& operator*() const { return (*this)[0]; }
  Global operator+(long long by) const { return Global(to_ + by); }
  Global& operator+=(long long by) {
    to_ += by;
    return *this;
  }
  bool operator==(std::nullptr_t) const { return to_ == nullptr; }
  bool operator!=(std::nullptr_t) const { return to_ != nullptr; }
  T* raw() const { return to_; }

 private:
  T* to_;
};

// An element of shared memory: knows reading from writing.
template <typename T>
class Element {
 public:
  using Value = std::remove_const_t<T>;

  explicit Element(T* at) : at_(at) {}
  operator Value() const {
    emulation::touch_shared(at_, sizeof(T), emulation::Access::READ);
    return *at_;
  }
  const Element& operator=(const Value& value) const {
    emulation::touch_shared(at_, sizeof(T), emulation::Access::WRITE);
    *at_ = value;
    return *this;
  }
  Element(const Element&) = default;
  const Element& operator=(const Element& other) const { return *this = static_cast<Value>(other); }

 private:
  T* at_;
};

// A pointer to the block's shared memory.
template <typename T>
class Shared {
 public:
  Shared() = default;
  explicit Shared(T* to) : to_(to) {}
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  Shared(const Shared<U>& other) : to_(other.raw()) {}

  Element<T> operator[](long long index) const { return Element<T>(checked(to_ + index, sizeof(T))); }
  Shared operator+(long long by) const { return Shared(to_ + by); }
  T* raw() const { return to_; }

  static T* checked(T* at, size_t bytes) {
    size_t size = 0;
    auto* memory = static_cast<unsigned char*>(emulation::shared_memory(&size));
    const auto* from = reinterpret_cast<const unsigned char*>(at);
    if (from < memory || from + bytes > memory + size) {
      emulation::fail("shared memory: outside", reinterpret_cast<const void*>(from - memory), bytes);
    }
    if (reinterpret_cast<uintptr_t>(at) % (bytes > alignof(T) ? bytes : alignof(T)) != 0) {
      emulation::fail("shared memory: misaligned", reinterpret_cast<const void*>(from - memory), bytes);
    }
    return at;
  }

 private:
  T* to_;
};

template <typename T>
Shared<T> shared_at(int byte) {
  size_t size = 0;
  return Shared<T>(reinterpret_cast<T*>(static_cast<unsigned char*>(emulation::shared_memory(&size)) + byte));
}

template <typename T>
Global<T> global_at(unsigned long long address) {
  return Global<T>(reinterpret_cast<T*>(address));
}

template <typename U, typename T>
Global<U> cast(Global<T> pointer) {
  return Global<U>(reinterpret_cast<U*>(pointer.raw()));
}

template <typename U, typename T>
Shared<U> cast(Shared<T> pointer) {
  return Shared<U>(reinterpret_cast<U*>(pointer.raw()));
}

inline Words4 load_cached(Global<const bf16> from) {
  emulation::check_global(from.raw(), 16, 16);
  Words4 v;
  std::memcpy(&v, from.raw(), 16);
  return v;
}

inline Words4 load_stream(Global<const bf16> from) { return load_cached(from); }

inline Words4 load_shared(Shared<const bf16> from) {
  Words4 v;
  std::memcpy(&v, Shared<const bf16>::checked(from.raw(), 16), 16);
  emulation::touch_shared(from.raw(), 16, emulation::Access::READ);
  return v;
}

inline Words4 load_shared(Shared<bf16> from) { return load_shared(Shared<const bf16>(from)); }

inline void copy_async(Shared<bf16> to, Global<const bf16> from, bool valid) {
  Shared<bf16>::checked(to.raw(), 16);
  emulation::touch_shared(to.raw(), 16, emulation::Access::WRITE);
  if (valid) {
    emulation::check_global(from.raw(), 16, 16);
  }
  emulation::copy_async(to.raw(), from.raw(), valid);
}

inline void copies_committed() { emulation::copies_committed(); }

template <int left>
void copies_waited() {
  emulation::copies_waited(left);
}

inline void mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) { emulation::warp_mma(c, a, b0, b1); }

inline int lane_number() { return emulation::place().thread & 31; }

inline void load_transposed(unsigned (&b)[4], Shared<bf16> row, int where = __builtin_LINE()) {
  const bf16* rows[32];
  const bf16* own = row.raw();
  Shared<const bf16>::checked(own, 16);
  emulation::touch_shared(own, 16, emulation::Access::READ);
  emulation::warp_exchange(where, &own, sizeof(own), rows);
  int column = lane_number() / 4;
  int pair = lane_number() % 4 * 2;
  for (int i = 0; i < 4; i++) {
    unsigned low = rows[i * 8 + pair][column].bits;
    b[i] = low | static_cast<unsigned>(rows[i * 8 + pair + 1][column].bits) << 16;
  }
}

inline float fma_float(float a, float b, float c) { return std::fma(a, b, c); }
inline float inverse_root(float x) { return 1.0f / std::sqrt(x); }
inline float power_of_two(float x) { return x < -126.0f ? 0.0f : std::exp2(x); }
inline float larger(float a, float b) { return std::fmax(a, b); }

inline float as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline unsigned as_bits(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline bf16 round_float(float x) {
  unsigned bits = as_bits(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return {0x7fff};
  }
  return {static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1)) >> 16)};
}

inline unsigned round_pair(float low, float high) {
  return round_float(low).bits | static_cast<unsigned>(round_float(high).bits) << 16;
}

template <typename T>
T lane_of(T x, int lane, int where = __builtin_LINE()) {
  T all[32];
  emulation::warp_exchange(where, &x, sizeof(T), all);
  return all[lane & 31];
}

template <typename T>
T lane_xor(T x, int mask, int where = __builtin_LINE()) {
  T all[32];
  emulation::warp_exchange(where, &x, sizeof(T), all);
  return all[lane_number() ^ mask];
}

inline unsigned vote(bool x, int where = __builtin_LINE()) {
  bool all[32];
  emulation::warp_exchange(where, &x, sizeof(bool), all);
  unsigned bits = 0;
  for (int i = 0; i < 32; i++) {
    bits |= static_cast<unsigned>(all[i]) << i;
  }
  return bits;
}

inline void warp_barrier(int where = __builtin_LINE()) {
  char none = 0;
  char all[32];
  emulation::warp_exchange(where, &none, 1, all);
  emulation::warp_ordered();
}

inline void block_barrier(int where = __builtin_LINE()) { emulation::block_barrier(where); }
inline int count_bits(unsigned x) { return __builtin_popcount(x); }
inline int leading_zeros(unsigned x) { return x == 0 ? 32 : __builtin_clz(x); }

inline void add_shared(Shared<unsigned long long> at, unsigned long long value) {
  unsigned long long* to = Shared<unsigned long long>::checked(at.raw(), sizeof(value));
  emulation::touch_shared(to, sizeof(value), emulation::Access::ATOMIC);
  *to += value;
}

inline void atomic_least(Global<unsigned long long> at, unsigned long long value) {
  unsigned long long& to = *at;
  unsigned long long seen = __atomic_load_n(&to, __ATOMIC_RELAXED);
  while (value < seen && !__atomic_compare_exchange_n(&to, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

inline void xor_global(Global<unsigned> at, unsigned value) { __atomic_fetch_xor(&*at, value, __ATOMIC_RELAXED); }

inline void signal_system(Global<unsigned> at, unsigned value) { __atomic_fetch_add(&*at, value, __ATOMIC_RELEASE); }
inline unsigned read_system(Global<const unsigned> at) { return __atomic_load_n(&*at, __ATOMIC_ACQUIRE); }
inline void pause_thread() { emulation::give_way(); }

inline int thread() { return emulation::place().thread; }
inline int threads() { return emulation::place().threads; }
inline int block_x() { return emulation::place().block[0]; }
inline int block_y() { return emulation::place().block[1]; }
inline int block_z() { return emulation::place().block[2]; }
inline int blocks_x() { return emulation::place().grid[0]; }
inline int blocks_y() { return emulation::place().grid[1]; }
inline int blocks_z() { return emulation::place().grid[2]; }

}  // namespace baton

// The C ABI: which tiers there are, which of them this machine can run, and the kernels of each.
#if defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstring>
#include <type_traits>
#include <utility>

#include "kernels.h"
#include "team.h"

#define BATON_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

using Function = void (*)();

struct Kernel {
  const char* name;
  const char* parameters;
};

constexpr Kernel KERNELS[] = {
#define BATON_ENTRY(name, parameters) {#name, #parameters},
    BATON_KERNELS(BATON_ENTRY)
#undef BATON_ENTRY
};
constexpr int32_t KERNEL_COUNT = sizeof(KERNELS) / sizeof(KERNELS[0]);

constexpr const char* TIER_NAMES[] = {
#define BATON_ENTRY(tier) #tier,
    BATON_TIERS(BATON_ENTRY)
#undef BATON_ENTRY
};
constexpr int32_t TIER_COUNT = sizeof(TIER_NAMES) / sizeof(TIER_NAMES[0]);

#if defined(__x86_64__)
// Linux saves the tiles only of processes that have asked; the permission is the whole process's, once and for all.
bool tiles_permitted() noexcept {
  constexpr long REQUEST_PERMISSION = 0x1023;
  constexpr long TILE_DATA = 18;
  return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

enum Number : int32_t {
#define BATON_ENTRY(name, parameters) NUMBER_##name,
  BATON_KERNELS(BATON_ENTRY)
#undef BATON_ENTRY
};

// An argument from a table of calls: a pointer or an integer by its value, a float by its bits.
template <class T>
T argument(int64_t word) noexcept {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(word);
  } else if constexpr (std::is_same_v<T, float>) {
    const int32_t bits = static_cast<int32_t>(word);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  } else {
    return static_cast<T>(word);
  }
}

// What Java calls, after a team and a number of parts: the kernel's parameters, or a table of many calls of the kernel,
// which then are one job of the team.
template <int32_t NUMBER, auto KERNEL>
struct Entry;
template <int32_t NUMBER, class... A, void (*KERNEL)(baton::Share, A...) noexcept>
struct Entry<NUMBER, KERNEL> {
  static void call(baton::Team* team, int32_t parts, A... arguments) noexcept {
    auto part = [&](baton::Share share) { KERNEL(share, arguments...); };
    using Part = decltype(part);
    baton::run_parts(
        team, NUMBER, parts, [](void* context, baton::Share share) { (*static_cast<Part*>(context))(share); }, &part);
  }

  // `calls` is [count][parameters]; each call is done in so many pieces, and a part is some pieces in a row: those of one
  // call in one go, so that a kernel reads on as far as it may.
  static void call_each(baton::Team* team, int32_t parts, const int64_t* calls, int32_t count, int32_t pieces) noexcept {
    auto part = [&](baton::Share share) {
      const int64_t all = static_cast<int64_t>(count) * pieces;
      const int64_t end = all * share.end / share.parts;
      for (int64_t i = all * share.part / share.parts; i < end;) {
        const int32_t from = static_cast<int32_t>(i % pieces);
        const int32_t to = end - i < pieces - from ? from + static_cast<int32_t>(end - i) : pieces;
        run(calls + i / pieces * sizeof...(A), {from, to, pieces}, std::index_sequence_for<A...>());
        i += to - from;
      }
    };
    using Part = decltype(part);
    baton::run_parts(
        team, NUMBER, parts, [](void* context, baton::Share share) { (*static_cast<Part*>(context))(share); }, &part);
  }

 private:
  template <size_t... I>
  static void run(const int64_t* words, baton::Share share, std::index_sequence<I...>) noexcept {
    KERNEL(share, argument<A>(words[I])...);
  }
};

struct Functions {
  Function call;
  Function call_each;
};

// A tier with only some kernels of its own (matrix units) takes the others from the tier below by a using-directive.
Functions functions_of(int32_t wanted, int32_t kernel) noexcept {
  int32_t t = 0;
#define BATON_ADDRESS(name, parameters)                                    \
  {reinterpret_cast<Function>(&Entry<NUMBER_##name, &tier::name>::call), \
   reinterpret_cast<Function>(&Entry<NUMBER_##name, &tier::name>::call_each)},
#define BATON_TABLE(tier_name)                                \
  {                                                           \
    namespace tier = baton::tier_name;                        \
    const Functions table[] = {BATON_KERNELS(BATON_ADDRESS)}; \
    if (t++ == wanted) return table[kernel];                  \
  }
  BATON_TIERS(BATON_TABLE)
#undef BATON_TABLE
#undef BATON_ADDRESS
  return {};
}

}  // namespace

BATON_EXPORT int32_t baton_tier_count() noexcept { return TIER_COUNT; }

BATON_EXPORT const char* baton_tier_name(int32_t tier) noexcept { return TIER_NAMES[tier]; }

// Asks the processor and the system (which must save the registers), not the build machine.
BATON_EXPORT int32_t baton_tier_runs(int32_t tier) noexcept {
  const char* name = TIER_NAMES[tier];
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (std::strcmp(name, "avx2") == 0) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
  if (std::strcmp(name, "avx_vnni") == 0) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("avxvnni");
  }
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni") &&
                      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (std::strcmp(name, "avx512") == 0) {
    return avx512;
  }
  const bool pairs = avx512 && __builtin_cpu_supports("avx512bf16");
  if (std::strcmp(name, "amx_emulated") == 0) {
    return pairs;
  }
  if (std::strcmp(name, "amx") == 0) {
    return pairs && __builtin_cpu_supports("amx-tile") &&
           __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("amx-int8") && tiles_permitted();
  }
#endif
  return std::strcmp(name, "scalar") == 0;
}

BATON_EXPORT int32_t baton_kernel_count() noexcept { return KERNEL_COUNT; }

BATON_EXPORT const char* baton_kernel_name(int32_t kernel) noexcept { return KERNELS[kernel].name; }

BATON_EXPORT const char* baton_kernel_parameters(int32_t kernel) noexcept { return KERNELS[kernel].parameters; }

BATON_EXPORT Function baton_kernel(int32_t tier, int32_t kernel) noexcept { return functions_of(tier, kernel).call; }

BATON_EXPORT Function baton_kernel_each(int32_t tier, int32_t kernel) noexcept {
  return functions_of(tier, kernel).call_each;
}

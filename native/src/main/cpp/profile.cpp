#include "profile.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels.h"

namespace baton {

namespace {

// A pause that is longer separates steps; a shorter one is what happens between two kernels of a step.
constexpr int64_t PAUSE_NANOS = 200'000;

constexpr const char* NAMES[] = {
#define BATON_ENTRY(name, parameters) #name,
    BATON_KERNELS(BATON_ENTRY)
#undef BATON_ENTRY
};
constexpr int KERNELS = sizeof(NAMES) / sizeof(NAMES[0]);

struct Line {
  int64_t calls = 0;
  int64_t nanos = 0;
  int64_t waited = 0;
  int64_t before = 0;
};

}  // namespace

struct Profile {
  Line lines[KERNELS];
  Line between;
  int64_t last = 0;
};

Profile* profile_open() noexcept {
  const char* asked = std::getenv("BATON_PROFILE");
  return asked != nullptr && std::strcmp(asked, "1") == 0 ? new (std::nothrow) Profile() : nullptr;
}

void profile_add(Profile& profile, int32_t kernel, int64_t begun, int64_t ended, int64_t waited) noexcept {
  Line& line = profile.lines[kernel];
  line.calls++;
  line.nanos += ended - begun;
  line.waited += waited;
  if (begun - profile.last < PAUSE_NANOS) {
    profile.between.calls++;
    profile.between.nanos += begun - profile.last;
    line.before += begun - profile.last;
  }
  profile.last = ended;
}

void profile_close(Profile* profile, int32_t rank) noexcept {
  if (profile == nullptr) {
    return;
  }
  int64_t all = profile->between.nanos;
  for (const Line& line : profile->lines) {
    all += line.nanos;
  }
  const auto print = [&](const char* name, const Line& line) {
    if (line.calls > 0) {
      std::fprintf(stderr, "%-20s %10lld %12.3f %6.1f %10.2f %12.3f %12.3f\n", name, static_cast<long long>(line.calls),
                   line.nanos / 1e6, 100.0 * line.nanos / all, line.nanos / 1e3 / line.calls, line.waited / 1e6,
                   line.before / 1e6);
    }
  };
  if (all > 0) {
    std::fprintf(stderr, "profile of rank %d\n%-20s %10s %12s %6s %10s %12s %12s\n", rank, "kernel", "calls", "ms", "%",
                 "us each", "ms waiting", "ms before");
    for (int i = 0; i < KERNELS; i++) {
      print(NAMES[i], profile->lines[i]);
    }
    print("(between kernels)", profile->between);
  }
  profile->~Profile();
  operator delete(profile);
}

}  // namespace baton

// Where a rank's time goes, kernel by kernel: kept and printed only when the environment has BATON_PROFILE=1.
#pragma once

#include <time.h>

#include <cstdint>

namespace baton {

static inline int64_t now_nanos() noexcept {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1'000'000'000) + time.tv_nsec;
}

// Of one team; written by its calling thread alone.
struct Profile;

// Null unless asked for.
Profile* profile_open() noexcept;

// One call of a kernel: from when to when, how long of it the caller found no part left to do and waited for the helpers.
void profile_add(Profile& profile, int32_t kernel, int64_t begun, int64_t ended, int64_t waited) noexcept;

// Prints to standard error and frees it; null has no effect.
void profile_close(Profile* profile, int32_t rank) noexcept;

}  // namespace baton

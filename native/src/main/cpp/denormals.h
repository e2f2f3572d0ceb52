// Denormal numbers as zero, as the matrix units have them.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>

#include "lanes.h"

namespace baton {
namespace BATON_TIER {

// While one of these lives, denormal operands and results of this thread's float arithmetic are zeros of their sign.
class DenormalsAsZero {
 public:
#if defined(__x86_64__)
  DenormalsAsZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | FLUSH | OPERANDS); }
  ~DenormalsAsZero() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  DenormalsAsZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | FLUSH_BOTH));
  }
  ~DenormalsAsZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }
#else
#error "no way is known to set denormals to zero on this processor"
#endif
  DenormalsAsZero(const DenormalsAsZero&) = delete;
  DenormalsAsZero& operator=(const DenormalsAsZero&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr uint32_t FLUSH = 1u << 15;
  static constexpr uint32_t OPERANDS = 1u << 6;
  uint32_t before_;
#else
  static constexpr uint64_t FLUSH_BOTH = 1u << 24;
  uint64_t before_;
#endif
};

}  // namespace BATON_TIER
}  // namespace baton

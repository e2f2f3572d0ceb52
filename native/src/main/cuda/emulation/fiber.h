// Stacks and the switch between them: only what a call must keep is kept, some ten instructions on x86-64.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace baton::emulation {

constexpr size_t kStackBytes = 64 << 10;

// A stack with a page below it that may not be touched.
inline unsigned char* reserve_stack() {
  auto* all = static_cast<unsigned char*>(
      mmap(nullptr, kStackBytes + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (all == MAP_FAILED) {
    abort();
  }
  mprotect(all, 4096, PROT_NONE);
  return all + 4096;
}

inline void release_stack(unsigned char* stack) {
  if (stack != nullptr) {
    munmap(stack - 4096, kStackBytes + 4096);
  }
}

#if defined(__x86_64__)

// Keeps the caller's registers on its stack, its stack pointer in `from`, and goes on where `to` was left.
extern "C" void baton_switch_fiber(void** from, void* to);

asm(R"(
.text
.p2align 4
.local baton_switch_fiber
.type baton_switch_fiber, @function
baton_switch_fiber:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size baton_switch_fiber, .-baton_switch_fiber
)");

inline void switch_fiber(void** from, void* to) { baton_switch_fiber(from, to); }

inline void* prepare_stack(unsigned char* stack, void (*entry)()) {
  auto* top = reinterpret_cast<void**>(stack + kStackBytes);
  *--top = nullptr;  // a return address that is never used; keeps the alignment that a call has
  *--top = reinterpret_cast<void*>(entry);
  return top - 6;
}

#else

inline void switch_fiber(void** from, void* to) {
  ucontext_t own;
  *from = &own;
  swapcontext(&own, static_cast<ucontext_t*>(to));
}

inline void* prepare_stack(unsigned char* stack, void (*entry)()) {
  auto* context = reinterpret_cast<ucontext_t*>(stack + kStackBytes - (sizeof(ucontext_t) + 63) / 64 * 64);
  getcontext(context);
  context->uc_stack.ss_sp = stack;
  context->uc_stack.ss_size = kStackBytes - 2 * ((sizeof(ucontext_t) + 63) / 64 * 64);
  context->uc_link = nullptr;
  makecontext(context, entry, 0);
  return context;
}

#endif

}  // namespace baton::emulation

// Pages for weights, KV and activations.
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>

#include <cstdint>

#define BATON_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint64_t HUGE_PAGE = 2u << 20;
constexpr uint64_t PAGE = 4096;

struct Range {
  uint8_t* from;
  uint8_t* to;
};

// A write to each page that changes nothing, whoever else writes there: zero in place of zero. Where the system has no page
// yet it finds one; where there is other content, there is a page.
void* touch(void* argument) {
  sched_param none{};
  sched_setscheduler(0, SCHED_IDLE, &none);  // of this thread alone; who has work goes first
  const Range range = *static_cast<Range*>(argument);
  for (uint8_t* at = range.from; at < range.to;
       at = reinterpret_cast<uint8_t*>((reinterpret_cast<uint64_t>(at) + PAGE) & ~(PAGE - 1))) {
    uint8_t zero = 0;
    __atomic_compare_exchange_n(at, &zero, zero, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  }
  return nullptr;
}

}  // namespace

// Zeroed pages, on a border of huge pages and backed by them where the system has some when the request is at least one
// long. The pages come from the node of the thread that first touches them. Null when the system refuses.
BATON_EXPORT void* baton_map(uint64_t bytes) noexcept {
  const bool huge = bytes >= HUGE_PAGE;
  const uint64_t asked = huge ? bytes + HUGE_PAGE : bytes;
  void* mapped = mmap(nullptr, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return nullptr;
  }
  if (!huge) {
    return mapped;
  }
  const uint64_t start = reinterpret_cast<uint64_t>(mapped);
  const uint64_t aligned = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
  const uint64_t end = (aligned + bytes + PAGE - 1) & ~(PAGE - 1);
  const uint64_t mapped_end = (start + asked + PAGE - 1) & ~(PAGE - 1);
  if (aligned > start) {
    munmap(mapped, aligned - start);
  }
  if (mapped_end > end) {
    munmap(reinterpret_cast<void*>(end), mapped_end - end);
  }
  madvise(reinterpret_cast<void*>(aligned), bytes, MADV_HUGEPAGE);  // a wish; small pages do as well
  return reinterpret_cast<void*>(aligned);
}

BATON_EXPORT void baton_unmap(void* memory, uint64_t bytes) noexcept { munmap(memory, bytes); }

// Has the system find the pages of memory that others may read and write meanwhile, as long as processors have nothing else to
// do. Returns when that is done. On a thread of its own: one that waits for idle processors may hold up no collector of Java's.
BATON_EXPORT void baton_touch(void* memory, uint64_t bytes) noexcept {
  Range range{static_cast<uint8_t*>(memory), static_cast<uint8_t*>(memory) + bytes};
  pthread_t thread;
  if (pthread_create(&thread, nullptr, touch, &range) == 0) {
    pthread_join(thread, nullptr);
  }
}

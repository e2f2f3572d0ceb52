// Pages for weights, KV and activations.
#include <sys/mman.h>

#include <cstdint>

#define BATON_EXPORT extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint64_t HUGE_PAGE = 2u << 20;

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
  const uint64_t page = 4096;
  const uint64_t aligned = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
  const uint64_t end = (aligned + bytes + page - 1) & ~(page - 1);
  const uint64_t mapped_end = (start + asked + page - 1) & ~(page - 1);
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

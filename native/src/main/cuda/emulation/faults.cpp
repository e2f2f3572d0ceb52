// Kernels that are wrong on purpose, each in one way: what the emulation must report. For its tests alone.

#include "../device.h"

using namespace baton;

// Thread 40 reads one element behind the buffer of 40.
KERNEL(64) fault_outside(Global<const float> from, Global<float> to) {
  if (thread() <= 40) {
    to[thread()] = from[thread()];
  }
}
BATON_KERNEL(fault_outside)

KERNEL(64) fault_misaligned(Global<const bf16> from, Global<float> to) {
  to[0] = as_float(load_cached(from + 4).x);
}
BATON_KERNEL(fault_misaligned)

KERNEL(64) fault_shared(Global<float> to) {
  shared_at<float>(0)[thread()] = 0.0f;
  to[0] = 0.0f;
}
BATON_KERNEL(fault_shared)

KERNEL(64) fault_missed_barrier(Global<float> to) {
  if (thread() != 63) {
    block_barrier();
  }
  to[thread()] = 0.0f;
}
BATON_KERNEL(fault_missed_barrier)

KERNEL(64) fault_two_barriers(Global<float> to) {
  if (thread() < 32) {
    block_barrier();
  } else {
    block_barrier();
  }
  to[thread()] = 0.0f;
}
BATON_KERNEL(fault_two_barriers)

KERNEL(64) fault_missing_lane(Global<float> to) {
  if (thread() != 7) {
    to[thread()] = lane_xor(1.0f, 1);
  }
}
BATON_KERNEL(fault_missing_lane)

// Warp 1 reads what warp 0 has just written; with a barrier between (`fixed`) that is no race.
KERNEL(64) fault_race(Global<float> to, int fixed) {
  Shared<float> shared = shared_at<float>(0);
  if (thread() < 32) {
    shared[thread()] = 1.0f;
  }
  if (fixed != 0) {
    block_barrier();
  }
  to[thread()] = shared[thread() % 32];
}
BATON_KERNEL(fault_race)

// A stage is written again while the other warp may still read it.
KERNEL(64) fault_early_copy(Global<const bf16> from, Global<float> to, int fixed) {
  Shared<bf16> shared = shared_at<bf16>(0);
  if (thread() == 32) {
    copy_async(shared, from, true);
    copies_committed();
    copies_waited<0>();
  }
  block_barrier();
  to[thread()] = widen(shared[0]);
  if (fixed != 0) {
    block_barrier();
  }
  if (thread() == 32) {
    copy_async(shared, from, true);
    copies_committed();
    copies_waited<0>();
  }
}
BATON_KERNEL(fault_early_copy)

// Not wrong in its accesses: what it reads from shared memory was never written, or has not landed yet.
KERNEL(64) fault_unwritten(Global<const bf16> from, Global<float> to) {
  Shared<bf16> shared = shared_at<bf16>(0);
  if (thread() == 0) {
    copy_async(shared, from, true);
    copies_committed();
    to[0] = widen(shared[0]);
    to[1] = widen(shared[8]);
    copies_waited<0>();
    to[2] = widen(shared[0]);
  }
}
BATON_KERNEL(fault_unwritten)

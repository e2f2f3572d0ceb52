// How a rank's work is shared by its threads.
//
// A job is cut into more parts than there are threads. Each thread has a range of them, one behind the other, and takes
// them in order, so that it reads on where it is and what it has asked for ahead of its use is what it needs next (a weight
// from memory that is left for another place costs two microseconds). A thread that is done takes the second half of what
// another one has left (work stealing: Blumofe and Leiserson, 1999): a thread that has lost its core to another process
// holds up one part, not half of the job, and one that wakes up late finds nothing left and holds up nobody.
//
// A range is one word, the job's number (32 bits), the next part (16) and the end (16), so a part can only be taken from
// the job that is running. Whoever has taken a part may read `body` and `context`: the caller does not go on before `done`
// has counted all parts.
//
// Waiting, on either side: spin for tens of microseconds where every thread can have a core, then sleep on a futex. There is
// no yielding in between: on a core that is shared a yield gives away a whole time slice, while a sleeper that is woken
// comes back at once, and a core that sleeps invites the system to move the thread that it waits for.
#include "team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <new>

#include "profile.h"

#define BATON_EXPORT extern "C" __attribute__((visibility("default")))

namespace baton {

namespace {

// Bounds the processor time that a wait burns; longer than the pauses between the kernels of a step. To wake a sleeper costs
// the caller some 10 microseconds and reaches it after some 30 (measured on a virtual machine), so spinning about as long
// never costs more than twice what is best.
constexpr int64_t SPIN_NANOS = 50'000;

constexpr int32_t MAX_HELPERS = 255;

// How much of what it will read next a helper that waits asks memory for: about what the pauses between the products of a
// step last, and a quarter of a second-level cache.
constexpr int64_t FORESEEN_BYTES = 512 * 1024;

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

// Whether `over` became true within the time of spinning, which begins anew as long as there is something to do `meanwhile`,
// as that says itself.
template <class F, class G>
bool spin_until(bool allowed, const F& over, const G& meanwhile) noexcept {
  if (over()) {
    return true;
  }
  if (!allowed) {
    return false;
  }
  int64_t start = now_nanos();
  int64_t now = start;
  do {
    bool busy = false;
    for (int i = 0; i < 32; i++) {
      if (meanwhile()) {
        busy = true;
      } else {
        pause();
      }
      if (over()) {
        return true;
      }
    }
    now = now_nanos();
    start = busy ? now : start;
  } while (now - start < SPIN_NANOS);
  return false;
}

// The beginning of a thread's share of what the next product reads. It is asked for while the thread waits, a few lines at a
// time, and goes on in the next wait if work comes in between.
class Foresight {
 public:
  // `words`: how many weights, then address and bytes of each, or null. They are read one after the other, by each thread
  // from its share of the whole. The rank's thread may be writing them anew, for a later product: then what is asked for is
  // of no use, and does no harm. False: nothing is left to ask for.
  bool ask(const int64_t* words, int32_t thread, int32_t threads) noexcept {
    if (words != words_) {
      words_ = words;
      left_ = 0;
      if (words != nullptr) {
        find(thread, threads);
      }
    }
    if (left_ <= 0) {
      return false;
    }
    for (int line = 0; line < LINES; line++, at_ += 64) {
      __builtin_prefetch(at_, 0, 2);
    }
    left_ -= LINES * 64;
    return true;
  }

 private:
  static constexpr int LINES = 4;

  int64_t word(int64_t i) const noexcept { return __atomic_load_n(words_ + i, __ATOMIC_RELAXED); }

  void find(int32_t thread, int32_t threads) noexcept {
    const int64_t count = word(0);
    int64_t all = 0;
    for (int64_t i = 0; i < count; i++) {
      all += word(2 + 2 * i);
    }
    int64_t begin = all / threads * thread;
    for (int64_t i = 0; i < count; i++) {
      const int64_t bytes = word(2 + 2 * i);
      if (begin < bytes) {
        const int64_t share = all / threads < FORESEEN_BYTES ? all / threads : FORESEEN_BYTES;
        at_ = reinterpret_cast<const char*>(word(1 + 2 * i)) + begin;
        left_ = share < bytes - begin ? share : bytes - begin;
        return;
      }
      begin -= bytes;
    }
  }

  const int64_t* words_ = nullptr;
  const char* at_ = nullptr;
  int64_t left_ = 0;
};

}  // namespace

// A thread's parts of a job that nobody has taken yet.
struct alignas(64) Range {
  std::atomic<uint64_t> word{0};
};

struct Team;

struct Helper {
  Team* team;
  int32_t thread;  // from 1; the caller is 0
};

struct Team {
  Range ranges[1 + MAX_HELPERS];  // the caller's first
  alignas(64) std::atomic<uint32_t> done{0};
  std::atomic<uint32_t> caller_sleeps{0};
  std::atomic<const int64_t*> foreseen{nullptr};
  alignas(64) std::atomic<uint32_t> job{0};  // the running or the last job's number, to sleep on
  std::atomic<int32_t> sleepers{0};
  std::atomic<bool> closing{false};
  alignas(64) void (*body)(void*, Share) = nullptr;
  void* context = nullptr;
  uint32_t parts = 0;
  int32_t helpers = 0;
  int32_t started = -1;  // -1 before the first job that is shared
  bool spin = false;
  int32_t rank = 0;
  Profile* profile = nullptr;
  alignas(64) Foresight own;  // the caller's
  alignas(64) Helper each[MAX_HELPERS];
  pthread_t threads[MAX_HELPERS];
};

namespace {

uint64_t word_of(uint32_t number, uint32_t next, uint32_t end) noexcept {
  return static_cast<uint64_t>(number) << 32 | static_cast<uint64_t>(next) << 16 | end;
}

// Takes the first part of a thread's range of the job `number`; -1: there is none.
int32_t take(Range& own, uint32_t number) noexcept {
  uint64_t word = own.word.load(std::memory_order_acquire);
  while (word >> 32 == number) {
    const uint32_t next = word >> 16 & 0xffff;
    const uint32_t end = word & 0xffff;
    if (next >= end) {
      return -1;
    }
    if (own.word.compare_exchange_weak(word, word_of(number, next + 1, end), std::memory_order_acq_rel,
                                       std::memory_order_acquire)) {
      return static_cast<int32_t>(next);
    }
  }
  return -1;
}

// Gives a thread whose range is empty the second half of what another one has left. Nobody else writes to an empty range.
bool steal(Team& team, int32_t thread, uint32_t number) noexcept {
  const int32_t threads = 1 + team.started;
  for (int32_t i = 1; i < threads; i++) {
    Range& other = team.ranges[(thread + i) % threads];
    uint64_t word = other.word.load(std::memory_order_acquire);
    while (word >> 32 == number) {
      const uint32_t next = word >> 16 & 0xffff;
      const uint32_t end = word & 0xffff;
      if (next >= end) {
        break;
      }
      const uint32_t middle = next + (end - next) / 2;
      if (other.word.compare_exchange_weak(word, word_of(number, next, middle), std::memory_order_acq_rel,
                                           std::memory_order_acquire)) {
        team.ranges[thread].word.store(word_of(number, middle, end), std::memory_order_release);
        return true;
      }
    }
  }
  return false;
}

// Does parts of the job `number` until none is left to take.
void take_parts(Team& team, int32_t thread, uint32_t number) noexcept {
  uint32_t finished = 0;
  uint32_t parts = 0;
  do {
    for (int32_t part = take(team.ranges[thread], number); part >= 0; part = take(team.ranges[thread], number)) {
      parts = team.parts;  // of this job: it does not end before this part is counted
      team.body(team.context, {part, part + 1, static_cast<int32_t>(parts)});
      finished++;
    }
  } while (steal(team, thread, number));
  if (finished > 0 && team.done.fetch_add(finished) + finished == parts && team.caller_sleeps.load() != 0) {
    futex_wake(team.done, 1);
  }
}

void* help(void* argument) noexcept {
  const Helper& helper = *static_cast<Helper*>(argument);
  Team& team = *helper.team;
  Foresight foresight;
  uint32_t seen = 0;
  while (true) {
    const auto news = [&] { return team.job.load() != seen || team.closing.load(); };
    const auto ask = [&] { return foresight.ask(team.foreseen.load(), helper.thread, 1 + team.helpers); };
    if (!spin_until(team.spin, news, ask)) {
      team.sleepers.fetch_add(1);
      while (!news()) {
        futex_wait(team.job, seen);
      }
      team.sleepers.fetch_sub(1);
    }
    if (team.closing.load()) {
      return nullptr;
    }
    seen = team.job.load();
    take_parts(team, helper.thread, seen);
  }
}

// Fewer threads than wished for do as well.
void start(Team& team) noexcept {
  team.started = 0;
  // Signals are the virtual machine's business, faults excepted.
  sigset_t blocked;
  sigset_t before;
  sigfillset(&blocked);
  const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
  for (const int fault : faults) {
    sigdelset(&blocked, fault);
  }
  pthread_sigmask(SIG_SETMASK, &blocked, &before);
  for (int32_t i = 0; i < team.helpers; i++) {
    pthread_t& thread = team.threads[team.started];
    Helper& helper = team.each[team.started];
    helper = {&team, team.started + 1};
    if (pthread_create(&thread, nullptr, help, &helper) != 0) {
      break;
    }
    team.started++;
    char name[16];
    std::snprintf(name, sizeof name, "baton-r%u-%u", team.rank & 0xffu, (i + 1u) & 0xffu);
    pthread_setname_np(thread, name);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace

namespace {

void run_alone(int32_t parts, void (*body)(void*, Share), void* context) noexcept {
  for (int32_t part = 0; part < parts; part++) {
    body(context, {part, part + 1, parts});
  }
}

// Returns when the caller has found no part left to take.
void begin(Team& team, int32_t parts, void (*body)(void*, Share), void* context) noexcept {
  team.body = body;
  team.context = context;
  team.parts = static_cast<uint32_t>(parts);
  team.done.store(0);
  const uint32_t number = team.job.load() + 1;
  const int32_t threads = 1 + team.started;
  for (int32_t thread = 0; thread < threads; thread++) {
    const uint32_t from = static_cast<uint32_t>(parts * thread / threads);
    const uint32_t to = static_cast<uint32_t>(parts * (thread + 1) / threads);
    team.ranges[thread].word.store(word_of(number, from, to), std::memory_order_release);
  }
  team.job.store(number);
  if (team.sleepers.load() > 0) {
    futex_wake(team.job, parts - 1);
  }
  take_parts(team, 0, number);
}

void await(Team& team, uint32_t parts) noexcept {
  const auto ask = [&] { return team.own.ask(team.foreseen.load(), 0, 1 + team.helpers); };
  if (!spin_until(team.spin, [&] { return team.done.load() == parts; }, ask)) {
    team.caller_sleeps.store(1);
    for (uint32_t count = team.done.load(); count != parts; count = team.done.load()) {
      futex_wait(team.done, count);
    }
    team.caller_sleeps.store(0);
  }
}

}  // namespace

void run_parts(Team* team, int32_t kernel, int32_t parts, void (*body)(void*, Share), void* context) noexcept {
  if (team == nullptr) {
    run_alone(parts, body, context);
    return;
  }
  const int64_t begun = team->profile == nullptr ? 0 : now_nanos();
  int64_t waited = 0;
  if (parts > 1 && team->started < 0) {
    start(*team);
  }
  if (parts <= 1 || team->started == 0) {
    run_alone(parts, body, context);
  } else {
    begin(*team, parts, body, context);
    waited = team->profile == nullptr ? 0 : now_nanos();
    await(*team, parts);
  }
  if (team->profile != nullptr) {
    const int64_t ended = now_nanos();
    profile_add(*team->profile, kernel, begun, ended, waited == 0 ? 0 : ended - waited);
  }
}

}  // namespace baton

// A team of the calling thread and `helpers` more, which start with the first job that is shared. Null when there is no
// memory.
BATON_EXPORT baton::Team* baton_team_open(int32_t rank, int32_t helpers, int32_t spin) noexcept {
  void* memory = std::aligned_alloc(alignof(baton::Team), sizeof(baton::Team));
  baton::Team* team = memory == nullptr ? nullptr : new (memory) baton::Team();
  if (team != nullptr) {
    team->rank = rank;
    team->helpers = helpers < baton::MAX_HELPERS ? helpers : baton::MAX_HELPERS;
    team->spin = spin != 0;
    team->profile = baton::profile_open();
  }
  return team;
}

// What the product that comes next will read, or the one after it: int64, how many weights, then address and bytes of each;
// this memory and the weights stay where they are until the team is closed. Null: unknown.
BATON_EXPORT void baton_team_foresee(baton::Team* team, const int64_t* words) noexcept { team->foreseen.store(words); }

// Ends the threads; no kernel may be running.
BATON_EXPORT void baton_team_close(baton::Team* team) noexcept {
  team->closing.store(true);
  team->job.fetch_add(1);
  baton::futex_wake(team->job, INT_MAX);
  for (int32_t i = 0; i < team->started; i++) {
    pthread_join(team->threads[i], nullptr);
  }
  baton::profile_close(team->profile, team->rank);
  team->~Team();
  std::free(team);
}

// What the emulated driver (driver.cpp) keeps: contexts, streams, events, graphs and memory, as strict as the CUDA driver
// API's documentation lets a driver be.
//
// Work that is put into a stream runs as late as it may: when somebody waits for it, or when a kernel that runs waits for
// another rank's. So who reads a result, or writes pinned memory again, before having waited gets what a GPU would give on
// a bad day. Handles that are not alive, or are of another context than the current one, are refused; so is what ends a
// capture on a GPU.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace baton::driver {

using Status = int;
constexpr Status kSuccess = 0;
constexpr Status kInvalidValue = 1;
constexpr Status kOutOfMemory = 2;
constexpr Status kInvalidDevice = 101;
constexpr Status kInvalidImage = 200;
constexpr Status kInvalidContext = 201;
constexpr Status kInvalidHandle = 400;
constexpr Status kIllegalState = 401;
constexpr Status kNotFound = 500;
constexpr Status kNotReady = 600;
constexpr Status kIllegalAddress = 700;
constexpr Status kOutOfResources = 701;
constexpr Status kPeerAlready = 704;
constexpr Status kDestroyed = 709;
constexpr Status kLaunchFailed = 719;
constexpr Status kCaptureUnsupported = 900;
constexpr Status kCaptureInvalid = 901;
constexpr Status kCapturedEvent = 907;
constexpr Status kCaptureThread = 908;

constexpr int kMostDevices = 16;
constexpr int kGlobal = 0;  // modes of a capture
constexpr int kRelaxed = 2;

using Work = std::function<Status()>;

int device_count();
// Of each, in bytes.
size_t device_memory();
// Notes a call, where they are traced.
void called(const char* what);

// A GPU's primary context.
struct Context {
  int device = 0;
  std::atomic<int> retained{0};
  std::atomic<Status> broken{kSuccess};   // a failed kernel is the end of its context
  std::atomic<unsigned> reaches{0};       // devices whose memory kernels may touch, a bit for each
};

struct Graph {
  Context* context;
  std::vector<Work> work;
};

struct Capture {
  Graph graph;
  int mode;
  std::thread::id by;
  bool invalid;
};

struct Stream {
  explicit Stream(Context* of) : context(of) {}

  Context* const context;
  std::mutex running;                // held by who runs the work
  std::mutex guard;                  // of what follows
  std::deque<Work> queue;
  uint64_t put = 0;
  uint64_t done = 0;
  std::unique_ptr<Capture> capture;
  std::atomic<bool> helped{false};
};

struct Event {
  Context* context;
  bool timed;
  std::mutex guard;                  // of what follows
  std::shared_ptr<Stream> stream;    // null = never recorded
  uint64_t at = 0;                   // done when the stream has done so much
  bool captured = false;
  std::atomic<uint64_t> nanos{0};
};

Context& context_of(int device);
void release(Context& context);

// The thread's own; `usable`: kSuccess, or why it may not be used.
Context* current();
Status usable();
Status make_current(Context* context);

// Handles; null where none is alive there. The null stream is that of the current context.
std::shared_ptr<Stream> stream_of(Stream* handle);
std::shared_ptr<Event> event_of(Event* handle);
Stream* add_stream();
Status drop_stream(Stream* handle);
Event* add_event(bool timed);
Status drop_event(Event* handle);

// Into a stream of the current context, or into the graph that it is captured to.
Status enqueue(Stream* handle, Work work);

// Runs what was put into it so far, or up to a place.
Status finish(Stream& stream, uint64_t upTo = UINT64_MAX);
// That of all streams of a context.
Status finish(Context& context);
Status synchronize(Stream* handle);

Status record(Event* event, Stream* stream);
Status wait_for(Stream* stream, Event* event);
Status synchronize(Event* event);

Status begin_capture(Stream* stream, int mode);
Status end_capture(Stream* stream, Graph** graph);
bool captures(Stream* stream);
// Spoils the stream's capture.
Status refuse_capture(Stream& stream);
// What allocates, frees or waits for a context: not while a capture forbids it to the thread.
Status safe_call();
// Waiting for a context: not while one of its streams is captured.
Status context_wait();

}  // namespace baton::driver

#include "streams.h"

#include <ctime>
#include <map>
#include <utility>

namespace baton::emulation {
extern void (*while_polling)();
}

namespace baton::driver {

namespace {

Context contexts[kMostDevices];
thread_local Context* bound = nullptr;

// Never destroyed: a thread that helps may outlive the process's end.
std::mutex& guard = *new std::mutex();  // of the handles
auto& streams = *new std::map<Stream*, std::shared_ptr<Stream>>();
auto& events = *new std::map<Event*, std::shared_ptr<Event>>();
auto* const plain = new std::shared_ptr<Stream>[kMostDevices];  // null streams

std::vector<std::shared_ptr<Stream>> all_streams() {
  std::lock_guard<std::mutex> lock(guard);
  std::vector<std::shared_ptr<Stream>> all;
  for (auto& each : streams) {
    all.push_back(each.second);
  }
  for (int i = 0; i < kMostDevices; i++) {
    if (plain[i] != nullptr) {
      all.push_back(plain[i]);
    }
  }
  return all;
}

// A kernel waits for another one: what other streams have to do may be what it waits for.
void help_others() {
  for (auto& each : all_streams()) {
    {
      std::lock_guard<std::mutex> lock(each->guard);
      if (each->queue.empty() || each->helped.exchange(true)) {
        continue;
      }
    }
    std::thread([each] {
      finish(*each);
      each->helped = false;
    }).detach();
  }
}

const bool hooked = [] {
  emulation::while_polling = help_others;
  return true;
}();

uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1000000000u + static_cast<uint64_t>(time.tv_nsec);
}

}  // namespace

Context& context_of(int device) {
  contexts[device].device = device;
  return contexts[device];
}

void release(Context& context) {
  if (--context.retained == 0) {
    context.broken = kSuccess;
    context.reaches = 0;
  }
}

Context* current() { return bound; }

Status usable() {
  if (bound == nullptr) {
    return kInvalidContext;
  }
  return bound->retained == 0 ? kDestroyed : bound->broken.load();
}

Status make_current(Context* context) {
  if (context != nullptr && context->retained == 0) {
    return kInvalidContext;
  }
  bound = context;
  return kSuccess;
}

std::shared_ptr<Stream> stream_of(Stream* handle) {
  std::lock_guard<std::mutex> lock(guard);
  if (handle == nullptr && bound != nullptr) {
    std::shared_ptr<Stream>& own = plain[bound->device];
    if (own == nullptr) {
      own = std::make_shared<Stream>(bound);
    }
    return own;
  }
  auto found = streams.find(handle);
  return found == streams.end() ? nullptr : found->second;
}

std::shared_ptr<Event> event_of(Event* handle) {
  std::lock_guard<std::mutex> lock(guard);
  auto found = events.find(handle);
  return found == events.end() ? nullptr : found->second;
}

Stream* add_stream() {
  auto made = std::make_shared<Stream>(bound);
  std::lock_guard<std::mutex> lock(guard);
  streams[made.get()] = made;
  return made.get();
}

Status drop_stream(Stream* handle) {
  std::shared_ptr<Stream> own = stream_of(handle);
  if (handle == nullptr || own == nullptr) {
    return kInvalidHandle;
  }
  finish(*own);
  std::lock_guard<std::mutex> lock(guard);
  streams.erase(handle);
  return kSuccess;
}

Event* add_event(bool timed) {
  auto made = std::make_shared<Event>();
  made->context = bound;
  made->timed = timed;
  std::lock_guard<std::mutex> lock(guard);
  events[made.get()] = made;
  return made.get();
}

Status drop_event(Event* handle) {
  std::lock_guard<std::mutex> lock(guard);
  return events.erase(handle) == 0 ? kInvalidHandle : kSuccess;
}

Status enqueue(Stream* handle, Work work) {
  Status status = usable();
  if (status != kSuccess) {
    return status;
  }
  std::shared_ptr<Stream> own = stream_of(handle);
  if (own == nullptr || own->context != bound) {
    return kInvalidHandle;
  }
  std::lock_guard<std::mutex> lock(own->guard);
  if (own->capture == nullptr) {
    own->queue.push_back(std::move(work));
    own->put++;
    return kSuccess;
  }
  if (own->capture->invalid) {
    return kCaptureInvalid;
  }
  own->capture->graph.work.push_back(std::move(work));
  return kSuccess;
}

Status finish(Stream& stream, uint64_t upTo) {
  {
    std::lock_guard<std::mutex> lock(stream.guard);
    upTo = upTo < stream.put ? upTo : stream.put;
    if (stream.done >= upTo) {
      return stream.context->broken;
    }
  }
  std::lock_guard<std::mutex> alone(stream.running);
  while (true) {
    Work work;
    {
      std::lock_guard<std::mutex> lock(stream.guard);
      if (stream.done >= upTo) {
        return stream.context->broken;
      }
      work = std::move(stream.queue.front());
      stream.queue.pop_front();
    }
    // After a failure nothing runs any more, but everybody gets through.
    Status status = stream.context->broken;
    if (status == kSuccess) {
      status = work();
    }
    if (status != kSuccess) {
      Status none = kSuccess;
      stream.context->broken.compare_exchange_strong(none, status);
    }
    std::lock_guard<std::mutex> lock(stream.guard);
    stream.done++;
  }
}

Status finish(Context& context) {
  for (auto& each : all_streams()) {
    if (each->context == &context) {
      finish(*each);
    }
  }
  return context.broken;
}

Status synchronize(Stream* handle) {
  Status status = usable();
  if (status != kSuccess) {
    return status;
  }
  std::shared_ptr<Stream> own = stream_of(handle);
  if (own == nullptr) {
    return kInvalidHandle;
  }
  return captures(own.get()) ? refuse_capture(*own) : finish(*own);
}

Status record(Event* handle, Stream* stream) {
  std::shared_ptr<Event> event = event_of(handle);
  std::shared_ptr<Stream> own = stream_of(stream);
  if (event == nullptr || own == nullptr || event->context != own->context) {
    return kInvalidHandle;
  }
  bool captured = captures(stream);
  Status status = enqueue(stream, [event] {
    event->nanos = now();
    return kSuccess;
  });
  if (status == kSuccess) {
    std::lock_guard<std::mutex> lock(event->guard);
    std::lock_guard<std::mutex> inner(own->guard);
    event->captured = captured;
    event->stream = own;
    event->at = own->put;
  }
  return status;
}

// Takes what is to be done for an event: nothing where it was never recorded. `captured`: what to say of one in a capture.
static Status work_before(Event* handle, Status captured, Work* work) {
  std::shared_ptr<Event> event = event_of(handle);
  if (event == nullptr) {
    return kInvalidHandle;
  }
  std::lock_guard<std::mutex> lock(event->guard);
  if (event->captured) {
    return captured;
  }
  *work = [of = event->stream, at = event->at] { return of == nullptr ? kSuccess : finish(*of, at); };
  return kSuccess;
}

Status wait_for(Stream* stream, Event* handle) {
  Work work;
  // One that is captured would draw the stream into the capture, which nobody here does.
  Status status = work_before(handle, kCaptureUnsupported, &work);
  return status == kSuccess ? enqueue(stream, std::move(work)) : status;
}

Status synchronize(Event* handle) {
  Status status = usable();
  if (status != kSuccess) {
    return status;
  }
  Work work;
  status = work_before(handle, kCapturedEvent, &work);
  return status == kSuccess ? work() : status;
}

Status begin_capture(Stream* handle, int mode) {
  std::shared_ptr<Stream> own = stream_of(handle);
  if (own == nullptr || own->context != bound) {
    return kInvalidHandle;
  }
  if (handle == nullptr) {
    return kCaptureUnsupported;
  }
  std::lock_guard<std::mutex> lock(own->guard);
  if (own->capture != nullptr) {
    return kIllegalState;
  }
  own->capture.reset(new Capture{{bound, {}}, mode, std::this_thread::get_id(), false});
  return kSuccess;
}

Status end_capture(Stream* handle, Graph** graph) {
  std::shared_ptr<Stream> own = stream_of(handle);
  if (own == nullptr) {
    return kInvalidHandle;
  }
  std::lock_guard<std::mutex> lock(own->guard);
  if (own->capture == nullptr) {
    return kIllegalState;
  }
  if (own->capture->mode != kRelaxed && own->capture->by != std::this_thread::get_id()) {
    return kCaptureThread;
  }
  std::unique_ptr<Capture> ended = std::move(own->capture);
  if (ended->invalid) {
    return kCaptureInvalid;
  }
  *graph = new Graph(std::move(ended->graph));
  return kSuccess;
}

bool captures(Stream* handle) {
  std::shared_ptr<Stream> own = stream_of(handle);
  if (own == nullptr) {
    return false;
  }
  std::lock_guard<std::mutex> lock(own->guard);
  return own->capture != nullptr;
}

Status refuse_capture(Stream& stream) {
  std::lock_guard<std::mutex> lock(stream.guard);
  if (stream.capture != nullptr) {
    stream.capture->invalid = true;
  }
  return kCaptureUnsupported;
}

Status safe_call() {
  Status status = usable();
  for (auto& each : all_streams()) {
    std::lock_guard<std::mutex> lock(each->guard);
    Capture* capture = each->capture.get();
    bool own = capture != nullptr && capture->by == std::this_thread::get_id();
    if (capture != nullptr && (capture->mode == kGlobal || (own && capture->mode != kRelaxed))) {
      capture->invalid = true;
      status = kCaptureUnsupported;
    }
  }
  return status;
}

Status context_wait() {
  Status status = usable();
  for (auto& each : all_streams()) {
    std::lock_guard<std::mutex> lock(each->guard);
    if (each->context == bound && each->capture != nullptr) {
      each->capture->invalid = true;
      status = kCaptureUnsupported;
    }
  }
  return status;
}

}  // namespace baton::driver

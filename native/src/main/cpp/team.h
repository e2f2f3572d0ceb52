// A rank's threads: the thread that calls a kernel, and some that help it with the parts of its work.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace baton {

struct Team;

// Runs body(context, {part, part + 1, parts}) once for every part, on the calling thread and on those of the team's that
// are free; returns when all parts are done, and all that they wrote is then visible. A null team: the caller alone. One
// thread at a time may call. 1 <= parts <= 65535; `kernel` is its number in the table, for the profile.
void run_parts(Team* team, int32_t kernel, int32_t parts, void (*body)(void* context, Share share), void* context) noexcept;

}  // namespace baton

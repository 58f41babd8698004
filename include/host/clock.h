// SPDX-License-Identifier: Apache-2.0
/* The host's clocks. Any thread. */
#pragma once

#include <stdint.h>
#include <time.h>

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* What @clock shows, in nanoseconds. For a clock that every Linux has: clock_gettime() of such a
 * one does not fail. */
static inline uint64_t clock_now_ns(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* How long ago CLOCK_MONOTONIC showed @start_ns. */
static inline uint64_t clock_since_ns(uint64_t start_ns)
{
    return clock_now_ns(CLOCK_MONOTONIC) - start_ns;
}

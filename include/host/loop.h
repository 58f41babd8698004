// SPDX-License-Identifier: Apache-2.0
/* The event loop: wakes callbacks when file descriptors are ready or a time has come.
 *
 * One thread runs it; callbacks run on that thread, one at a time. A source may carry a guard, a
 * mutex that the loop holds around the callback: devices pass their lock, so device code takes
 * none itself. Sources are added, changed and removed on the loop's thread, or by anybody while
 * the loop does not run; a callback may remove its own source or another's. Only loop_stop() may
 * be called from other threads and from signal handlers. Nothing wakes up periodically. */
#pragma once

#include <pthread.h>
#include <stdint.h>

struct loop;
struct loop_source;

enum loop_events { LOOP_READABLE = 1, LOOP_WRITABLE = 2, LOOP_HANGUP = 4 };

/* @events: the enum loop_events that hold; LOOP_HANGUP comes unasked, errors count as it. */
typedef void loop_fd_fn(void *ctx, unsigned events);
typedef void loop_timer_fn(void *ctx);

int loop_create(struct loop **ret);
/* Frees the loop and every source still in it; closes none of their descriptors. NULL is fine. */
void loop_destroy(struct loop *loop);

/* Calls @fn whenever one of @events holds of @fd (level-triggered). @events may be 0 for now.
 * Descriptors that epoll cannot watch (regular files, /dev/null) count as always ready.
 * @guard may be NULL. The descriptor stays the caller's and must outlive the source.
 * Returns 0 or -errno. */
int loop_add_fd(struct loop *loop, int fd, unsigned events, pthread_mutex_t *guard, loop_fd_fn *fn,
                void *ctx, struct loop_source **ret);
/* Changes what a descriptor source waits for. Returns 0 or -errno. */
int loop_set_events(struct loop_source *source, unsigned events);

/* Makes a one-shot timer, not yet armed. */
int loop_add_timer(struct loop *loop, pthread_mutex_t *guard, loop_timer_fn *fn, void *ctx,
                   struct loop_source **ret);
/* Arms the timer @delay_ns from now (CLOCK_MONOTONIC), instead of what it was armed for. */
int loop_set_timer(struct loop_source *source, uint64_t delay_ns);

/* Ends a source: its callback is not called again, and its guard is not locked again. NULL is
 * fine. */
void loop_remove(struct loop_source *source);

/* Runs callbacks until loop_stop(). Returns 0, or -errno if waiting failed. */
int loop_run(struct loop *loop);
/* Makes loop_run() return soon, also when called before it. Any thread, any signal handler. */
void loop_stop(struct loop *loop);

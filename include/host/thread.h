// SPDX-License-Identifier: Apache-2.0
/* Threads that work for others, with a small stack. */
#pragma once

#include <pthread.h>
#include <stddef.h>

/* Starts a thread of @stack_size bytes of stack that runs @work with @ctx. Signals are for the main
 * thread: all are blocked in this one, but for those that a thread causes itself. Returns 0 or
 * -errno; the thread is the caller's to join. Any thread may call this. */
int thread_start(pthread_t *ret, size_t stack_size, void *(*work)(void *), void *ctx);

// SPDX-License-Identifier: Apache-2.0
/* A helper program that works for us as long as we live (passt).
 *
 * It gets one descriptor of ours, /dev/null as its standard input and output, and a pipe as its
 * standard error, whose last line is kept: it usually says why the helper ended. It is in a
 * process group of its own, so that the keyboard's signals are for us alone. Nothing here can
 * end it when we are killed: it has to end by itself when its descriptor reports the end. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct loop;
struct process;

enum { PROCESS_FD = 3 }; /* where the helper finds its descriptor */

/* Starts @argv (ends with NULL; its first is found by program_find()) with @fd as PROCESS_FD; @fd
 * stays the caller's. Returns 0, -ENOENT if there is no such program, or -errno. */
int process_start(const char *const *argv, int fd, struct process **ret);

/* Calls @ended once when the helper has ended by itself; while the loop does not run. Returns 0 or
 * -errno. */
int process_watch(struct process *process, struct loop *loop, pthread_mutex_t *guard,
                  void (*ended)(void *ctx), void *ctx);
/* Ends that; the helper works on. process_watch() may come again, with another loop. Harmless if
 * nobody watches. */
void process_unwatch(struct process *process);

/* Waits at most @timeout_ms for the helper to end. Returns whether it has ended. */
bool process_wait(struct process *process, int timeout_ms);

/* How it ended, in words: "status 1: Couldn't create user namespace", "signal 9". Valid until
 * the next call for this process. */
const char *process_obituary(struct process *process);

/* Kills the helper if it has not ended, and leaves no zombie. */
void process_destroy(struct process *process);

// SPDX-License-Identifier: Apache-2.0
/* The parts that block_file.c is made of: how one request is done with system calls
 * (block_target), a pool of threads in which that may wait (block_threads), a ring for what needs
 * no waiting (block_uring), and the shortest way for files that are in memory (block_inline). */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtio/block_backend.h"

/* An open image, and what was found out about it. Shared by all threads of a disk; only the
 * atomic fields change after opening. */
struct block_target {
    int fd;
    bool is_device;        /* a block device, not a regular file */
    bool is_direct;        /* O_DIRECT */
    uint32_t memory_align; /* of buffers under O_DIRECT, bytes */
    uint32_t offset_align; /* of offsets and of each buffer's length under O_DIRECT, bytes */
    bool flush_is_nothing; /* cache=unsafe */
    atomic_bool cannot_punch, cannot_zero_range; /* the file system said so */
};

/* Whether the kernel takes the request's buffers as they are. */
bool block_target_takes(const struct block_target *target, const struct block_request *request);

/* Does the whole request, and waits for it; short transfers are continued. Gives up between two
 * steps once @stop is set. Any thread. Returns 0 or -errno. */
int block_target_run(struct block_target *target, struct block_request *request,
                     const atomic_bool *stop);

/* Moves the request's position on by @done bytes. */
void block_request_advance(struct block_request *request, uint64_t done);

/* A row of requests, first in, first out, linked by their next pointers. Zeroed is empty. */
struct block_list {
    struct block_request *first, *last;
};

void block_list_append(struct block_list *list, struct block_request *request);
/* Takes the first one, or NULL. */
struct block_request *block_list_take(struct block_list *list);

/* --- threads: may wait --- */

struct block_threads;

/* Starts no thread yet. Returns 0 or -errno. */
int block_threads_create(struct block_target *target, struct block_threads **ret);
int block_threads_attach(struct block_threads *threads, struct loop *loop, pthread_mutex_t *guard,
                         const struct block_events *events);
void block_threads_submit(struct block_threads *threads, struct block_request *request);
void block_threads_flush(struct block_threads *threads);
/* Waits for what is under way and forgets the rest, without calling done; ends the threads. */
void block_threads_detach(struct block_threads *threads);
/* Detaches, and frees. NULL is fine. */
void block_threads_destroy(struct block_threads *threads);

/* --- io_uring: never waits --- */

struct block_uring;

/* Returns 0, or -errno if the host does not let us use io_uring. */
int block_uring_create(int fd, struct block_uring **ret);
/* What the ring could not do at once is passed to @threads, its position moved on. */
int block_uring_attach(struct block_uring *uring, struct loop *loop, pthread_mutex_t *guard,
                       const struct block_events *events, struct block_threads *threads);
/* Takes a READ or WRITE. Returns false if it is of no use to try: to be done elsewhere. */
bool block_uring_submit(struct block_uring *uring, struct block_request *request);
void block_uring_flush(struct block_uring *uring);
/* Waits for what is under way, without calling done. Before the threads', which may be passed what
 * the kernel does not take. */
void block_uring_detach(struct block_uring *uring);
/* Detaches, and frees. NULL is fine. */
void block_uring_destroy(struct block_uring *uring);

/* --- inline: what needs no waiting ever --- */

/* Requests on a file in memory, done by the loop's thread. Zeroed but for the target. */
struct block_inline {
    struct block_target *target;
    struct block_events events;
    struct block_list queued;
    bool is_running;
};

void block_inline_submit(struct block_inline *inl, struct block_request *request);
void block_inline_flush(struct block_inline *inl);

/* --- locking --- */

/* Takes an OFD lock on all of the file: exclusive, or shared if @read_only. Returns 0, or -errno;
 * -EAGAIN if another has it, whose process then is *@holder, or 0 if that cannot be known. */
int block_lock(int fd, bool read_only, pid_t *holder);

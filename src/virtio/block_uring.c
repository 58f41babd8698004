// SPDX-License-Identifier: Apache-2.0
/* Reads and writes by io_uring, as far as they need no waiting in the host. Alone knows liburing.
 *
 * How this works: requests become entries of a small ring, and one system call per batch submits
 * them. All carry RWF_NOWAIT: what the page cache has is done within that call, what goes to the
 * device (O_DIRECT) completes later, and what would make a thread wait (a page that must be read,
 * a block that must be allocated) comes back with EAGAIN and is passed to our own threads, as is
 * everything that ended early or failed: they continue it and find out why.
 *
 * Without RWF_NOWAIT the kernel would use threads of its own for the same, but the last of those
 * stays and wakes up every five seconds for ever (io-wq), which an idle machine should not.
 *
 * The loop watches the ring's own descriptor, which is readable while completions are waiting. */
#include "block_engine.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#include "host/loop.h"

/* Entries for submissions, and twice as many for completions; one page each. */
enum { RING_SIZE = 64 };

static_assert(sizeof(struct block_request *) == sizeof(((struct io_uring_sqe *)0)->user_data),
              "an entry's user_data holds its request");

struct block_uring {
    struct io_uring ring;
    bool has_ring;
    int fd;
    unsigned in_flight; /* with the kernel */
    bool is_reaping;
    bool cannot_read, cannot_write; /* the file system knows no RWF_NOWAIT */
    struct loop_source *source;
    struct block_events events;
    struct block_threads *threads;
};

static int create_ring(struct block_uring *uring)
{
    /* No interrupt of the loop's thread for a completion: it sees it when it waits again. */
    struct io_uring_params params = { .flags = IORING_SETUP_COOP_TASKRUN };
    int err = io_uring_queue_init_params(RING_SIZE, &uring->ring, &params);

    if (err == -EINVAL) { /* before Linux 5.19 */
        params = (struct io_uring_params){ 0 };
        err = io_uring_queue_init_params(RING_SIZE, &uring->ring, &params);
    }
    if (err)
        return err;
    uring->has_ring = true;
    /* Completions are never dropped, and iovecs are read at submission. */
    const unsigned needed = IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;
    return (params.features & needed) == needed ? 0 : -ENOSYS;
}

int block_uring_create(int fd, struct block_uring **ret)
{
    struct block_uring *uring = calloc(1, sizeof(*uring));

    if (!uring)
        return -ENOMEM;
    uring->fd = fd;

    int err = create_ring(uring);

    if (err) {
        block_uring_destroy(uring);
        return err;
    }
    *ret = uring;
    return 0;
}

/* Hands the entries that the kernel did not take to the threads; what stays in the ring in their
 * place does nothing. */
static void withdraw_unsubmitted(struct block_uring *uring)
{
    struct io_uring_sq *sq = &uring->ring.sq;
    unsigned head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);

    for (; head != sq->sqe_tail; head++) {
        struct io_uring_sqe *sqe = &sq->sqes[head & *sq->kring_mask];
        struct block_request *request;

        memcpy(&request, &sqe->user_data, sizeof(sqe->user_data));
        if (request) {
            uring->in_flight--;
            block_threads_submit(uring->threads, request);
        }
        io_uring_prep_nop(sqe);
        io_uring_sqe_set_data(sqe, NULL);
    }
}

static void submit_entries(struct block_uring *uring)
{
    int submitted;

    if (io_uring_sq_ready(&uring->ring) == 0)
        return;
    do
        submitted = io_uring_submit(&uring->ring);
    while (submitted == -EINTR);
    if (io_uring_sq_ready(&uring->ring) > 0) /* the kernel is short of something */
        withdraw_unsubmitted(uring);
}

bool block_uring_submit(struct block_uring *uring, struct block_request *request)
{
    bool is_read = request->op == BLOCK_READ;

    if (!uring->has_ring || (is_read ? uring->cannot_read : uring->cannot_write))
        return false;

    struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

    if (!sqe) {
        submit_entries(uring);
        sqe = io_uring_get_sqe(&uring->ring);
        if (!sqe)
            return false;
    }
    if (is_read)
        io_uring_prep_readv2(sqe, uring->fd, request->iov, request->iov_count, request->offset,
                             RWF_NOWAIT);
    else
        io_uring_prep_writev2(sqe, uring->fd, request->iov, request->iov_count, request->offset,
                              RWF_NOWAIT);
    io_uring_sqe_set_data(sqe, request);
    uring->in_flight++;
    return true;
}

static void complete(struct block_uring *uring, struct block_request *request, int result)
{
    uring->in_flight--;
    if (result == -EOPNOTSUPP) {
        if (request->op == BLOCK_READ)
            uring->cannot_read = true;
        else
            uring->cannot_write = true;
    }
    if (result > 0)
        block_request_advance(request, (uint64_t)result);
    if (request->len > 0)
        block_threads_submit(uring->threads, request);
    else
        request->done(request, 0);
}

/* Handles all completions that there are. */
static void reap(struct block_uring *uring)
{
    struct io_uring_cqe *cqe;

    if (uring->is_reaping) /* called by what is called below */
        return;
    uring->is_reaping = true;
    while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
        do {
            struct block_request *request = io_uring_cqe_get_data(cqe);
            int result = cqe->res;

            io_uring_cqe_seen(&uring->ring, cqe);
            if (request)
                complete(uring, request, result);
        } while (io_uring_peek_cqe(&uring->ring, &cqe) == 0);
        block_threads_flush(uring->threads);
        uring->events.batch_done(uring->events.ctx);
    }
    uring->is_reaping = false;
}

void block_uring_flush(struct block_uring *uring)
{
    if (!uring->has_ring)
        return;
    submit_entries(uring);
    reap(uring);
}

static void handle_ready(void *ctx, unsigned events)
{
    (void)events;
    reap(ctx);
}

int block_uring_attach(struct block_uring *uring, struct loop *loop, pthread_mutex_t *guard,
                       const struct block_events *events, struct block_threads *threads)
{
    uring->events = *events;
    uring->threads = threads;
    if (!uring->has_ring) /* lost in a detach(); the threads do it all */
        return 0;
    return loop_add_fd(loop, uring->ring.ring_fd, LOOP_READABLE, guard, handle_ready, uring,
                       &uring->source);
}

/* The kernel fills guest RAM until the last completion. */
static void wait_for_kernel(struct block_uring *uring)
{
    struct io_uring_cqe *cqe;

    if (uring->threads)
        submit_entries(uring); /* after which all that are in flight are the kernel's */
    while (uring->in_flight > 0) {
        int err = io_uring_wait_cqe(&uring->ring, &cqe);

        if (err == -EINTR)
            continue;
        if (err)
            return;
        if (io_uring_cqe_get_data(cqe))
            uring->in_flight--;
        io_uring_cqe_seen(&uring->ring, cqe);
    }
}

static void close_ring(struct block_uring *uring)
{
    if (uring->has_ring)
        io_uring_queue_exit(&uring->ring);
    uring->has_ring = false;
}

void block_uring_detach(struct block_uring *uring)
{
    loop_remove(uring->source);
    uring->source = NULL;
    if (uring->has_ring)
        wait_for_kernel(uring);
    if (uring->in_flight > 0) /* what may still come is for requests that are gone */
        close_ring(uring);
}

void block_uring_destroy(struct block_uring *uring)
{
    if (!uring)
        return;
    block_uring_detach(uring);
    close_ring(uring);
    free(uring);
}

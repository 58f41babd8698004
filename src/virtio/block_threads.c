// SPDX-License-Identifier: Apache-2.0
/* A small pool of threads that do requests in system calls that wait.
 *
 * How this works: the loop's thread collects what is submitted in `fresh` and hands it over with
 * one lock and one wake-up per batch; a thread is started only if more is queued than threads are
 * idle, up to THREAD_MAX, and stays. A thread takes a request, does it without any lock, and puts
 * it on `finished`; the first one there signals the eventfd, and the loop calls all the done
 * functions. A pool that was never used has no thread, and an idle one wakes up for nothing. Nor
 * has one that nobody is attached to: then nothing can touch the requests of who was.
 *
 * Threads block signals: those of the process are for the main thread, and a write beyond
 * RLIMIT_FSIZE must not kill us with SIGXFSZ. Only what a thread does to itself gets through, as
 * there may be a handler that puts the terminal back. */
#include "block_engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "host/fd.h"
#include "host/loop.h"
#include "host/thread.h"

enum { THREAD_MAX = 8, STACK_SIZE = 256 * 1024 };

struct block_threads {
    struct block_target *target;
    struct block_list fresh; /* submitted and not handed over; the loop's thread's */
    int done_fd;             /* an eventfd: something is finished */
    struct loop_source *source;
    struct block_events events;
    atomic_bool stopping;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t work;  /* something is queued, or stopping */
    struct block_list queued, finished;
    unsigned queued_count;
    unsigned thread_count, idle_count; /* those that do no request, or not yet */
    pthread_t threads[THREAD_MAX];
};

void block_list_append(struct block_list *list, struct block_request *request)
{
    request->next = NULL;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

struct block_request *block_list_take(struct block_list *list)
{
    struct block_request *request = list->first;

    if (request) {
        list->first = request->next;
        if (!list->first)
            list->last = NULL;
    }
    return request;
}

/* Puts what was done where the loop finds it. With the lock held. */
static void finish(struct block_threads *threads, struct block_request *request, int err)
{
    bool is_first = !threads->finished.first;

    request->err = err;
    block_list_append(&threads->finished, request);
    if (is_first)
        (void)eventfd_write(threads->done_fd, 1); /* fails only if it is signalled already */
}

static void *worker(void *ctx)
{
    struct block_threads *threads = ctx;
    struct block_request *request;

    pthread_mutex_lock(&threads->lock);
    while (!atomic_load(&threads->stopping)) {
        request = block_list_take(&threads->queued);
        if (!request) {
            pthread_cond_wait(&threads->work, &threads->lock);
            continue;
        }
        threads->queued_count--;
        threads->idle_count--;
        pthread_mutex_unlock(&threads->lock);
        int err = block_target_run(threads->target, request, &threads->stopping);
        pthread_mutex_lock(&threads->lock);
        threads->idle_count++;
        finish(threads, request, err);
    }
    pthread_mutex_unlock(&threads->lock);
    return NULL;
}

/* Returns 0 or -errno. With the lock held. */
static int start_thread(struct block_threads *threads)
{
    int err = thread_start(&threads->threads[threads->thread_count], STACK_SIZE, worker, threads);

    if (!err) {
        threads->thread_count++;
        threads->idle_count++;
    }
    return err;
}

void block_threads_submit(struct block_threads *threads, struct block_request *request)
{
    block_list_append(&threads->fresh, request);
}

/* Ends all that is queued with an error: nobody will ever do it. With the lock held. */
static void fail_queued(struct block_threads *threads, int err)
{
    struct block_request *request;

    while ((request = block_list_take(&threads->queued)))
        finish(threads, request, err);
    threads->queued_count = 0;
}

void block_threads_flush(struct block_threads *threads)
{
    struct block_request *request;
    int err = 0;

    if (!threads->fresh.first)
        return;
    pthread_mutex_lock(&threads->lock);
    while ((request = block_list_take(&threads->fresh))) {
        block_list_append(&threads->queued, request);
        threads->queued_count++;
    }
    while (!err && threads->queued_count > threads->idle_count &&
           threads->thread_count < THREAD_MAX)
        err = start_thread(threads);
    if (threads->thread_count == 0)
        fail_queued(threads, err);
    if (threads->queued_count > 1)
        pthread_cond_broadcast(&threads->work);
    else
        pthread_cond_signal(&threads->work);
    pthread_mutex_unlock(&threads->lock);
}

static void take_finished(void *ctx, unsigned events)
{
    struct block_threads *threads = ctx;
    struct block_list finished;
    struct block_request *request;
    eventfd_t count;
    (void)events;

    (void)eventfd_read(threads->done_fd, &count);
    pthread_mutex_lock(&threads->lock);
    finished = threads->finished;
    threads->finished = (struct block_list){ 0 };
    pthread_mutex_unlock(&threads->lock);

    while ((request = block_list_take(&finished)))
        request->done(request, request->err);
    threads->events.batch_done(threads->events.ctx);
}

int block_threads_create(struct block_target *target, struct block_threads **ret)
{
    struct block_threads *threads = calloc(1, sizeof(*threads));

    if (!threads)
        return -ENOMEM;
    threads->target = target;
    atomic_init(&threads->stopping, false);
    pthread_mutex_init(&threads->lock, NULL);
    pthread_cond_init(&threads->work, NULL);
    threads->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (threads->done_fd < 0) {
        int err = -errno;

        block_threads_destroy(threads);
        return err;
    }
    *ret = threads;
    return 0;
}

int block_threads_attach(struct block_threads *threads, struct loop *loop, pthread_mutex_t *guard,
                         const struct block_events *events)
{
    threads->events = *events;
    return loop_add_fd(loop, threads->done_fd, LOOP_READABLE, guard, take_finished, threads,
                       &threads->source);
}

void block_threads_detach(struct block_threads *threads)
{
    eventfd_t count;

    pthread_mutex_lock(&threads->lock);
    atomic_store(&threads->stopping, true);
    pthread_cond_broadcast(&threads->work);
    pthread_mutex_unlock(&threads->lock);
    for (unsigned i = 0; i < threads->thread_count; i++)
        pthread_join(threads->threads[i], NULL);
    threads->thread_count = threads->idle_count = threads->queued_count = 0;
    threads->fresh = threads->queued = threads->finished = (struct block_list){ 0 };
    loop_remove(threads->source);
    threads->source = NULL;
    (void)eventfd_read(threads->done_fd, &count); /* of what nobody will hear of */
    atomic_store(&threads->stopping, false);
}

void block_threads_destroy(struct block_threads *threads)
{
    if (!threads)
        return;
    block_threads_detach(threads);
    fd_close(&threads->done_fd);
    pthread_cond_destroy(&threads->work);
    pthread_mutex_destroy(&threads->lock);
    free(threads);
}

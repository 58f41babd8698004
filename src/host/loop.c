// SPDX-License-Identifier: Apache-2.0
/* The event loop, on epoll and one timerfd per timer.
 *
 * A source that is removed while a batch of events is being handled may still be named by a later
 * event of that batch, so it is only unlinked and marked; it is freed when the batch is done. */
#include "host/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include "host/clock.h"
#include "host/fd.h"

enum { EVENT_BATCH = 32 };

struct loop_source {
    struct loop *loop;
    struct loop_source *next, **link; /* in loop->sources, or loop->removed */
    int fd;
    bool owns_fd;      /* a timer's */
    bool always_ready; /* epoll cannot watch it */
    bool removed;
    unsigned events; /* enum loop_events waited for */
    pthread_mutex_t *guard;
    loop_fd_fn *on_fd;
    loop_timer_fn *on_timer;
    void *ctx;
};

struct loop {
    int epoll_fd;
    int stop_fd; /* an eventfd: written once, the loop ends */
    unsigned always_ready_count;
    struct loop_source *sources, *removed;
};

static void source_link(struct loop_source **list, struct loop_source *source)
{
    source->next = *list;
    source->link = list;
    if (*list)
        (*list)->link = &source->next;
    *list = source;
}

static void source_unlink(struct loop_source *source)
{
    *source->link = source->next;
    if (source->next)
        source->next->link = source->link;
}

static void source_free(struct loop_source *source)
{
    source_unlink(source);
    if (source->owns_fd)
        fd_close(&source->fd);
    free(source);
}

static uint32_t to_epoll(unsigned events)
{
    return (events & LOOP_READABLE ? (uint32_t)EPOLLIN : 0) |
           (events & LOOP_WRITABLE ? (uint32_t)EPOLLOUT : 0);
}

static unsigned from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? LOOP_READABLE : 0) | (events & EPOLLOUT ? LOOP_WRITABLE : 0) |
           (events & (EPOLLHUP | EPOLLERR) ? LOOP_HANGUP : 0);
}

static int loop_open(struct loop *loop)
{
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        return -errno;
    loop->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->stop_fd < 0)
        return -errno;

    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->stop_fd, &event) < 0 ? -errno : 0;
}

int loop_create(struct loop **ret)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (!loop)
        return -ENOMEM;
    loop->epoll_fd = loop->stop_fd = -1;
    int err = loop_open(loop);
    if (err) {
        loop_destroy(loop);
        return err;
    }
    *ret = loop;
    return 0;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->sources)
        source_free(loop->sources);
    while (loop->removed)
        source_free(loop->removed);
    fd_close(&loop->stop_fd);
    fd_close(&loop->epoll_fd);
    free(loop);
}

/* Tells epoll that a source now waits for @events. One that waits for nothing is taken out of
 * epoll, which reports a hang-up even to those that asked for nothing. */
static int source_watch(struct loop_source *source, unsigned events)
{
    struct epoll_event event = { .events = to_epoll(events), .data.ptr = source };
    int operation = !events ? EPOLL_CTL_DEL : !source->events ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    return epoll_ctl(source->loop->epoll_fd, operation, source->fd, &event) < 0 ? -errno : 0;
}

int loop_set_events(struct loop_source *source, unsigned events)
{
    struct loop *loop = source->loop;

    if (source->events == events)
        return 0;
    int err = source->always_ready ? 0 : source_watch(source, events);
    if (err == -EPERM) { /* a kind of file that epoll does not support */
        source->always_ready = true;
        err = 0;
    }
    if (err)
        return err;
    if (source->always_ready) {
        loop->always_ready_count -= source->events != 0;
        loop->always_ready_count += events != 0;
    }
    source->events = events;
    return 0;
}

/* Puts a filled-in source into the loop. */
static int source_add(struct loop *loop, const struct loop_source *filled, unsigned events,
                      struct loop_source **ret)
{
    struct loop_source *source = malloc(sizeof(*source));

    if (!source)
        return -ENOMEM;
    *source = *filled;
    source->loop = loop;
    int err = loop_set_events(source, events);
    if (err) {
        free(source);
        return err;
    }
    source_link(&loop->sources, source);
    *ret = source;
    return 0;
}

int loop_add_fd(struct loop *loop, int fd, unsigned events, pthread_mutex_t *guard, loop_fd_fn *fn,
                void *ctx, struct loop_source **ret)
{
    struct loop_source filled = { .fd = fd, .guard = guard, .on_fd = fn, .ctx = ctx };
    return source_add(loop, &filled, events, ret);
}

int loop_add_timer(struct loop *loop, pthread_mutex_t *guard, loop_timer_fn *fn, void *ctx,
                   struct loop_source **ret)
{
    AUTO_CLOSE int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    struct loop_source filled = {
        .fd = fd, .owns_fd = true, .guard = guard, .on_timer = fn, .ctx = ctx
    };
    if (fd < 0)
        return -errno;
    int err = source_add(loop, &filled, LOOP_READABLE, ret);
    if (!err)
        (void)take_fd(&fd);
    return err;
}

int loop_set_timer(struct loop_source *source, uint64_t delay_ns)
{
    struct itimerspec when = { 0 };

    if (delay_ns == 0)
        delay_ns = 1; /* an all-zero value would disarm the timer */
    when.it_value.tv_sec = (time_t)(delay_ns / NS_PER_S);
    when.it_value.tv_nsec = (long)(delay_ns % NS_PER_S);
    return timerfd_settime(source->fd, 0, &when, NULL) < 0 ? -errno : 0;
}

void loop_remove(struct loop_source *source)
{
    if (!source || source->removed)
        return;
    (void)loop_set_events(source, 0);
    source->removed = true;
    source_unlink(source);
    source_link(&source->loop->removed, source);
}

/* Whether a timer really expired: one that was set anew after epoll reported it has not. */
static bool timer_take(struct loop_source *source)
{
    uint64_t expirations;

    return read(source->fd, &expirations, sizeof(expirations)) == (ssize_t)sizeof(expirations);
}

static void source_call(struct loop_source *source, unsigned events)
{
    pthread_mutex_t *guard = source->guard;

    /* By an earlier callback of this batch, which may have ended the guard, too. */
    if (source->removed)
        return;
    if (guard)
        pthread_mutex_lock(guard);
    if (source->on_fd)
        source->on_fd(source->ctx, events);
    else if (timer_take(source))
        source->on_timer(source->ctx);
    if (guard)
        pthread_mutex_unlock(guard);
}

static void call_always_ready(struct loop *loop)
{
    struct loop_source *next;

    for (struct loop_source *source = loop->sources; source; source = next) {
        /* A callback may remove any source: then the row is walked afresh next time. */
        next = source->next;
        if (!source->always_ready || !source->events)
            continue;
        source_call(source, source->events);
        if (next && next->removed)
            return;
    }
}

int loop_run(struct loop *loop)
{
    struct epoll_event events[EVENT_BATCH];
    bool stopped = false;

    while (!stopped) {
        int timeout = loop->always_ready_count ? 0 : -1;
        int count = epoll_wait(loop->epoll_fd, events, EVENT_BATCH, timeout);

        if (count < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                source_call(events[i].data.ptr, from_epoll(events[i].events));
            else
                stopped = true;
        }
        if (!stopped && loop->always_ready_count)
            call_always_ready(loop);
        while (loop->removed)
            source_free(loop->removed);
    }
    uint64_t stops;
    return read(loop->stop_fd, &stops, sizeof(stops)) < 0 ? -errno : 0;
}

void loop_stop(struct loop *loop)
{
    uint64_t one = 1;
    int saved_errno = errno;

    /* Fails only when the counter is full: then the loop stops anyway. */
    ssize_t ignored = write(loop->stop_fd, &one, sizeof(one));
    (void)ignored;
    errno = saved_errno;
}

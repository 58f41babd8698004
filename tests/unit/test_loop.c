// SPDX-License-Identifier: Apache-2.0
/* The event loop on real descriptors. */
#include "host/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/fd.h"

/* What a callback saw, and what it shall do. */
struct probe {
    struct loop *loop;
    struct loop_source *remove; /* this source, when called */
    pthread_mutex_t *guard;     /* expected to be held */
    pthread_mutex_t *ends;      /* this guard, of that source, when called; NULL: none */
    int calls;
    int stop_after; /* calls; 0: never */
    unsigned events;
    int fd; /* to read a byte from, or -1 */
};

static void note_call(struct probe *probe)
{
    probe->calls++;
    if (probe->guard)
        assert_int_not_equal(pthread_mutex_trylock(probe->guard), 0);
    loop_remove(probe->remove);
    if (probe->ends)
        pthread_mutex_lock(probe->ends); /* and it is never unlocked */
    probe->remove = NULL; /* we may be called once more before the loop has stopped */
    if (probe->calls == probe->stop_after)
        loop_stop(probe->loop);
}

static void note_fd(void *ctx, unsigned events)
{
    struct probe *probe = ctx;
    char byte;

    probe->events = events;
    if (probe->fd >= 0 && (events & LOOP_READABLE))
        assert_true(read(probe->fd, &byte, 1) >= 0);
    note_call(probe);
}

static void note_timer(void *ctx)
{
    note_call(ctx);
}

static int make_loop(void **state)
{
    struct loop *loop;

    if (loop_create(&loop))
        return -1;
    *state = loop;
    return 0;
}

static int drop_loop(void **state)
{
    loop_destroy(*state);
    return 0;
}

static void a_readable_descriptor_wakes_its_callback(void **state)
{
    struct loop *loop = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct probe probe = { .loop = loop, .stop_after = 2, .fd = ends[0] };
    struct loop_source *source;
    assert_int_equal(loop_add_fd(loop, ends[0], LOOP_READABLE, NULL, note_fd, &probe, &source), 0);
    assert_int_equal(fd_write_full(ends[1], "ab", 2), 0);

    assert_int_equal(loop_run(loop), 0);

    assert_int_equal(probe.calls, 2);
    assert_int_equal(probe.events, LOOP_READABLE);
    close(ends[0]);
    close(ends[1]);
}

static void a_regular_file_counts_as_ready(void **state)
{
    struct loop *loop = *state;
    FILE *file = tmpfile();
    struct probe probe = { .loop = loop, .stop_after = 3, .fd = fileno(file) };
    struct loop_source *source;
    assert_int_equal(loop_add_fd(loop, fileno(file), LOOP_READABLE, NULL, note_fd, &probe, &source),
                     0);

    assert_int_equal(loop_run(loop), 0);

    assert_int_equal(probe.calls, 3);
    fclose(file);
}

static void a_source_that_waits_for_nothing_is_not_told_of_a_hangup(void **state)
{
    struct loop *loop = *state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct probe quiet = { .loop = loop, .fd = -1 };
    struct probe timer = { .loop = loop, .stop_after = 1 };
    struct loop_source *source, *timer_source;
    assert_int_equal(loop_add_fd(loop, ends[0], 0, NULL, note_fd, &quiet, &source), 0);
    assert_int_equal(loop_add_timer(loop, NULL, note_timer, &timer, &timer_source), 0);
    assert_int_equal(loop_set_timer(timer_source, 1000000), 0);
    close(ends[1]);

    assert_int_equal(loop_run(loop), 0);
    assert_int_equal(quiet.calls, 0);

    /* Asked again, it hears of it. */
    quiet.stop_after = 1;
    assert_int_equal(loop_set_events(source, LOOP_READABLE), 0);
    assert_int_equal(loop_run(loop), 0);
    assert_true(quiet.events & LOOP_HANGUP);
    close(ends[0]);
}

static void the_guard_is_held_around_the_callback(void **state)
{
    struct loop *loop = *state;
    pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
    struct probe probe = { .loop = loop, .stop_after = 1, .guard = &guard };
    struct loop_source *source;
    assert_int_equal(loop_add_timer(loop, &guard, note_timer, &probe, &source), 0);
    assert_int_equal(loop_set_timer(source, 0), 0);

    assert_int_equal(loop_run(loop), 0);

    assert_int_equal(probe.calls, 1);
    assert_int_equal(pthread_mutex_trylock(&guard), 0);
    pthread_mutex_unlock(&guard);
}

static void a_source_removed_by_another_callback_is_not_called(void **state)
{
    struct loop *loop = *state;
    int fds[2] = { eventfd(1, EFD_CLOEXEC), eventfd(1, EFD_CLOEXEC) };
    struct probe probes[2] = { { .loop = loop, .stop_after = 1, .fd = -1 },
                               { .loop = loop, .stop_after = 1, .fd = -1 } };
    struct loop_source *sources[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            loop_add_fd(loop, fds[i], LOOP_READABLE, NULL, note_fd, &probes[i], &sources[i]), 0);
    probes[0].remove = sources[1];
    probes[1].remove = sources[0];

    assert_int_equal(loop_run(loop), 0);

    assert_true(probes[0].calls > 0 || probes[1].calls > 0);
    assert_true(probes[0].calls == 0 || probes[1].calls == 0);
    close(fds[0]);
    close(fds[1]);
}

static void the_guard_may_go_with_the_source(void **state)
{
    struct loop *loop = *state;
    pthread_mutex_t guards[2] = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER };
    struct probe probes[2] = { { .loop = loop, .stop_after = 1, .ends = &guards[1] },
                               { .loop = loop, .stop_after = 1, .ends = &guards[0] } };
    struct loop_source *sources[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(loop_add_timer(loop, &guards[i], note_timer, &probes[i], &sources[i]), 0);
        assert_int_equal(loop_set_timer(sources[i], 0), 0);
    }
    probes[0].remove = sources[1];
    probes[1].remove = sources[0];
    (void)usleep(1000); /* both are due: one batch */

    (void)alarm(10); /* whoever locks it waits for ever */
    assert_int_equal(loop_run(loop), 0);
    (void)alarm(0);

    assert_int_equal(probes[0].calls + probes[1].calls, 1);
}

static void a_callback_may_remove_its_own_source(void **state)
{
    struct loop *loop = *state;
    int fd = eventfd(1, EFD_CLOEXEC);
    struct probe probe = { .loop = loop, .fd = -1 };
    struct probe timer = { .loop = loop, .stop_after = 1 };
    struct loop_source *timer_source;
    assert_int_equal(loop_add_fd(loop, fd, LOOP_READABLE, NULL, note_fd, &probe, &probe.remove), 0);
    assert_int_equal(loop_add_timer(loop, NULL, note_timer, &timer, &timer_source), 0);
    assert_int_equal(loop_set_timer(timer_source, 5000000), 0);

    assert_int_equal(loop_run(loop), 0);

    assert_int_equal(probe.calls, 1);
    close(fd);
}

static void a_timer_set_anew_fires_once(void **state)
{
    struct loop *loop = *state;
    struct probe early = { .loop = loop };
    struct probe late = { .loop = loop, .stop_after = 1 };
    struct loop_source *early_source, *late_source;
    assert_int_equal(loop_add_timer(loop, NULL, note_timer, &early, &early_source), 0);
    assert_int_equal(loop_add_timer(loop, NULL, note_timer, &late, &late_source), 0);
    assert_int_equal(loop_set_timer(early_source, 1000000000), 0);
    assert_int_equal(loop_set_timer(early_source, 1000000), 0);
    assert_int_equal(loop_set_timer(late_source, 10000000), 0);

    assert_int_equal(loop_run(loop), 0);

    assert_int_equal(early.calls, 1);
}

static void a_stop_before_the_run_ends_it_at_once(void **state)
{
    struct loop *loop = *state;

    loop_stop(loop);
    assert_int_equal(loop_run(loop), 0);
}

int main(void)
{
#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, make_loop, drop_loop)
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_readable_descriptor_wakes_its_callback),
        LOOP_TEST(a_regular_file_counts_as_ready),
        LOOP_TEST(a_source_that_waits_for_nothing_is_not_told_of_a_hangup),
        LOOP_TEST(the_guard_is_held_around_the_callback),
        LOOP_TEST(a_source_removed_by_another_callback_is_not_called),
        LOOP_TEST(the_guard_may_go_with_the_source),
        LOOP_TEST(a_callback_may_remove_its_own_source),
        LOOP_TEST(a_timer_set_anew_fires_once),
        LOOP_TEST(a_stop_before_the_run_ends_it_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

// SPDX-License-Identifier: Apache-2.0
/* The lines of --status-fd, read from a pipe. */
#include "machine/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "host/fd.h"
#include "machine/outcome.h"

static int make_pipe(void **state)
{
    int *ends = calloc(2, sizeof(*ends));

    signal(SIGPIPE, SIG_IGN);
    *state = ends;
    return ends && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -1;
}

static int close_pipe(void **state)
{
    int *ends = *state;

    fd_close(&ends[0]);
    fd_close(&ends[1]);
    free(ends);
    return 0;
}

static void expect_text(int fd, const char *expected)
{
    char text[1024];
    ssize_t len = read(fd, text, sizeof(text) - 1);

    assert_true(len >= 0);
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void an_event_is_a_line(void **state)
{
    int *ends = *state;

    status_tell(ends[1], 3, "starting", NULL, NULL);
    status_tell(ends[1], 40, "up", "kernel", "6.1\n");
    status_tell_number(ends[1], 500, "stopping", "signal", 15);
    expect_text(ends[0], "{\"event\": \"starting\", \"ms\": 3}\n"
                         "{\"event\": \"up\", \"ms\": 40, \"kernel\": \"6.1\\u000a\"}\n"
                         "{\"event\": \"stopping\", \"ms\": 500, \"signal\": 15}\n");
}

static void the_last_event_has_the_result(void **state)
{
    const struct outcome exit = { .kind = OUTCOME_EXIT, .value = 7, .duration_ms = 90 };
    int *ends = *state;

    status_tell_end(ends[1], &exit, "a");
    expect_text(ends[0], "{\"event\": \"ended\", \"ms\": 90, \"outcome\": \"exit\", "
                         "\"status\": 7, \"name\": \"a\", \"duration_ms\": 90}\n");
}

static void no_descriptor_is_no_event(void **state)
{
    const struct outcome exit = { .kind = OUTCOME_EXIT };
    (void)state;

    status_tell(-1, 3, "starting", NULL, NULL);
    status_tell_end(-1, &exit, "a");
}

static void an_event_for_which_there_is_no_room_is_left_out(void **state)
{
    int *ends = *state;
    char filler[4096];

    memset(filler, 'x', sizeof(filler));
    while (write(ends[1], filler, sizeof(filler)) > 0)
        ;
    assert_int_equal(fd_set_nonblocking(ends[1], 0), 0); /* would wait */
    status_tell(ends[1], 3, "starting", NULL, NULL);
    while (read(ends[0], filler, sizeof(filler)) > 0)
        assert_null(memchr(filler, '{', sizeof(filler)));
    status_tell(ends[1], 4, "started", NULL, NULL);
    expect_text(ends[0], "{\"event\": \"started\", \"ms\": 4}\n");
}

static void a_reader_that_is_gone_does_no_harm(void **state)
{
    const struct outcome exit = { .kind = OUTCOME_EXIT };
    int *ends = *state;

    fd_close(&ends[0]);
    status_tell(ends[1], 3, "starting", NULL, NULL);
    status_tell_end(ends[1], &exit, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_event_is_a_line, make_pipe, close_pipe),
        cmocka_unit_test_setup_teardown(the_last_event_has_the_result, make_pipe, close_pipe),
        cmocka_unit_test(no_descriptor_is_no_event),
        cmocka_unit_test_setup_teardown(an_event_for_which_there_is_no_room_is_left_out, make_pipe,
                                        close_pipe),
        cmocka_unit_test_setup_teardown(a_reader_that_is_gone_does_no_harm, make_pipe, close_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
